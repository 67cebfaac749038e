"""Points of the checklist that a live service seldom shows: what is not known is no pass, what is known is told."""

from __future__ import annotations

import signal

import numpy as np

from profiling.judging.checks import check, judge_checks
from profiling.units import MIB
from profiling.values import Budget, Check, Outcome, RunResult
from tests.profiling.judging.build import END_S, READY_S, Records, judged, result, samples, stored


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
