"""The words for how a run ended."""

from __future__ import annotations

from msgspec.structs import replace

from profiling.judgements import Finding
from profiling.judging.findings import STUCK_AT_LIMIT
from profiling.values import Outcome
from reports.words import BAD, GOOD, UNSURE, outcome_sign
from tests.reports.factory import singleton


def test_a_run_that_ended_well_is_shown_as_good() -> None:
    assert (outcome_sign(singleton().summary).word, outcome_sign(singleton().summary).tone) == ("completed", GOOD)


def test_a_run_that_ran_to_its_end_and_failed_is_not() -> None:
    failing = replace(singleton().summary, findings=(Finding(id="growth", level="fail", message="it leaks"),))
    assert (outcome_sign(failing).word, outcome_sign(failing).tone) == ("completed, but failing", BAD)


def test_a_run_that_hung_at_the_limit_says_so() -> None:
    hung = replace(singleton().summary, findings=(Finding(id=STUCK_AT_LIMIT, level="fail", message="stuck"),))
    assert outcome_sign(hung).word == "hung at the limit"


def test_a_run_that_was_ended_because_its_failure_was_certain_says_so() -> None:
    failures = (Finding(id="failures", level="fail", message="3 of 9 requests failed"),)
    early = replace(singleton().summary, outcome=Outcome.STOPPED_EARLY)
    assert (outcome_sign(early).word, outcome_sign(early).tone) == ("stopped early", UNSURE)
    certain = replace(early, findings=failures)
    assert (outcome_sign(certain).word, outcome_sign(certain).tone) == ("failing, stopped early", BAD)
