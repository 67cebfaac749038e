"""What a reader should know about one run: findings, each with what to do about it. Pure."""

from __future__ import annotations

import dataclasses
import signal

import msgspec

from profiling.judgements import Finding
from profiling.judging.analysis import gap_percentile_ms
from profiling.judging.report import AnalysedRun
from profiling.judging.watches import of_watch
from profiling.measuring.blocks import Readings
from profiling.measuring.samples import UNMEASURED
from profiling.measuring.store import StoredRun
from profiling.units import KIB, format_bytes, format_ms, format_percent
from profiling.values import Budget, Outcome, PageCache

KILLED_BY_ANOTHER_LIMIT = "killed-by-another-limit"
STUCK_AT_LIMIT = "stuck-at-limit"
THRASHING = "thrashing"
_LOW_HEADROOM = 0.10
_PEAK_TOLERANCE = 0.01
_LONG_GAP_MS = 25.0
_CLOCK_ERROR_MS = 20.0
_NEAR_LIMIT = 0.95
_MOSTLY_ANSWERED = 0.5
_STALLED = 0.10
"""From this share of the load's time on, waiting for memory is worth a word."""
_PAGE = 4096
_ABORT_HINT = "a runtime aborts itself so at a limit of its own, as Node does at --max-old-space-size"


def with_findings(run: AnalysedRun, stored: StoredRun, budget: Budget) -> AnalysedRun:
    """The same run with its findings, most serious first. Of several services each has its own; the run's findings are
    theirs, by name, and those of the whole."""
    answers = _answers(run, budget)
    of_services = [
        _with(part, _of_one(part, alone, budget, suffers=bool(answers)))
        for part, alone in zip(run.services, stored.parts, strict=True)
    ]
    own = [named(part.summary.name, finding) for part in of_services for finding in part.summary.findings]
    if not run.services:
        own = _of_one(run, stored, budget, suffers=bool(answers))
    elif run.summary.outcome is Outcome.TIMED_OUT:
        own += _end(run)
    run = dataclasses.replace(run, services=tuple(of_services))
    return _with(run, [*own, *answers, *_peak(run, budget), *of_watch(run), *_trust(run, stored)])


def named(service: str, finding: Finding) -> Finding:
    """The finding as one of a service of several."""
    return msgspec.structs.replace(finding, message=f"{service}: {finding.message}")


def _of_one(run: AnalysedRun, stored: StoredRun, budget: Budget, *, suffers: bool) -> list[Finding]:
    """What one service under one limit did. `suffers`: its users felt it."""
    return [
        *_kills(run),
        *_kill_count(run),
        *(_stuck(run, stored) or _thrashing(run, stored, suffers=suffers)),
        *_end(run),
        *_headroom(run, budget),
        *_growth(run, budget),
        *_missed_peak(run),
    ]


def _with(run: AnalysedRun, found: list[Finding]) -> AnalysedRun:
    order = {"fail": 0, "warn": 1, "info": 2}
    found.sort(key=lambda finding: order[finding.level])
    return dataclasses.replace(run, summary=msgspec.structs.replace(run.summary, findings=tuple(found)))


def _kills(run: AnalysedRun) -> list[Finding]:
    summary, result = run.summary, run.result
    if not summary.oom_kills:
        return []
    limit = format_bytes(summary.memory_limit_bytes)
    peak = result.kernel_peak_charged_bytes
    if peak is not None and peak < _NEAR_LIMIT * (summary.memory_limit_bytes or 0):
        return [
            Finding(
                id=KILLED_BY_ANOTHER_LIMIT,
                level="fail",
                message=f"killed by the kernel {_times(summary.oom_kills)}, but never near the limit of {limit}:"
                " the machine or an outer limit ran out of memory",
                hint="make the run where more memory is free",
            )
        ]
    first = min(run.kills_s)
    under_load = run.load_s is not None and first >= run.load_s[0]
    when = (
        f"{first - run.load_s[0]:.1f} s into the load"
        if under_load and run.load_s
        else f"{first:.1f} s after {'the watch began' if result.watched else 'the start'}"
    )
    if run.ready_s is None and result.watched is None:
        return [
            Finding(
                id="oom-kill-at-start",
                level="fail",
                message=f"OOM-killed {_times(summary.oom_kills)} before it was ready: starting alone needs more than {limit}",
                hint="raise the limit, or make the start lighter: `profile` shows what it loads",
            )
        ]
    return [
        Finding(
            id="oom-kill",
            level="fail",
            message=f"OOM-killed {_times(summary.oom_kills)} at the limit of {limit}, first {when}",
            hint="the lines of code that held the memory stand below, if the memray pass was on; else run `profile`",
        )
    ]


