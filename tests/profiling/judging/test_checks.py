"""Points of the checklist that a live service seldom shows: what is not known is no pass, what is known is told."""

from __future__ import annotations

import signal

import msgspec
import numpy as np
import pytest

from loadtests.plan import RequestTemplate
from loadtests.requestlog import RequestOutcome
from profiling.judgements import Check
from profiling.judging.checklist import judge_checks
from profiling.judging.checks import check
from profiling.units import MIB
from profiling.values import Budget, Limits, Outcome, Phase, Probe, RunResult
from tests.profiling.judging.build import (
    END_S,
    LOAD_S,
    READY_S,
    Records,
    at,
    judged,
    requests,
    result,
    samples,
    spread,
    stored,
)


def startup_memory(what: RunResult, memory: Records) -> Check:
    checks = check(judged(what, memory), stored(what, memory), Budget())
    return next(point for point in checks if point.id == "startup-memory")


def test_a_start_that_is_over_before_the_first_sample_is_judged_by_it() -> None:
    late = samples(t_s=np.arange(READY_S + 0.01, END_S, 0.01))
    late["unreclaimable"][1:] = 200 * MIB
    point = startup_memory(result(), late)
    assert (point.status, point.measured) == ("pass", "100 MiB")


def test_a_lost_kill_counter_is_no_word_that_there_was_no_kill() -> None:
    what = result(
        outcome=Outcome.CRASHED,
        ready_ns=None,
        load_start_ns=None,
        load_end_ns=None,
        exit_status=-signal.SIGKILL,
        kills_certain=False,
        sandbox="docker",
    )
    assert startup_memory(what, samples()).status == "inconclusive"


def test_a_run_that_was_broken_off_while_it_started_is_judged_by_nothing() -> None:
    what = result(outcome=Outcome.INTERRUPTED, ready_ns=None, load_start_ns=None, load_end_ns=None, listening_ns=None)
    run = judged(what, samples())
    checks = check(run, stored(what, samples()), Budget())
    assert not [point.id for point in checks if point.status == "fail"]
    assert judge_checks(run, checks).status == "inconclusive"


def points(what: RunResult, memory: Records | None = None, load: Records | None = None) -> dict[str, Check]:
    run = stored(what, memory, load)
    return {point.id: point for point in check(judged(what, memory, load), run, Budget())}


def test_a_service_that_ended_under_load_leaves_unsaid_what_comes_later_and_says_why() -> None:
    gone = result(
        outcome=Outcome.CRASHED,
        exit_status=-signal.SIGABRT,
        stop_reason="ended by signal 6 (SIGABRT) under load",
        load_end_ns=at(LOAD_S + 3),
        clean_end=None,
        phases=(
            Phase(name="load", start_ns=at(LOAD_S), end_ns=at(LOAD_S + 3)),
            Phase(name="settle", start_ns=at(LOAD_S + 3), end_ns=at(LOAD_S + 3)),
        ),
    )
    found = points(gone)
    assert {key for key, point in found.items() if point.status == "skipped"} >= {
        "bad-input",
        "growth",
        "plateau",
        "end",
    }
    assert found["bad-input"].message == found["plateau"].message == "cannot be said: it had ended by then"
    assert "200 answers in 3 s" in found["growth"].message
    assert "a limit of its own" in found["alive"].hint


def test_a_request_that_is_not_probed_is_told_from_a_service_that_could_not_be() -> None:
    target = result().target
    asked = msgspec.structs.replace(target, request=RequestTemplate(method="GET", json=None))
    assert "only POST" in points(result(target=asked))["bad-input"].message


@pytest.mark.parametrize(
    ("accepted", "hint"),
    [(('without "count"',), "leave a field"), (('without "count"', "a list"), "check the body before")],
)
def test_a_field_that_may_be_missing_is_no_bad_input(accepted: tuple[str, ...], hint: str) -> None:
    names = ("not JSON", "a list", 'without "count"')
    probes = tuple(Probe(name=name, status=200 if name in accepted else 422, elapsed_ms=1.0) for name in names)
    point = points(result(probes=probes))["bad-input"]
    assert point.status == "warn"
    assert hint in point.hint


@pytest.mark.parametrize(("second", "words"), [(1, "while it started"), (10, "at the peak"), (23.5, "while it ended")])
def test_a_peak_that_was_not_under_load_is_told_with_its_time(second: float, words: str) -> None:
    memory = samples()
    memory["unreclaimable"][memory["t_ns"] >= at(second)] = 100 * MIB
    memory["unreclaimable"][np.searchsorted(memory["t_ns"], at(second))] = 120 * MIB
    assert points(result(), memory)["headroom"].message.endswith(words)
    close = points(result(limits=Limits(memory_bytes=128 * MIB)), memory)["headroom"]
    assert (close.status, words in close.message) == ("warn", words != "at the peak")


@pytest.mark.parametrize(
    ("status", "hint"), [(404, "nothing takes POST /chat there"), (405, "nothing takes"), (400, "compare one answer")]
)
def test_a_path_that_nothing_answers_is_no_proof_that_bad_input_is_refused(status: int, hint: str) -> None:
    probes = (Probe(name="not JSON", status=status, elapsed_ms=1.0),)
    wrong = requests(spread(300), outcome=RequestOutcome.UNEXPECTED_STATUS, status=status)
    found = points(result(probes=probes), load=wrong)
    assert found["contract"].status == "fail"
    assert found["contract"].hint.startswith(hint)
    assert (found["bad-input"].status, found["bad-input"].measured) == ("skipped", "–")


def test_growth_of_what_was_never_ready_cannot_be_said() -> None:
    never = result(outcome=Outcome.NEVER_READY, ready_ns=None, load_start_ns=None, load_end_ns=None, clean_end=None)
    assert (
        points(never)["growth"].message == points(never)["bad-input"].message == "cannot be said: it never became ready"
    )
