"""What a run found out about the OpenAPI document, judged by value."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from profiling.judgements import Check
from profiling.judging.checks import check
from profiling.judging.conformance import openapi_check
from profiling.values import ApiConformance, ApiDocument, ApiProblem, Budget, Outcome
from tests.profiling.judging import build

USUAL = ApiDocument()
NAMED = ApiDocument(place="/api.json", named=True)


def judged(document: ApiDocument | None = USUAL, **found: Any) -> Check:
    """The check of a run that found `found`; without any, of one that found nothing out."""
    result = build.result()
    fields: dict[str, Any] = {"place": document.place if document else "", "state": "checked"}
    conformance = ApiConformance(**fields | found) if found else None
    run = build.judged(replace(result, target=replace(result.target, openapi=document), openapi=conformance))
    return openapi_check(run)


def problem(kind: str, operation: str = "GET /a", count: int = 1) -> ApiProblem:
    return ApiProblem(operation=operation, kind=kind, count=count, status=None, example=f"{kind} it was")


def test_it_stands_between_the_contract_and_bad_input() -> None:
    run = build.judged()
    ids = [each.id for each in check(run, build.stored(), Budget())]
    assert ids[ids.index("openapi") - 1 : ids.index("openapi") + 2] == ["contract", "openapi", "bad-input"]


@pytest.mark.parametrize(
    ("state", "named", "status"),
    [
        ("absent", False, "skipped"), ("absent", True, "fail"),
        ("unusable", False, "warn"), ("unusable", True, "fail"),
        ("not-installed", False, "skipped"), ("not-installed", True, "warn"),
        ("broken-off", False, "warn"), ("broken-off", True, "inconclusive"),
    ],
)  # fmt: skip
def test_without_a_document_that_was_checked_to_its_end(state: str, named: bool, status: str) -> None:
    found = judged(NAMED if named else USUAL, state=state, reason="so it is", operations=3, chosen=2)
    assert found.status == status
    assert "so it is" in found.message
    if state == "not-installed":
        assert found.hint == "pip install oomproof[openapi]"


@pytest.mark.parametrize(
    ("kind", "named", "ready_after", "status"),
    [
        ("server-error", False, True, "fail"), ("schema", False, True, "fail"),
        ("status", True, True, "warn"), ("content-type", True, True, "warn"),
        ("no-answer", True, True, "warn"), ("no-answer", False, False, "fail"),
        ("document", False, True, "warn"), ("document", True, True, "fail"),
    ],
)  # fmt: skip
def test_each_kind_of_problem_has_its_weight(kind: str, named: bool, ready_after: bool, status: str) -> None:
    found = judged(
        NAMED if named else USUAL, operations=1, chosen=1, asked=1, requests=4, problems=(problem(kind),),
        ready_after=ready_after,
    )  # fmt: skip
    assert found.status == status
    assert f"GET /a: {kind} it was" in found.message
    assert (found.measured, found.limit) == ("1 problem in 4 requests", "as documented")
    assert found.hint


def test_the_worst_is_told_first_and_the_rest_is_counted() -> None:
    problems = (
        problem("status"),
        problem("schema", "GET /b"),
        problem("server-error", "GET /c"),
        problem("document", ""),
    )
    found = judged(operations=3, chosen=3, asked=3, requests=30, problems=problems)
    assert found.message == "GET /c: server-error it was; GET /b: schema it was; and 2 more"
    warned = judged(operations=3, chosen=3, asked=3, requests=30, problems=problems[:1] + problems[3:])
    assert (warned.status, warned.message) == ("warn", "/openapi.json: document it was; GET /a: status it was")


def test_what_was_found_before_the_checker_broke_off_counts() -> None:
    found = judged(NAMED, state="broken-off", reason="killed", chosen=5, asked=1, problems=(problem("server-error"),))
    assert found.status == "fail"


def test_a_service_that_does_not_answer_afterwards_fails_without_a_problem() -> None:
    found = judged(operations=1, chosen=1, asked=1, requests=1, ready_after=False)
    assert (found.status, found.hint) == ("fail", "the service's own output is in service.log")


def test_what_was_not_asked_is_no_pass() -> None:
    assert judged(operations=9, chosen=9, asked=4, requests=4).status == "warn"
    assert judged(operations=9, chosen=9, asked=0).status == "warn"
    assert judged(NAMED, operations=9, chosen=9, asked=0).status == "inconclusive"
    assert judged(operations=2, chosen=0).status == "skipped"
    named = judged(NAMED, operations=2, chosen=0)
    assert (named.status, "2 that may change something were left out" in named.message) == ("warn", True)


def test_a_pass_tells_what_it_rests_on() -> None:
    found = judged(operations=3, chosen=2, asked=2, requests=1234)
    assert (found.status, found.measured) == ("pass", "2 operations, 1,234 requests")
    assert found.message == (
        "2 operations answer 1,234 requests as /openapi.json says; 1 that may change something was left out"
    )


def test_switched_off_not_asked_and_ended_before() -> None:
    assert (judged(None).status, "switched off" in judged(None).message) == ("skipped", True)
    assert (judged().status, judged().message) == ("skipped", "it was not asked")  # a run of an earlier version
    crashed = openapi_check(build.judged(build.result(outcome=Outcome.CRASHED)))
    assert (crashed.status, "it had ended" in crashed.message) == ("skipped", True)


def test_bad_input_is_not_sent_to_a_service_that_hangs_already() -> None:
    found = ApiConformance(place="/openapi.json", state="checked", ready_after=False)
    checks = {each.id: each for each in check(build.judged(build.result(openapi=found)), build.stored(), Budget())}
    assert checks["bad-input"].status == "skipped"
    assert "not ready any more" in checks["bad-input"].message
