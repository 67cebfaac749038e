"""The checklist of one service before its deploy: each point with what was measured, its limit and a hint. Pure.

Whatever a run's findings say already is not judged again here: a check gathers the findings that belong to it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from profiling.judgements import Check
from profiling.judging import levels
from profiling.judging.answers import bad_input, contract, good, openapi, p95, timeouts
from profiling.judging.growth import FIRST_REQUESTS, MIN_ANSWERS, MIN_LOAD_S
from profiling.judging.points import CANNOT_SAY, CUT_SHORT, ENDED, broken_off, failed, finding, of_finding, skipped
from profiling.judging.report import AnalysedRun
from profiling.measuring.store import StoredRun
from profiling.units import KIB, format_bytes, format_percent, format_seconds
from profiling.values import Budget, Outcome

_BACK_WITHIN = 0.05
"""After the load memory may lie so far above the plateau that it had under load, as a share of it."""
Point = Callable[[AnalysedRun, StoredRun, Budget], Check]


def check(run: AnalysedRun, stored: StoredRun, budget: Budget) -> tuple[Check, ...]:
    """All points, in the order in which a deploy would meet them; of several services each for itself where it can be."""
    if not run.services:
        return tuple(point(run, stored, budget) for point in _POINTS)
    found: list[Check] = []
    for point in _POINTS:
        if point in _OF_THE_WHOLE:
            found.append(point(run, stored, budget))
        else:
            parts = zip(run.services, stored.parts, strict=True)
            found += [_named(part.summary.name, point(part, alone, budget)) for part, alone in parts]
        if point is _headroom and (peak := finding(run, "peak")):
            measured, limit = format_bytes(run.summary.peak_unreclaimable_bytes), format_bytes(budget.max_peak_bytes)
            found.append(of_finding(peak, "headroom", measured, limit))
    return tuple(found)


def _named(service: str, check: Check) -> Check:
    return msgspec.structs.replace(check, service=service, message=f"{service}: {check.message}")


def _start(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    service, summary = run.result.target.service, run.summary
    limit = f"{service.startup_timeout_s:g} s"
    measured = format_seconds(summary.startup_s)
    if summary.ready:
        return Check(id="start", status="pass", measured=measured, limit=limit, message=f"ready after {measured}")
    return failed("start", run, measured, limit, "oom-kill-at-start", "never-ready", "crashed", "timed-out")


def _startup_memory(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    limit = format_bytes(run.summary.memory_limit_bytes)
    if found := finding(run, "oom-kill-at-start"):
        return of_finding(found, "startup-memory", f"{run.summary.oom_kills} OOM kills", limit)
    if not run.summary.ready and (lost := finding(run, "kill-counter-lost")):
        return of_finding(lost, "startup-memory", "killed", limit, "inconclusive")
    peak = levels.startup_peak(stored)
    if peak is None:
        return Check(
            id="startup-memory", status="inconclusive", measured="–", limit=limit, message="nothing was sampled"
        )
    message = f"no OOM kill before it was ready; peak {format_bytes(peak)}"
    return Check(id="startup-memory", status="pass", measured=format_bytes(peak), limit=limit, message=message)


def _port(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    result = run.result
    if result.listening_ns is None and run.summary.outcome in CUT_SHORT:
        return broken_off("port", "PORT")
    if result.listening_ns is None:
        return Check(
            id="port",
            status="fail",
            measured="never",
            limit="PORT",
            message="nothing took a connection on the port that PORT names",
            hint="bind to $PORT (and in a container to $HOST or 0.0.0.0), as the platform asks for it",
        )
    after = (result.listening_ns - result.start_ns) / 1e9
    message = f"its port took a connection after {format_seconds(after)}"
    return Check(id="port", status="pass", measured=format_seconds(after), limit="PORT", message=message)


def _ready(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    path = run.result.target.service.ready
    if run.summary.ready:
        return Check(id="ready", status="pass", measured="2xx", limit="2xx", message=f"{path} answers with 2xx")
    if run.summary.outcome in CUT_SHORT:
        return broken_off("ready", "2xx")
    return Check(
        id="ready",
        status="fail",
        measured="–",
        limit="2xx",
        message=f"{path} never answered with 2xx",
        hint="check `ready` in the config file; the service's own output is in service.log",
    )


def _oom(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    if not run.summary.ready:
        return skipped("oom", CANNOT_SAY)
    limit = "0"
    found = finding(run, "oom-kill", "killed-by-another-limit", "stuck-at-limit", "kill-counter-lost")
    if found:
        status = "inconclusive" if found.id == "kill-counter-lost" else None
        return of_finding(found, "oom", f"{run.summary.oom_kills}", limit, status)
    message = "the kernel counted no OOM kill"
    return Check(id="oom", status="pass", measured=f"{run.summary.oom_kills}", limit=limit, message=message)


def _alive(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    if not run.summary.ready:
        return skipped("alive", CANNOT_SAY)
    if found := finding(run, "crashed", "timed-out"):
        return of_finding(found, "alive", run.summary.outcome.value, "alive")
    if found := finding(run, "restarts"):
        return of_finding(found, "alive", f"{run.summary.restarts} restarts", "0 restarts", "fail")
    if run.result.exit_status is not None or run.summary.oom_kills:
        measured = run.summary.stop_reason or f"{run.summary.oom_kills} processes OOM-killed"
        return Check(
            id="alive", status="fail", measured=measured, limit="alive", message=f"it did not stay alive: {measured}"
        )
    if run.summary.outcome in CUT_SHORT:
        outcome = run.summary.outcome.value
        message = f"the run was cut short: {run.summary.stop_reason or outcome}"
        return Check(id="alive", status="inconclusive", measured=outcome, limit="alive", message=message)
    message = "no process ended or was replaced"
    return Check(id="alive", status="pass", measured="0 restarts", limit="0 restarts", message=message)


def _headroom(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    summary = run.summary
    if summary.headroom_bytes is None or not summary.memory_limit_bytes:
        return Check(id="headroom", status="inconclusive", measured="–", limit="", message="nothing was sampled")
    share = summary.headroom_bytes / summary.memory_limit_bytes
    measured = f"{format_bytes(summary.headroom_bytes)} ({format_percent(share)})"
    limit = format_percent(budget.min_headroom if budget.min_headroom is not None else 0.1)
    if summary.oom_kills:
        return Check(
            id="headroom", status="fail", measured="none", limit=limit, message="no headroom: it was OOM-killed"
        )
    if found := finding(run, "peak", "headroom"):
        judged = of_finding(found, "headroom", measured, limit)
        return msgspec.structs.replace(judged, message=judged.message + _when(run, stored))
    message = f"{measured} of headroom at the peak{_when(run, stored)}"
    return Check(id="headroom", status="pass", measured=measured, limit=limit, message=message)


def _when(run: AnalysedRun, stored: StoredRun) -> str:
    """Says so if the peak was not under load: a start or an end that needs more is another thing to mend."""
    highest = int(stored.samples["t_ns"][int(stored.samples["unreclaimable"].argmax())])
    phase = next((phase for phase in run.result.phases if phase.start_ns <= highest <= phase.end_ns), None)
    return _PHASES.get(phase.name, "") if phase else ""


_PHASES = {
    "start": ", while it started",
    "openapi": ", while it was asked by its OpenAPI document",
    "probe": ", while it got bad input",
    "stop": ", while it ended",
}


def _growth(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    summary = run.summary
    if not summary.ready:
        return skipped("growth", CANNOT_SAY)
    limit = f"{budget.max_growth_bytes_per_request / KIB:g} KiB/request"
    if summary.growth_bytes_per_request is None or summary.growth_low is None or summary.growth_high is None:
        start_ns, end_ns = run.result.load_start_ns, run.result.load_end_ns
        seconds = (end_ns - start_ns) / 1e9 if start_ns is not None and end_ns is not None else 0.0
        return skipped(
            "growth",
            f"growth needs {MIN_ANSWERS} answers, and {MIN_LOAD_S:g} s from the {FIRST_REQUESTS}th on, all by the same"
            f" processes; there were {good(run):,} answers in {format_seconds(seconds)}",
        )
    measured = (
        f"{summary.growth_bytes_per_request / KIB:.2f} KiB/request"
        f" ({summary.growth_low / KIB:.2f} to {summary.growth_high / KIB:.2f})"
    )
    if found := finding(run, "growth"):
        return of_finding(found, "growth", measured, limit)
    return Check(id="growth", status="pass", measured=measured, limit=limit, message=f"{measured} of growth")


def _plateau(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    """Whether memory after the load lies where it lay in the second half of the load, or below."""
    result = run.result
    settle = next((phase for phase in result.phases if phase.name == "settle"), None)
    if settle is None or result.load_start_ns is None or result.load_end_ns is None or run.summary.oom_kills:
        return skipped(
            "plateau", "there was no quiet time after the load" if not run.summary.oom_kills else "it was killed"
        )
    if result.exit_status is not None and run.summary.outcome is not Outcome.COMPLETED:
        return skipped("plateau", ENDED)
    plateau, rest = levels.under_load(stored), levels.at_rest(stored)
    if plateau is None or rest is None:
        return Check(id="plateau", status="inconclusive", measured="–", limit="", message="nothing was sampled")
    measured, limit = format_bytes(rest), format_bytes(plateau * (1 + _BACK_WITHIN))
    if rest > plateau * (1 + _BACK_WITHIN):
        message = f"after the load it holds {measured}, more than the {format_bytes(plateau)} under load"
        return Check(id="plateau", status="warn", measured=measured, limit=limit, message=message,
                     hint="work that goes on behind the answers? run it longer")  # fmt: skip
    message = f"{measured} after the load, {format_bytes(plateau)} under it"
    return Check(id="plateau", status="pass", measured=measured, limit=limit, message=message)


def _end(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    if run.result.clean_end is None:
        return skipped("end", "it had ended before it was asked to")
    if found := finding(run, "no-clean-end"):
        return of_finding(found, "end", "killed", "10 s")
    stop = next((phase for phase in run.result.phases if phase.name == "stop"), None)
    took = format_seconds((stop.end_ns - stop.start_ns) / 1e9) if stop else "–"
    return Check(id="end", status="pass", measured=took, limit="10 s", message=f"gone {took} after SIGTERM")


_POINTS: tuple[Point, ...] = (
    _start,
    _startup_memory,
    _port,
    _ready,
    contract,
    openapi,
    bad_input,
    _oom,
    _alive,
    timeouts,
    p95,
    _headroom,
    _growth,
    _plateau,
    _end,
)
_OF_THE_WHOLE: tuple[Point, ...] = (contract, openapi, bad_input, timeouts, p95)
"""What the load alone shows."""