def _kill_count(run: AnalysedRun) -> list[Finding]:
    """How far the count of kills can be trusted, and what the container engine says instead."""
    result, kills = run.result, run.summary.oom_kills
    flag = result.engine_oom_flag
    if not kills and not result.kills_certain and result.exit_status == -signal.SIGKILL:
        said = {True: "says that it was", False: "says that it was not", None: "does not say whether it was"}[flag]
        return [
            Finding(
                id="kill-counter-lost",
                level="warn",
                message="the container's first process ended by SIGKILL, and its cgroup was gone before the kernel's count"
                f" could be read: perhaps OOM-killed ({result.sandbox} {said})",
                hint="see the kernel's log (dmesg)"
                if result.watched
                else "run it as root, so that the counter can be held until it has been read",
            )
        ]
    if flag is None or flag == bool(kills):
        return []
    return [
        Finding(
            id="engine-flag",
            level="info",
            message=f"{result.sandbox}'s own OOMKilled flag is {str(flag).lower()}, the kernel counted {kills or 'no'} OOM"
            f" kill{'' if kills == 1 else 's'}: the flag is a hint, the count is the evidence",
        )
    ]


def _stuck(run: AnalysedRun, stored: StoredRun) -> list[Finding]:
    """At the limit without a kill: the kernel always found a page of the service's own code to take, and it was read
    again at once. The kill comes only when reclaim finds nothing, which can take for ever on a fast disk."""
    summary, result = run.summary, run.result
    if (
        summary.oom_kills
        or not summary.requests
        or (summary.availability or 0.0) >= _MOSTLY_ANSWERED
        or summary.memory_limit_bytes is None
        or (summary.peak_unreclaimable_bytes or 0) < _NEAR_LIMIT * summary.memory_limit_bytes
        or result.load_start_ns is None
    ):
        return []
    return [
        Finding(
            id=STUCK_AT_LIMIT,
            level="fail",
            message=f"stuck at the limit of {format_bytes(summary.memory_limit_bytes)}: not killed, but it read"
            f" {format_bytes(read_again(_under_load(stored)))} of its own code and files again and again, and answered"
            f" {format_percent(summary.availability)} of the requests",
            hint="it hangs until the kernel finds nothing more to take back; for its users that is as good as dead",
        )
    ]


def _thrashing(run: AnalysedRun, stored: StoredRun, *, suffers: bool) -> list[Finding]:
    """It fits only because the kernel takes its code away, over and over, and all of it waits until that is read again.

    By the kernel's own account of waiting (memory.pressure, `full`), so on cgroup v2 only. A run in which something was
    killed waited for memory before that as a matter of course. `suffers`: its users felt it.
    """
    share = _stalled_share(stored)
    if run.summary.oom_kills or share is None or share < _STALLED:
        return []
    return [
        Finding(
            id=THRASHING,
            level="fail" if suffers else "warn",
            message=f"thrashing: {format_percent(share)} of the load's time all of it waited for memory, and it read"
            f" {format_bytes(read_again(_under_load(stored)))} of its own code and files again",
            hint="what it holds leaves too little for the code that it runs; raise the limit, or hold less",
        )
    ]


