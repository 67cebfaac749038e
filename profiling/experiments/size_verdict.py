"""From the limits that were tried to the verdict and one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.experiments.bracket import MAX_UNUSABLE, Bracket
from profiling.experiments.size import MAX_RUNS, Size, narrow_bytes
from profiling.judging.plans import fitting_plans
from profiling.sizing import Ending, SizeJudgement, SizeRecord, SizeVerdict, Tried
from profiling.units import format_bytes, format_ms, format_percent

_SLOWER = 2.0
"""From so many times the latency on, a limit that passes is worth a warning: less may be the machine's noise."""
_FAILED_AS = {
    Ending.KILLED: "killed",
    Ending.HUNG: "hung at the limit",
    Ending.THRASHES: "thrashes",
    Ending.NEVER_READY: "never ready",
    Ending.CRASHED: "crashes",
    Ending.TIMED_OUT: "times out",
    Ending.FAILURES: "fails requests",
    Ending.SLOW: "too slow",
    Ending.HEADROOM: "too little headroom",
    Ending.PEAK: "over its budget",
    Ending.GROWTH: "grows",
}


def judge(size: Size, runs: Sequence[Tried]) -> SizeJudgement:
    """The verdict on what was run. Only two confirmed sides, close to each other, are an answer."""
    found = size.bracket(runs)
    verdict, sentence = _said(size, runs, found)
    need = _need(runs, found)
    plans = (
        fitting_plans(
            size.record.catalogue,
            passing_bytes=found.passing,
            need_bytes=need,
            headroom=size.record.headroom,
            cpus=size.record.cpus,
        )
        if found.passing is not None and need is not None
        else ()
    )
    return SizeJudgement(
        verdict=verdict,
        sentence=sentence,
        evidence=tuple(_evidence(size.record, runs, found)),
        smallest_passing_bytes=found.passing,
        largest_failing_bytes=found.failing,
        largest_killed_bytes=max((run.limit_bytes for run in runs if run.ending is Ending.KILLED), default=None),
        need_bytes=need,
        headroom=size.record.headroom,
        cpus=size.record.cpus,
        cpu_count=size.record.cpu_count,
        plans=plans,
        trials=tuple(runs),
    )


def at(runs: Sequence[Tried], limit: int | None) -> list[Tried]:
    """The runs under one limit that say something."""
    return [run for run in runs if run.limit_bytes == limit and run.ending is not Ending.UNUSABLE]


def failed_as(runs: Sequence[Tried]) -> str:
    """How runs under one limit failed, in a few words: `killed`, `killed, never ready`."""
    return ", ".join(dict.fromkeys(_FAILED_AS[run.ending] for run in runs if run.ending in _FAILED_AS))


def shown(found: SizeJudgement) -> list[int]:
    """The numbers of the runs for the page: one on each side of the border; where there is no side, the last one."""
    numbers = []
    for end in (found.largest_failing_bytes, found.smallest_passing_bytes):
        same = (n for n, run in enumerate(found.trials) if run.limit_bytes == end and run.ending is not Ending.UNUSABLE)
        numbers += list(same)[:1]
    return numbers or [len(found.trials) - 1]


def _said(size: Size, runs: Sequence[Tried], found: Bracket) -> tuple[SizeVerdict, str]:
    if found.passing is None:
        return _nothing_passed(size, runs, found)
    passing = f"passes at {_mib(found.passing)} ({_of(found.passes, at(runs, found.passing))})"
    if found.failing is None:
        why = _why_over(size, runs)
        return SizeVerdict.INCONCLUSIVE, f"Needs {_mib(found.passing)} at most: {passing}; no limit failed, {why}."
    failing = at(runs, found.failing)
    failed = f"{failed_as(failing)} at {_mib(found.failing)} ({_of(found.failures, failing)})"
    between = ""
    if found.unsteady is not None:
        low, high = found.unsteady
        between = f"; at {_mib(low) if low == high else f'{_mib(low)} to {_mib(high)}'} now one, now the other"
    if found.is_proved:
        return SizeVerdict.SIZED, f"Needs {_mib(found.passing)}: {passing}, {failed}{between}."
    sentence = f"Needs more than {_mib(found.failing)} and {_mib(found.passing)} at most: {passing}, {failed}"
    return SizeVerdict.INCONCLUSIVE, f"{sentence}{between or f'; {_why_over(size, runs)}'}."


