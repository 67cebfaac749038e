"""The checklist of one service before its deploy: each point with what was measured, its limit and a hint. Pure.

Whatever a run's findings say already is not judged again here: a check gathers the findings that belong to it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec
import numpy as np

from loadtests.plan import RequestTemplate
from loadtests.requestlog import RequestOutcome
from profiling.judging.conformance import openapi_check
from profiling.judging.growth import FIRST_REQUESTS, MIN_ANSWERS, MIN_LOAD_S
from profiling.judging.report import AnalysedRun
from profiling.measuring.probing import WITHOUT, can_be_probed
from profiling.measuring.store import StoredRun
from profiling.units import KIB, format_bytes, format_ms, format_percent, format_seconds
from profiling.values import Budget, Check, Finding, Outcome

_BACK_WITHIN = 0.05
"""After the load memory may lie so far above the plateau that it had under load, as a share of it."""
_CANNOT_SAY = "cannot be said: it never became ready"
_ENDED = "cannot be said: it had ended by then"
_NOT_THERE = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
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
        if point is _headroom and (peak := _finding(run, "peak")):
            measured, limit = format_bytes(run.summary.peak_unreclaimable_bytes), format_bytes(budget.max_peak_bytes)
            found.append(_of(peak, "headroom", measured, limit))
    return tuple(found)


def _named(service: str, check: Check) -> Check:
    return msgspec.structs.replace(check, service=service, message=f"{service}: {check.message}")


def _start(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    service, summary = run.result.target.service, run.summary
    limit = f"{service.startup_timeout_s:g} s"
    measured = format_seconds(summary.startup_s)
    if summary.ready:
        return Check(id="start", status="pass", measured=measured, limit=limit, message=f"ready after {measured}")
    return _failed("start", run, measured, limit, "oom-kill-at-start", "never-ready", "crashed", "timed-out")


def _startup_memory(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    limit = format_bytes(run.summary.memory_limit_bytes)
    if found := _finding(run, "oom-kill-at-start"):
        return _of(found, "startup-memory", f"{run.summary.oom_kills} OOM kills", limit)
    if not run.summary.ready and (lost := _finding(run, "kill-counter-lost")):
        return _of(lost, "startup-memory", "killed", limit, "inconclusive")
    start = stored.samples
    if run.result.ready_ns is not None:
        # What is ready before the first sample has its start in that one.
        start = start[: max(1, int(np.searchsorted(start["t_ns"], run.result.ready_ns, side="right")))]
    peak = int(start["unreclaimable"].max()) if len(start) else None
    if peak is None:
        return Check(
            id="startup-memory", status="inconclusive", measured="–", limit=limit, message="nothing was sampled"
        )
    message = f"no OOM kill before it was ready; peak {format_bytes(peak)}"
    return Check(id="startup-memory", status="pass", measured=format_bytes(peak), limit=limit, message=message)


def _port(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    result = run.result
    if result.listening_ns is None and run.summary.outcome is Outcome.INTERRUPTED:
        return _broken_off("port", "PORT")
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
    if run.summary.outcome is Outcome.INTERRUPTED:
        return _broken_off("ready", "2xx")
    return Check(
        id="ready",
        status="fail",
        measured="–",
        limit="2xx",
        message=f"{path} never answered with 2xx",
        hint="check `ready` in the config file; the service's own output is in service.log",
    )


def _contract(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    """Wrong answers; a refused connection or a timeout is a check of its own."""
    summary = run.summary
    if not summary.ready:
        return _skipped("contract", _CANNOT_SAY)
    wrong = _count(stored, RequestOutcome.UNEXPECTED_STATUS, RequestOutcome.UNEXPECTED_BODY)
    if not summary.requests:
        return Check(id="contract", status="inconclusive", measured="0", limit="0 wrong", message="nothing was sent")
    measured = f"{wrong:,} of {summary.requests:,} wrong"
    if wrong > budget.max_failures * summary.requests:
        statuses = stored.requests["status"][stored.requests["outcome"] != RequestOutcome.OK]
        seen = ", ".join(f"{status}" for status in sorted(set(statuses.tolist())) if status)
        return Check(
            id="contract",
            status="fail",
            measured=measured,
            limit=f"{format_percent(budget.max_failures)} wrong",
            message=f"{wrong:,} of {summary.requests:,} answers were not as [request.expect] says"
            + (f" (statuses: {seen})" if seen else ""),
            hint=_contract_hint(run.result.target.request, set(statuses.tolist())),
        )
    message = f"{_good(run):,} answers as expected"
    return Check(id="contract", status="pass", measured=measured, limit="0 wrong", message=message)


def _contract_hint(request: RequestTemplate, statuses: set[int]) -> str:
    if statuses and statuses <= _NOT_THERE:
        return (
            f"nothing takes {request.method} {request.path} there; say request.method and request.path in a config file"
        )
    return "compare one answer with status and json_schema there"


def _good(run: AnalysedRun) -> int:
    return run.summary.requests - run.summary.failures


def _openapi(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    return openapi_check(run) if run.summary.ready else _skipped("openapi", _CANNOT_SAY)


def _bad_input(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    probes = run.result.probes
    if not probes:
        return _skipped("bad-input", _why_no_probes(run))
    if not _good(run):
        return _skipped("bad-input", "cannot be said: good requests were not answered as expected either")
    total = len(probes)
    dead = next((probe for probe in probes if not probe.ready_after), None)
    if dead is not None:
        message = f"after a request with {dead.name} it was not ready any more"
        return Check(id="bad-input", status="fail", measured="dead", limit="4xx", message=message, hint=_BAD_INPUT_HINT)
    for problem, probe in ((probe.problem or f"status {probe.status}", probe) for probe in probes):
        if probe.status is None or probe.status >= 500:
            message = f"a request with {probe.name} got {problem}"
            return Check(
                id="bad-input", status="fail", measured=problem, limit="4xx", message=message, hint=_BAD_INPUT_HINT
            )
    accepted = [probe.name for probe in probes if probe.status is not None and probe.status < 400]
    if accepted:
        message = (
            f"{len(accepted)} of {total} bad requests were answered as if they were good: {', '.join(accepted[:3])}"
        )
        return Check(
            id="bad-input", status="warn", measured=f"{len(accepted)} accepted", limit="4xx", message=message,
            hint=_OPTIONAL_HINT if all(name.startswith(WITHOUT) for name in accepted) else _ACCEPTED_HINT,
        )  # fmt: skip
    return Check(
        id="bad-input",
        status="pass",
        measured=f"{total} × 4xx",
        limit="4xx",
        message=f"all {total} bad requests were refused",
    )


_ACCEPTED_HINT = "what is taken today cannot be refused tomorrow; check the body before using it"
_OPTIONAL_HINT = "leave a field that may be missing out of request.json; else check the body before using it"


def _why_no_probes(run: AnalysedRun) -> str:
    if not can_be_probed(run.result.target.request):
        return "only POST requests with a JSON body are probed"
    if not run.summary.ready:
        return _CANNOT_SAY
    hung = run.result.openapi is not None and not run.result.openapi.ready_after
    return "cannot be said: it was not ready any more" if hung else _ENDED


_BAD_INPUT_HINT = "answer with 400 and a reason: anybody can send this, and each 5xx wakes somebody up"


def _oom(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    if not run.summary.ready:
        return _skipped("oom", _CANNOT_SAY)
    limit = "0"
    found = _finding(run, "oom-kill", "killed-by-another-limit", "stuck-at-limit", "kill-counter-lost")
    if found:
        status = "inconclusive" if found.id == "kill-counter-lost" else None
        return _of(found, "oom", f"{run.summary.oom_kills}", limit, status)
    message = "the kernel counted no OOM kill"
    return Check(id="oom", status="pass", measured=f"{run.summary.oom_kills}", limit=limit, message=message)


def _alive(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    if not run.summary.ready:
        return _skipped("alive", _CANNOT_SAY)
    if found := _finding(run, "crashed", "timed-out"):
        return _of(found, "alive", run.summary.outcome.value, "alive")
    if found := _finding(run, "restarts"):
        return _of(found, "alive", f"{run.summary.restarts} restarts", "0 restarts", "fail")
    if run.result.exit_status is not None or run.summary.oom_kills:
        measured = run.summary.stop_reason or f"{run.summary.oom_kills} processes OOM-killed"
        return Check(
            id="alive", status="fail", measured=measured, limit="alive", message=f"it did not stay alive: {measured}"
        )
    if run.summary.outcome in (Outcome.INTERRUPTED, Outcome.STOPPED_EARLY):
        outcome = run.summary.outcome.value
        return Check(
            id="alive", status="inconclusive", measured=outcome, limit="alive", message=f"the run was {outcome}"
        )
    message = "no process ended or was replaced"
    return Check(id="alive", status="pass", measured="0 restarts", limit="0 restarts", message=message)


def _timeouts(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    summary = run.summary
    if not summary.ready or not summary.requests:
        return _skipped("timeouts", _CANNOT_SAY if not summary.ready else "nothing was sent")
    lost = _count(stored, RequestOutcome.TIMEOUT, RequestOutcome.CONNECTION_ERROR, RequestOutcome.CUT_AT_END)
    measured, limit = f"{lost:,} of {summary.requests:,}", format_percent(budget.max_failures)
    if lost > budget.max_failures * summary.requests:
        return Check(
            id="timeouts",
            status="fail",
            measured=measured,
            limit=limit,
            message=f"{lost:,} of {summary.requests:,} requests got no answer (timed out, refused, cut off)",
            hint="with OOM kills this is their other side; without, look for a worker timeout or too few threads",
        )
    return Check(
        id="timeouts", status="pass", measured=measured, limit=limit, message="every request got an answer in time"
    )


def _p95(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    measured, limit = format_ms(run.summary.p95_ms), format_ms(budget.max_p95_ms)
    if run.summary.p95_ms is None:
        return _skipped("p95", "nothing was answered")
    if found := _finding(run, "p95"):
        return _of(found, "p95", measured, limit)
    if budget.max_p95_ms is None:
        return Check(
            id="p95", status="pass", measured=measured, limit="none", message=f"p95 {measured}; no limit is set"
        )
    return Check(id="p95", status="pass", measured=measured, limit=limit, message=f"p95 {measured}")


def _headroom(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    summary = run.summary
    if summary.peak_unreclaimable_bytes is None or summary.headroom_bytes is None:
        return Check(id="headroom", status="inconclusive", measured="–", limit="", message="nothing was sampled")
    share = summary.headroom_bytes / summary.memory_limit_bytes
    measured = f"{format_bytes(summary.headroom_bytes)} ({format_percent(share)})"
    limit = format_percent(budget.min_headroom if budget.min_headroom is not None else 0.1)
    if summary.oom_kills:
        return Check(
            id="headroom", status="fail", measured="none", limit=limit, message="no headroom: it was OOM-killed"
        )
    if found := _finding(run, "peak", "headroom"):
        judged = _of(found, "headroom", measured, limit)
        return msgspec.structs.replace(judged, message=judged.message + _when(run, stored))
    message = f"{measured} of headroom at the peak{_when(run, stored)}"
    return Check(id="headroom", status="pass", measured=measured, limit=limit, message=message)


def _when(run: AnalysedRun, stored: StoredRun) -> str:
    """Says so if the peak was not under load: a start or an end that needs more is another thing to mend."""
    highest = int(stored.samples["t_ns"][int(stored.samples["unreclaimable"].argmax())])
    phase = next((phase for phase in run.result.phases if phase.start_ns <= highest <= phase.end_ns), None)
    words = {"start": ", while it started", "probe": ", while it got bad input", "stop": ", while it ended"}
    return words.get(phase.name, "") if phase else ""


def _growth(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    summary = run.summary
    if not summary.ready:
        return _skipped("growth", _CANNOT_SAY)
    limit = f"{budget.max_growth_bytes_per_request / KIB:g} KiB/request"
    if summary.growth_bytes_per_request is None or summary.growth_low is None or summary.growth_high is None:
        start_ns, end_ns = run.result.load_start_ns, run.result.load_end_ns
        seconds = (end_ns - start_ns) / 1e9 if start_ns is not None and end_ns is not None else 0.0
        return _skipped(
            "growth",
            f"growth needs {MIN_ANSWERS} answers, and {MIN_LOAD_S:g} s from the {FIRST_REQUESTS}th on, all by the same"
            f" processes; there were {_good(run):,} answers in {format_seconds(seconds)}",
        )
    measured = (
        f"{summary.growth_bytes_per_request / KIB:.2f} KiB/request"
        f" ({summary.growth_low / KIB:.2f} to {summary.growth_high / KIB:.2f})"
    )
    if found := _finding(run, "growth"):
        return _of(found, "growth", measured, limit)
    return Check(id="growth", status="pass", measured=measured, limit=limit, message=f"{measured} of growth")


def _plateau(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    """Whether memory after the load lies where it lay in the second half of the load, or below."""
    result = run.result
    settle = next((phase for phase in result.phases if phase.name == "settle"), None)
    if settle is None or result.load_start_ns is None or result.load_end_ns is None or run.summary.oom_kills:
        return _skipped(
            "plateau", "there was no quiet time after the load" if not run.summary.oom_kills else "it was killed"
        )
    if result.exit_status is not None and run.summary.outcome is not Outcome.COMPLETED:
        return _skipped("plateau", _ENDED)
    times, memory = stored.samples["t_ns"], stored.samples["unreclaimable"]
    middle = (result.load_start_ns + result.load_end_ns) // 2
    loaded = memory[(times >= middle) & (times < result.load_end_ns)]
    after = memory[(times >= (settle.start_ns + settle.end_ns) // 2) & (times < settle.end_ns)]
    if not len(loaded) or not len(after):
        return Check(id="plateau", status="inconclusive", measured="–", limit="", message="nothing was sampled")
    plateau, rest = float(np.percentile(loaded, 95)), float(np.median(after))
    measured, limit = format_bytes(rest), format_bytes(plateau * (1 + _BACK_WITHIN))
    if rest > plateau * (1 + _BACK_WITHIN):
        message = f"after the load it holds {measured}, more than the {format_bytes(plateau)} under load"
        return Check(id="plateau", status="warn", measured=measured, limit=limit, message=message,
                     hint="work that goes on behind the answers? run it longer")  # fmt: skip
    message = f"{measured} after the load, {format_bytes(plateau)} under it"
    return Check(id="plateau", status="pass", measured=measured, limit=limit, message=message)


def _end(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    if run.result.clean_end is None:
        return _skipped("end", "it had ended before it was asked to")
    if found := _finding(run, "no-clean-end"):
        return _of(found, "end", "killed", "10 s")
    stop = next((phase for phase in run.result.phases if phase.name == "stop"), None)
    took = format_seconds((stop.end_ns - stop.start_ns) / 1e9) if stop else "–"
    return Check(id="end", status="pass", measured=took, limit="10 s", message=f"gone {took} after SIGTERM")


_POINTS: tuple[Point, ...] = (
    _start,
    _startup_memory,
    _port,
    _ready,
    _contract,
    _openapi,
    _bad_input,
    _oom,
    _alive,
    _timeouts,
    _p95,
    _headroom,
    _growth,
    _plateau,
    _end,
)


_OF_THE_WHOLE: tuple[Point, ...] = (_contract, _openapi, _bad_input, _timeouts, _p95)
"""What the load alone shows."""


def _finding(run: AnalysedRun, *ids: str) -> Finding | None:
    return next((finding for finding in run.summary.findings if finding.id in ids), None)


def _of(finding: Finding, check_id: str, measured: str, limit: str, status: str | None = None) -> Check:
    level = status or {"fail": "fail", "warn": "warn"}.get(finding.level, "pass")
    return Check(id=check_id, status=level, measured=measured, limit=limit, message=finding.message, hint=finding.hint)


def _failed(check_id: str, run: AnalysedRun, measured: str, limit: str, *ids: str) -> Check:
    found = _finding(run, *ids)
    if found is not None:
        return _of(found, check_id, measured, limit, "fail")
    message = run.summary.stop_reason or run.summary.outcome.value
    return Check(id=check_id, status="inconclusive", measured=measured, limit=limit, message=message)


def _broken_off(check_id: str, limit: str) -> Check:
    message = "the run was interrupted before that"
    return Check(id=check_id, status="inconclusive", measured="–", limit=limit, message=message)


def _skipped(check_id: str, why: str) -> Check:
    return Check(id=check_id, status="skipped", measured="–", limit="", message=why)


def _count(stored: StoredRun, *outcomes: RequestOutcome) -> int:
    return int(np.isin(stored.requests["outcome"], [int(outcome) for outcome in outcomes]).sum())