def _under_load(stored: StoredRun) -> Readings:
    """The samples from the load's start to its end; none where there was no load."""
    result, samples = stored.result, stored.every_sample
    if result.load_start_ns is None:
        return samples.between(result.end_ns, result.end_ns)
    return samples.between(result.load_start_ns, (result.load_end_ns or result.end_ns) + 1)


def read_again(samples: Readings) -> int:
    """Bytes of files that were read again between the first sample and the last, after the kernel had taken them back."""
    ends = samples.ends()
    return int(ends["refault_file"][1] - ends["refault_file"][0]) * _PAGE if len(ends) else 0


def _stalled_share(stored: StoredRun) -> float | None:
    """The share of the load's time in which everything that had work waited for memory; None: unmeasured."""
    if "pressure_full_us" not in (stored.samples.dtype.names or ()):
        return None
    first: tuple[int, int] | None = None
    last = (0, 0)
    for block in _under_load(stored).only("t_ns", "pressure_full_us"):
        measured = block[block["pressure_full_us"] != UNMEASURED]
        if len(measured):
            ends = [(int(measured["t_ns"][at]), int(measured["pressure_full_us"][at])) for at in (0, -1)]
            first, last = first or ends[0], ends[1]
    if first is None or first[0] == last[0]:
        return None
    return (last[1] - first[1]) * 1000 / (last[0] - first[0])


def _end(run: AnalysedRun) -> list[Finding]:
    outcome, reason = run.summary.outcome, run.summary.stop_reason
    log = "see its own log" if run.result.watched else f"its output is in {run.summary.run_dir}/service.log"
    if outcome is Outcome.CRASHED:
        aborted = run.result.exit_status in (-signal.SIGABRT, 128 + signal.SIGABRT)
        hint = f"{_ABORT_HINT}; {log}" if aborted else log
        return [Finding(id="crashed", level="fail", message=f"the service ended by itself: {reason}", hint=hint)]
    if outcome is Outcome.NEVER_READY:
        return [
            Finding(
                id="never-ready",
                level="fail",
                message=f"the service never became ready: {reason}",
                hint=f"check the `ready` path and `startup_timeout`; {log}",
            )
        ]
    if outcome is Outcome.TIMED_OUT:
        return [Finding(id="timed-out", level="fail", message=f"the run timed out: {reason}", hint=log)]
    found = []
    if run.result.clean_end is False:
        found.append(
            Finding(
                id="no-clean-end",
                level="warn",
                message="it was not gone within 10 s of SIGTERM and had to be killed",
                hint="platforms kill it at each deploy, with the requests in flight; handle SIGTERM",
            )
        )
    replaced = run.summary.restarts - (run.summary.oom_kills or 0)
    if replaced > 0:
        found.append(
            Finding(
                id="restarts",
                level="warn",
                message=f"{replaced} processes ended without an OOM kill and were replaced",
                hint=f"look for worker timeouts or crashes; {log}",
            )
        )
    return found


def _answers(run: AnalysedRun, budget: Budget) -> list[Finding]:
    summary = run.summary
    found = []
    if summary.requests and summary.failures > budget.max_failures * summary.requests:
        dark = ""
        if summary.dark_share is not None:  # a load of a second or two has no second to look at
            dark = f"; no answer at all in {format_percent(summary.dark_share)} of the seconds"
        found.append(
            Finding(
                id="failures",
                level="fail",
                message=f"{summary.failures:,} of {summary.requests:,} requests failed{dark}",
                hint="a refused connection, a wrong status, a wrong body and a timeout all count",
            )
        )
    if budget.max_p95_ms is not None and summary.p95_ms is not None and summary.p95_ms > budget.max_p95_ms:
        found.append(
            Finding(
                id="p95",
                level="fail",
                message=f"p95 is {format_ms(summary.p95_ms)}, over the budget of {format_ms(budget.max_p95_ms)}",
            )
        )
    return found