def _nothing_passed(size: Size, runs: Sequence[Tried], found: Bracket) -> tuple[SizeVerdict, str]:
    if found.failing is None:
        return SizeVerdict.INCONCLUSIVE, f"Nothing can be said: {_why_over(size, runs)}."
    failing = at(runs, found.failing)
    tries = _of(found.failures, failing)
    said = f"Passes at no limit that was tried, up to {_mib(found.failing)} ({failed_as(failing)}, {tries})"
    if found.failing < size.record.highest_bytes or found.failures < 2:
        return SizeVerdict.INCONCLUSIVE, f"{said}; {_why_over(size, runs)}."
    return SizeVerdict.NEVER_PASSES, f"{said}: {failing[0].reason}."


def _why_over(size: Size, runs: Sequence[Tried]) -> str:
    """Why there are no more runs, though they are not enough."""
    unusable = [run for run in runs if run.ending is Ending.UNUSABLE]
    if len(unusable) > MAX_UNUSABLE:
        return f"{len(unusable)} runs say nothing ({unusable[0].reason})"
    if len(runs) >= MAX_RUNS:
        return f"{MAX_RUNS} runs were not enough for more"
    return "it was ended early" if size.next_limit(runs) is not None else "nothing smaller is tried"


def _need(runs: Sequence[Tried], found: Bracket) -> int | None:
    """See `SizeJudgement.need_bytes`."""
    peaks = [run.peak_bytes for run in at(runs, found.passing) if run.peak_bytes is not None]
    failing = at(runs, found.failing)
    if failing and peaks and all(run.ending is Ending.HEADROOM for run in failing):
        return max(peaks)
    return found.passing


def _evidence(record: SizeRecord, runs: Sequence[Tried], found: Bracket) -> list[str]:
    lines = []
    asked = at(runs, record.start_bytes)
    if record.given and asked and found.passing is not None:
        lines.append(_of_given(record.start_bytes, asked, found.passing))
    killed = [run.limit_bytes for run in runs if run.ending is Ending.KILLED]
    if killed and max(killed) != found.failing:
        lines.append(f"the largest limit at which the kernel killed it: {_mib(max(killed))}")
    for run in at(runs, found.failing)[:1]:
        lines.append(f"at {_mib(run.limit_bytes)}: {run.reason}")
    if (slower := _slower(runs, found)) is not None:
        lines.append(slower)
    if found.passing is not None and found.failing is not None and found.is_narrow:
        width = found.passing - found.failing
        lines.append(
            f"the two limits are {_mib(width)} apart (at most {format_bytes(narrow_bytes(found.passing))}); {_runs(runs)}"
        )
    else:
        lines.append(_runs(runs))
    return lines


def _of_given(limit: int, runs: Sequence[Tried], passing: int) -> str:
    if all(run.ending is Ending.PASSED for run in runs):
        more = limit / passing - 1
        spare = f", {limit / passing:.1f} times what it needs" if more >= 1 else ""
        if 0.01 <= more < 1:
            spare = f", {format_percent(round(more, 2))} more than it needs"
        return f"it passes at the limit that was given, {_mib(limit)}{spare}"
    return f"at the limit that was given, {_mib(limit)}, it does not pass: {failed_as(runs)}"


def _slower(runs: Sequence[Tried], found: Bracket) -> str | None:
    """What it costs to run it at the smallest limit, where it costs something: there may be no budget for latency."""
    tight = [run for run in at(runs, found.passing) if run.ending is Ending.PASSED and run.p95_ms]
    roomy = max((run for run in runs if run.ending is Ending.PASSED and run.p95_ms), key=_limit, default=None)
    if not tight or roomy is None or roomy.p95_ms is None or roomy.limit_bytes == found.passing:
        return None
    best = min(tight, key=lambda run: run.p95_ms or 0.0)
    times = (best.p95_ms or 0.0) / roomy.p95_ms
    if times < _SLOWER:
        return None
    why = ""
    if best.read_again_bytes > roomy.read_again_bytes + 2**20:
        why = f", for it reads {format_bytes(best.read_again_bytes)} of its own files again"
    return (
        f"it pays for that with its latency: p95 {format_ms(best.p95_ms)} at {_mib(best.limit_bytes)},"
        f" {format_ms(roomy.p95_ms)} at {_mib(roomy.limit_bytes)}{why}; a limit of p95 in [budget] (max_p95) makes it a failure"
    )


def _limit(run: Tried) -> int:
    return run.limit_bytes


def _runs(runs: Sequence[Tried]) -> str:
    return "1 run in all" if len(runs) == 1 else f"{len(runs)} runs in all"


def _of(count: int, runs: Sequence[Tried]) -> str:
    return f"{count} of {len(runs)}"


def _mib(size: int) -> str:
    """A limit exactly enough to be told from its neighbour: 1.02 GiB and 1.03 GiB are 10 MiB apart."""
    mib = size / 2**20
    return f"{mib:,.0f} MiB" if abs(mib - round(mib)) < 0.005 else f"{mib:,.1f} MiB"
