"""The checklist's point about the OpenAPI document: what a run found out about it, judged. Pure.

A 5xx to a valid request, and an answer that breaks its schema, fail: clients are made from the document. An undocumented
status or content type warns: it is a gap in the document as often as a fault of the service.
"""

from __future__ import annotations

from collections.abc import Sequence

from profiling.judgements import Check
from profiling.judging.report import AnalysedRun
from profiling.values import ApiConformance, ApiDocument, ApiProblem, Outcome

ID = "openapi"
INSTALL_HINT = "pip install oomproof[openapi]"
_LIMIT = "as documented"
_TOLD = 2
"""So many problems stand in the message; the page has them all."""
_ORDER = ("server-error", "schema", "no-answer", "document", "status", "content-type")
_HINTS = {
    "server-error": "anybody who reads the document can send this; the traceback is in service.log",
    "schema": "correct the answer or the document: clients are generated from it",
    "no-answer": "give that operation a time limit of its own, or a worker that waits for it",
    "document": "correct the document, or leave it out of the check with openapi = \"\" in [request]",
    "status": "write the status into the document, or answer with one that stands there; for 401 and 403, send"
    " credentials with headers in [request]",
    "content-type": "write the content type into the document, or answer with one that stands there",
}  # fmt: skip
_NO_CHECK_HINT = 'name the document with openapi in [request]; openapi = "" there switches this off'


def openapi_check(run: AnalysedRun) -> Check:
    """For a run whose service became ready."""
    document, found = run.result.target.openapi, run.result.openapi
    if document is None:
        return _skipped('switched off by openapi = "" in [request]')
    if found is None:
        ended = run.result.outcome is not Outcome.COMPLETED
        return _skipped("cannot be said: it had ended before it could be asked" if ended else "it was not asked")
    return _checked(document, found) if found.state in ("checked", "broken-off") else _unchecked(document, found)


def _unchecked(document: ApiDocument, found: ApiConformance) -> Check:
    """Nothing was asked: there is no document, or no way to use it."""
    place, named = found.place, document.named
    hint = "correct the document, or name another with openapi in [request]"
    match found.state:
        case "absent" if not named:
            return _skipped(f"no OpenAPI document at {place} ({found.reason})")
        case "absent":
            status, message = "fail", f"there is no {place}: {found.reason}"
        case "not-installed":
            status, message, hint = (
                "warn" if named else "skipped", f"{place} was not checked: {found.reason}", INSTALL_HINT,
            )  # fmt: skip
        case _:
            status, message = "fail" if named else "warn", f"{place} cannot be used: {found.reason}"
    return Check(id=ID, status=status, measured=found.state, limit=_LIMIT, message=message, hint=hint)


def by_weight(found: ApiConformance) -> tuple[ApiProblem, ...]:
    """The problems, worst first."""
    return tuple(sorted(found.problems, key=lambda problem: _ORDER.index(problem.kind)))


def problem_status(problem: ApiProblem, document: ApiDocument, found: ApiConformance) -> str:
    """`fail` or `warn`: what one problem means for the check."""
    if problem.kind in ("server-error", "schema"):
        return "fail"
    if problem.kind == "no-answer":
        return "warn" if found.ready_after else "fail"
    return "fail" if problem.kind == "document" and document.named else "warn"


def _checked(document: ApiDocument, found: ApiConformance) -> Check:
    problems = by_weight(found)
    statuses = [problem_status(problem, document, found) for problem in problems]
    unfinished = "inconclusive" if document.named else "warn"
    requests = _count(found.requests, "request")
    if "fail" in statuses or not found.ready_after:
        failing = [problem for problem, status in zip(problems, statuses, strict=True) if status == "fail"]
        return _problems("fail", found, failing)
    if found.state == "broken-off":
        message = f"{found.place} could not be checked to its end: {found.reason}"
        return Check(id=ID, status=unfinished, measured=requests, limit=_LIMIT, message=message, hint=_NO_CHECK_HINT)
    if problems:
        return _problems("warn", found, problems)
    if not found.chosen:
        message = f"none of the {_count(found.operations, 'operation')} in {found.place} was asked{_left_out(found)}"
        return Check(
            id=ID, status="warn" if document.named else "skipped", measured="–", limit="", message=message,
            hint="openapi_methods in [request] names methods that may be asked as well",
        )  # fmt: skip
    if found.asked < found.chosen:
        message = (
            f"only {found.asked} of the {_count(found.chosen, 'operation')} in {found.place} could be asked in time"
        )
        status = "warn" if found.asked else unfinished
        return Check(
            id=ID, status=status, measured=f"{found.asked} of {found.chosen}", limit=_LIMIT, message=message,
            hint="its answers are slow, or it has many operations; a smaller document can be named with openapi in [request]",
        )  # fmt: skip
    measured = f"{_count(found.asked, 'operation')}, {requests}"
    verb = "answers" if found.asked == 1 else "answer"
    message = f"{_count(found.asked, 'operation')} {verb} {requests} as {found.place} says{_left_out(found)}"
    return Check(id=ID, status="pass", measured=measured, limit=_LIMIT, message=message)


def _problems(status: str, found: ApiConformance, problems: Sequence[ApiProblem]) -> Check:
    """`problems`: those that are told; others of less weight are counted."""
    told = [f"{problem.operation or found.place}: {problem.example}" for problem in problems[:_TOLD]]
    if len(found.problems) > len(told):
        told.append(f"and {len(found.problems) - len(told)} more")
    if not found.ready_after:
        told.insert(0, f"after requests that {found.place} allows it was not ready any more")
    hint = _HINTS[problems[0].kind] if problems else "the service's own output is in service.log"
    measured = f"{_count(len(found.problems), 'problem')} in {_count(found.requests, 'request')}"
    return Check(id=ID, status=status, measured=measured, limit=_LIMIT, message="; ".join(told), hint=hint)


def _left_out(found: ApiConformance) -> str:
    left = found.operations - found.chosen
    return f"; {left} that may change something {'was' if left == 1 else 'were'} left out" if left > 0 else ""


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' if number != 1 else ''}"


def _skipped(why: str) -> Check:
    return Check(id=ID, status="skipped", measured="–", limit="", message=why)