def _peak(run: AnalysedRun, budget: Budget) -> list[Finding]:
    """Of several services that of their sum."""
    peak = run.summary.peak_unreclaimable_bytes
    if peak is None or run.summary.oom_kills or budget.max_peak_bytes is None or peak <= budget.max_peak_bytes:
        return []
    return [
        Finding(
            id="peak",
            level="fail",
            message=f"peak {format_bytes(peak)}, over the budget of {format_bytes(budget.max_peak_bytes)}",
        )
    ]


def _headroom(run: AnalysedRun, budget: Budget) -> list[Finding]:
    summary = run.summary
    if summary.headroom_bytes is None or not summary.memory_limit_bytes or summary.oom_kills:
        return []
    if run.result.watched and summary.headroom_bytes < 0:
        return []  # said by `of_watch`
    share = summary.headroom_bytes / summary.memory_limit_bytes
    said = f"{format_bytes(summary.headroom_bytes)} ({format_percent(share)}) of headroom"
    found = []
    if budget.min_headroom is not None and share < budget.min_headroom:
        found.append(
            Finding(
                id="headroom",
                level="fail",
                message=f"{said}, under the budget of {format_percent(budget.min_headroom)}",
            )
        )
    elif budget.min_headroom is None and share < _LOW_HEADROOM:
        found.append(
            Finding(
                id="headroom", level="warn", message=f"only {said}", hint="a busier hour may not fit; raise the limit"
            )
        )
    return found


def _growth(run: AnalysedRun, budget: Budget) -> list[Finding]:
    summary = run.summary
    if summary.growth_low is None or summary.growth_low <= budget.max_growth_bytes_per_request:
        return []
    return [
        Finding(
            id="growth",
            level="fail",
            message=f"memory grows by {(summary.growth_bytes_per_request or 0) / KIB:.1f} KiB with each request"
            f" (95 % interval {summary.growth_low / KIB:.1f} to {(summary.growth_high or 0) / KIB:.1f})",
            hint="a leak or a cache without a bound; run it longer to tell a cache that fills",
        )
    ]


def _trust(run: AnalysedRun, stored: StoredRun) -> list[Finding]:
    """What lessens the trust in this run's figures."""
    result, found = run.result, []
    if result.load_problem:
        found.append(
            Finding(id="load-generator", level="warn", message=result.load_problem, hint="see the load's own output")
        )
    clock_ms = max((worker.clock_error_ns for worker in result.load_workers), default=0) / 1e6
    if clock_ms > _CLOCK_ERROR_MS:
        found.append(
            Finding(
                id="load-clock",
                level="warn",
                message=f"the clocks of the load's workers are known within {clock_ms:.0f} ms only: which requests were in"
                " flight at a moment may be wrong by as much",
                hint="latencies are not touched by it: each is measured by one clock",
            )
        )
    gap_ms = gap_percentile_ms(stored, 99)
    if gap_ms is not None and gap_ms > _LONG_GAP_MS * 100.0 / result.sampler_hz:
        found.append(
            Finding(
                id="sampler-gaps",
                level="warn",
                message=f"1 % of the gaps between samples are over {gap_ms:.0f} ms: peaks may be missed",
                hint="the machine was too busy; run it as root, so that the sampler goes first",
            )
        )
    if result.page_cache is not PageCache.COLD and result.capture is None and result.watched is None:
        found.append(
            Finding(
                id="page-cache",
                level="info",
                message=f"page cache: {result.page_cache.value}; charged memory may seem smaller than on a fresh instance",
                hint="the verdict does not depend on it: unreclaimable memory has no page cache in it",
            )
        )
    return found


def _missed_peak(run: AnalysedRun) -> list[Finding]:
    exact, sampled = run.result.kernel_peak_charged_bytes, run.summary.peak_charged_bytes
    if not exact or sampled is None or exact - sampled <= _PEAK_TOLERANCE * exact:
        return []
    return [
        Finding(
            id="missed-peak",
            level="warn",
            message=f"the kernel saw a peak of {format_bytes(exact)} charged, the sampler one of {format_bytes(sampled)}",
            hint="a peak between two samples was missed; the unreclaimable peak may be higher than shown, too",
        )
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
