"""From the runs of `levers` to its table, the best together, and one sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from profiling.advice import plans
from profiling.advice.applying import command, environment
from profiling.experiments.levers import LEVEL, Done, Levers, are_worse, chosen, cut_off, done_of
from profiling.judging.savings import WHOLE, Saving, ratio, saving
from profiling.levers import (
    AsIs,
    Best,
    BestStep,
    Lever,
    LeverFigures,
    LeverOutcome,
    LeverRow,
    LeversJudgement,
    LeversRecord,
    Part,
)
from profiling.sizing import Ending
from profiling.units import format_bytes, format_percent

_FAILED = {LeverOutcome.DOES_NOT_START, LeverOutcome.FAILS, LeverOutcome.OOM_KILLED}


def judge(record: LeversRecord) -> LeversJudgement:
    """The table and the best together. Where not all was run that was asked for, that is said, and nothing is certain."""
    policy, done = Levers(record), done_of(record)
    ended_early = policy.next_step(done) is not None
    as_is = _as_is(policy, done)
    best = _best(policy, done, record)
    rows = [_row(policy, done, lever) for lever in record.levers]
    if record.plans:
        rows.append(_next_plan(record, best))
    status, sentence = _said(record, as_is, best, policy.can_go_on(done), ended_early=ended_early)
    return LeversJudgement(
        status=status,
        sentence=sentence,
        evidence=_evidence(policy, done, record),
        limit_bytes=record.limit_bytes,
        measured_bytes=policy.measured_bytes(done),
        as_is=as_is,
        rows=tuple(sorted(rows, key=_rank)),
        best=best,
    )


def shown(record: LeversRecord) -> tuple[str, ...]:
    """Directories of the runs for the page: one of the service as it is, one of the best together; under the limit, where
    there is one."""
    policy, done = Levers(record), done_of(record)
    found = []
    for levers in ((), policy.chain(done).levers):
        runs = [run for run in record.runs if run.levers == levers and run.part is not Part.WARM]
        at_limit = [run for run in runs if run.part is Part.LIMIT]
        if at_limit or runs:
            found.append((at_limit or runs)[-1].directory)
    return tuple(dict.fromkeys(found))


def outcome_of(runs: Sequence[LeverFigures]) -> tuple[LeverOutcome, str]:
    """What runs under the limit say, and why; one failure in several is a failure."""
    usable = [run for run in runs if run.ending is not Ending.UNUSABLE]
    if not usable:
        return LeverOutcome.UNCLEAR, next((run.reason for run in runs if run.reason), "")
    worst = next((run for run in usable if run.ending is not Ending.PASSED), usable[0])
    if worst.ending is Ending.PASSED:
        return LeverOutcome.SURVIVES, ""
    if worst.ending is Ending.KILLED:
        return LeverOutcome.OOM_KILLED, worst.reason
    if worst.before_ready:
        return LeverOutcome.DOES_NOT_START, worst.reason
    return LeverOutcome.FAILS, worst.reason


def _as_is(policy: Levers, done: Done) -> AsIs:
    runs = [*policy.runs(done, (), Part.LIMIT)]
    if not policy.is_raised(done):
        runs += policy.runs(done, (), Part.ROUND)
    outcome, reason = outcome_of(runs)
    whole = _bases(policy, done)
    return AsIs(
        outcome=outcome,
        reason=reason,
        peak_bytes=_middle([run.peak_bytes for run in whole]),
        rps=_median([run.rps for run in whole]),
        p95_ms=_median([run.p95_ms for run in whole]),
        quality=_median([run.quality for run in whole]),
        runs=len(whole),
    )


def _bases(policy: Levers, done: Done) -> list[LeverFigures]:
    return [*policy.whole(done, (), Part.ROUND), *policy.whole(done, (), Part.TOGETHER)]


def _row(policy: Levers, done: Done, lever: Lever) -> LeverRow:
    key = (lever.name,)
    if lever.left_out:
        return _untried(lever, lever.left_out)
    runs, whole = policy.runs(done, key, Part.ROUND), policy.whole(done, key, Part.ROUND)
    if not runs:
        return _untried(lever, "it was ended before this one's turn")
    at_limit = policy.runs(done, key, Part.LIMIT)
    outcome, reason = outcome_of(at_limit if at_limit else runs)
    bases = policy.whole(done, (), Part.ROUND)
    found = policy.saved(done, lever.name)
    return LeverRow(
        lever=lever.name,
        guide=lever.guide,
        outcome=outcome,
        saved_bytes=None if found is None else round(found.estimate),
        saved_low_bytes=_finite(found and found.low),
        saved_high_bytes=_finite(found and found.high),
        rps_ratio=ratio([run.rps for run in bases], [run.rps for run in whole]),
        p95_ratio=ratio([run.p95_ms for run in bases], [run.p95_ms for run in whole]),
        quality=_median([run.quality for run in whole]),
        note=_note(policy, done, lever, reason, found),
        advice=lever.advice,
        env=lever.env,
        options=(*lever.prefix, *lever.append),
        peak_bytes=_middle([run.peak_bytes for run in whole]),
        runs=len(whole),
    )


def _note(policy: Levers, done: Done, lever: Lever, reason: str, found: Saving | None) -> str:
    parts = [reason] if reason else []
    if found is None and any(cut_off(run) for run in policy.runs(done, (lever.name,), Part.ROUND)):
        parts.append("what is cut off at the limit has no size")
    if found is not None and _within(found, policy.worth_bytes(done)):
        parts.append("no difference worth a setting")
    elif found is not None and math.isfinite(found.low) and found.low <= 0 <= found.high:
        parts.append("not clear")
    if are_worse(policy.runs(done, (), Part.ROUND), policy.runs(done, (lever.name,), Part.ROUND)):
        parts.append("its answers are worse")
    if lever.caveat:
        parts.append(lever.caveat)
    return "; ".join(parts)


def _within(found: Saving, worth_bytes: float) -> bool:
    return -worth_bytes <= found.low <= found.high <= worth_bytes


def _untried(lever: Lever, why: str) -> LeverRow:
    return LeverRow(
        lever=lever.name,
        guide=lever.guide,
        outcome=LeverOutcome.NOT_TRIED,
        saved_bytes=None,
        saved_low_bytes=None,
        saved_high_bytes=None,
        rps_ratio=None,
        p95_ratio=None,
        quality=None,
        note=why,
        advice=lever.advice,
        env=lever.env,
        options=(*lever.prefix, *lever.append),
    )


def _next_plan(record: LeversRecord, best: Best | None) -> LeverRow:
    """What is bought, against what is had for nothing. Nothing is run for it."""
    offers = []
    for plan in record.plans:
        price = "price not known here" if plan.usd_per_month is None else f"${plan.usd_per_month:g} a month"
        offers.append(f"{plan.provider} {plan.name}: {format_bytes(plan.memory_bytes)}, {price}")
    free = "; nothing is had for free"
    if best is not None and best.saved_bytes is not None:
        free = f"; the best levers together save {format_bytes(best.saved_bytes)} for nothing"
    lever = Lever(name=plans.NAME, advice="more memory", guide=plans.GUIDE)
    return _untried(lever, f"not a run. {'; '.join(offers)}{free}")


def _best(policy: Levers, done: Done, record: LeversRecord) -> Best | None:
    chain = policy.chain(done)
    if not chain.levers:
        return None
    steps, before = [], _median([run.peak_bytes for run in _bases(policy, done)]) or 0.0
    runs: list[LeverFigures] = []
    for number, part in enumerate(chain.parts, start=1):
        runs = policy.whole(done, chain.levers[:number], part)
        peak = _median([run.peak_bytes for run in runs]) or 0.0
        steps.append(BestStep(lever=chain.levers[number - 1], peak_bytes=round(peak), saved_bytes=round(before - peak)))
        before = peak
    at_limit = policy.runs(done, chain.levers, Part.LIMIT)
    outcome, _ = outcome_of(at_limit if policy.is_raised(done) else runs)
    bases = _bases(policy, done)
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    found = saving([run.peak_bytes or 0 for run in bases], peaks, LEVEL)
    peak_bytes = max(peaks + [run.peak_bytes for run in at_limit if run.ending in WHOLE and run.peak_bytes is not None])
    levers = chosen(chain.levers, policy.levers)
    words = command(levers, record.command)
    return Best(
        levers=chain.levers,
        outcome=outcome,
        saved_bytes=round(found.estimate),
        saved_low_bytes=_finite(found.low),
        saved_high_bytes=_finite(found.high),
        peak_bytes=peak_bytes,
        headroom=1 - peak_bytes / record.limit_bytes,
        rps_ratio=ratio([run.rps for run in bases], [run.rps for run in runs]),
        p95_ratio=ratio([run.p95_ms for run in bases], [run.p95_ms for run in runs]),
        quality=_median([run.quality for run in runs]),
        steps=tuple(steps),
        env=environment(levers),
        command=words if words != record.command else (),
        dockerfile=tuple(line for lever in levers for line in lever.dockerfile),
        files={name: text for lever in levers for name, text in lever.files.items()},
    )


def _said(
    record: LeversRecord, as_is: AsIs, best: Best | None, comparable: bool, *, ended_early: bool
) -> tuple[str, str]:
    limit, now = format_bytes(record.limit_bytes), _now(record, as_is)
    early = " It was ended early: more would have been tried." if ended_early else ""
    if not comparable:
        if as_is.outcome in _FAILED:
            return (
                "fail",
                f"{now} That is not for want of memory, or not even more of it helps: there is nothing to compare.",
            )
        why = as_is.reason or "it was ended too early"
        return "inconclusive", f"Nothing can be said of the service as it is: {why}."
    if best is None or best.saved_bytes is None:
        none = f"{now} No lever that was tried saves anything that shows."
        status = "pass" if as_is.outcome is LeverOutcome.SURVIVES else "fail"
        return ("inconclusive" if ended_early else status), none + early
    names = _listed(best.levers)
    saves = f"{names} save{'s' if len(best.levers) == 1 else ''} {format_bytes(best.saved_bytes)}{_interval(best)}"
    left = (
        ""
        if best.peak_bytes is None or best.headroom is None
        else (f", down to {format_bytes(best.peak_bytes)} ({format_percent(max(0.0, best.headroom))} of headroom)")
    )
    survives = best.outcome is LeverOutcome.SURVIVES
    if as_is.outcome is LeverOutcome.SURVIVES:
        sentence = f"{now} {saves}{left}."
        status = "pass"
    elif survives:
        sentence = (
            f"{now} With {names} it survives there: {format_bytes(best.saved_bytes)} less{_interval(best)}{left}."
        )
        status = "pass"
    else:
        sentence = f"{now} {saves}{left}, which is not enough for {limit}."
        status = "fail"
    return ("inconclusive" if ended_early else status), sentence + early


def _now(record: LeversRecord, as_is: AsIs) -> str:
    limit = format_bytes(record.limit_bytes)
    words = {
        LeverOutcome.SURVIVES: "survives",
        LeverOutcome.OOM_KILLED: "is OOM-killed",
        LeverOutcome.DOES_NOT_START: "does not start",
        LeverOutcome.FAILS: "does not hold",
    }.get(as_is.outcome, "says nothing")
    peak = "" if as_is.peak_bytes is None else f" and needs {format_bytes(as_is.peak_bytes)}"
    return f"Without any lever it {words} under {record.users} users at {limit}{peak}."


def _evidence(policy: Levers, done: Done, record: LeversRecord) -> tuple[str, ...]:
    runs = len(_bases(policy, done))
    lines = [f"{runs} run{'s' if runs != 1 else ''} of the service as it is, in turns with the levers'"]
    if policy.is_raised(done):
        limit, raised = format_bytes(record.limit_bytes), format_bytes(record.raised_bytes)
        lines.append(f"sizes are measured under {raised}, where nothing is cut off; outcomes under {limit}")
    return tuple(lines)


def _interval(best: Best) -> str:
    if best.saved_low_bytes is None or best.saved_high_bytes is None:
        return ""
    return f" ({format_bytes(best.saved_low_bytes)} to {format_bytes(best.saved_high_bytes)})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _rank(row: LeverRow) -> tuple[int, float]:
    """What saves most first, then what has no size, then what was not tried; the bought one at the end."""
    if row.lever == plans.NAME:
        return 3, 0.0
    if row.outcome is LeverOutcome.NOT_TRIED:
        return 2, 0.0
    return (1, 0.0) if row.saved_bytes is None else (0, -row.saved_bytes)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _middle(values: Sequence[int | None]) -> int | None:
    found = _median(values)
    return None if found is None else round(found)


def _finite(value: float | None) -> int | None:
    return round(value) if value is not None and math.isfinite(value) else None
