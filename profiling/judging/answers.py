"""The points of the checklist that its clients meet: what it answers, to good input and to bad, and when. Pure."""

from __future__ import annotations

from http import HTTPStatus

import numpy as np

from loadtests.plan import RequestTemplate
from loadtests.requestlog import RequestOutcome
from profiling.judgements import Check
from profiling.judging.conformance import openapi_check
from profiling.judging.points import CANNOT_SAY, ENDED, finding, of_finding, skipped
from profiling.judging.report import AnalysedRun
from profiling.measuring.probing import WITHOUT, can_be_probed
from profiling.measuring.store import StoredRun
from profiling.units import format_ms, format_percent
from profiling.values import Budget

_NOT_THERE = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


def contract(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    """Wrong answers; a refused connection or a timeout is a check of its own."""
    summary = run.summary
    if not summary.ready:
        return skipped("contract", CANNOT_SAY)
    wrong = _count(stored, RequestOutcome.UNEXPECTED_STATUS, RequestOutcome.UNEXPECTED_BODY)
    if not summary.requests:
        return Check(id="contract", status="inconclusive", measured="0", limit="0 wrong", message="nothing was sent")
    measured = f"{wrong:,} of {summary.requests:,} wrong"
    if wrong > budget.max_failures * summary.requests:
        statuses = {
            int(status)
            for block in stored.every_request
            for status in np.unique(block["status"][block["outcome"] != RequestOutcome.OK])
        }
        seen = ", ".join(f"{status}" for status in sorted(statuses) if status)
        return Check(
            id="contract",
            status="fail",
            measured=measured,
            limit=f"{format_percent(budget.max_failures)} wrong",
            message=f"{wrong:,} of {summary.requests:,} answers were not as [request.expect] says"
            + (f" (statuses: {seen})" if seen else ""),
            hint=_contract_hint(run.result.target.request, statuses),
        )
    message = f"{good(run):,} answers as expected"
    return Check(id="contract", status="pass", measured=measured, limit="0 wrong", message=message)


def _contract_hint(request: RequestTemplate, statuses: set[int]) -> str:
    if statuses and statuses <= _NOT_THERE:
        return (
            f"nothing takes {request.method} {request.path} there; say request.method and request.path in a config file"
        )
    return "compare one answer with status and json_schema there"


def good(run: AnalysedRun) -> int:
    """How many answers were as expected."""
    return run.summary.requests - run.summary.failures


def openapi(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    return openapi_check(run) if run.summary.ready else skipped("openapi", CANNOT_SAY)


def bad_input(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    probes = run.result.probes
    if not probes:
        return skipped("bad-input", _why_no_probes(run))
    if not good(run):
        return skipped("bad-input", "cannot be said: good requests were not answered as expected either")
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
        return CANNOT_SAY
    hung = run.result.openapi is not None and not run.result.openapi.ready_after
    return "cannot be said: it was not ready any more" if hung else ENDED


_BAD_INPUT_HINT = "answer with 400 and a reason: anybody can send this, and each 5xx wakes somebody up"


def timeouts(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    summary = run.summary
    if not summary.ready or not summary.requests:
        return skipped("timeouts", CANNOT_SAY if not summary.ready else "nothing was sent")
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


def p95(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Check:
    measured, limit = format_ms(run.summary.p95_ms), format_ms(budget.max_p95_ms)
    if run.summary.p95_ms is None:
        return skipped("p95", "nothing was answered")
    if found := finding(run, "p95"):
        return of_finding(found, "p95", measured, limit)
    if budget.max_p95_ms is None:
        return Check(
            id="p95", status="pass", measured=measured, limit="none", message=f"p95 {measured}; no limit is set"
        )
    return Check(id="p95", status="pass", measured=measured, limit=limit, message=f"p95 {measured}")


def _count(stored: StoredRun, *outcomes: RequestOutcome) -> int:
    wanted = [int(outcome) for outcome in outcomes]
    return sum(int(np.isin(block["outcome"], wanted).sum()) for block in stored.every_request)
