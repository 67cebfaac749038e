"""What one run says of its limit: a kill, thrashing and what is neither are told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from profiling.judging.limits import tried
from profiling.sizing import Ending, Tried
from profiling.units import MIB
from profiling.values import Budget, Outcome
from tests.profiling.judging import build


def of(what: Any = None, memory: Any = None, load: Any = None, budget: Budget | None = None) -> Tried:
    run = build.stored(what, memory, load)
    return tried(build.judged(what, memory, load, budget), run)


def full(**columns: Any) -> Any:
    """Samples of a run that used up its limit, most of it page cache."""
    return build.samples(charged=build.LIMIT, **columns)


def reading_again(size: int) -> Any:
    """So many bytes are read again, evenly over the run."""
    return np.linspace(0, size // 4096, len(build.samples())).astype(np.int64)


def test_a_run_that_holds_passed() -> None:
    found = of(memory=full())
    assert (found.ending, found.reason, found.at_limit, found.before_ready) == (Ending.PASSED, "", True, False)
    assert (found.limit_bytes, found.peak_bytes) == (build.LIMIT, 100 * MIB)
    assert not of().at_limit


def test_a_kill_is_a_kill_whatever_else_failed() -> None:
    memory = full(unreclaimable=build.LIMIT, oom_kills=1, refault_file=reading_again(4 * build.LIMIT))
    killed = build.result(outcome=Outcome.OOM_KILLED, oom_kills=1)
    found = of(killed, memory, build.failures(200))
    assert (found.ending, found.oom_kills) == (Ending.KILLED, 1)
    assert found.reason.startswith("OOM-killed once at the limit of 512 MiB")


def test_a_kill_by_the_machines_own_lack_of_memory_says_nothing_of_the_limit() -> None:
    elsewhere = build.result(outcome=Outcome.OOM_KILLED, oom_kills=1, kernel_peak_charged_bytes=100 * MIB)
    found = of(elsewhere, build.samples(oom_kills=1))
    assert found.ending is Ending.UNUSABLE
    assert "never near the limit" in found.reason


@pytest.mark.parametrize(
    ("outcome", "load", "budget", "without"),
    [
        (Outcome.COMPLETED, build.failures(200), Budget(), Ending.FAILURES),
        (Outcome.STOPPED_EARLY, build.failures(3), Budget(), Ending.FAILURES),
        (Outcome.COMPLETED, build.answers(200), Budget(max_p95_ms=20.0), Ending.SLOW),
        (Outcome.NEVER_READY, build.answers(0), Budget(), Ending.NEVER_READY),
    ],
)
def test_what_fails_while_it_reads_its_own_code_again_and_again_thrashes(
    outcome: Outcome, load: Any, budget: Budget, without: Ending
) -> None:
    what = build.result(
        outcome=outcome, stop_reason="so", ready_ns=None if outcome is Outcome.NEVER_READY else build.at(2)
    )
    assert of(what, full(), load, budget).ending is without
    assert of(what, full(refault_file=reading_again(build.LIMIT // 2)), load, budget).ending is without
    thrashing = of(what, full(refault_file=reading_again(2 * build.LIMIT)), load, budget)
    assert thrashing.ending is Ending.THRASHES
    assert "it read 1 GiB of its own code and files again" in thrashing.reason
    elsewhere = of(what, build.samples(refault_file=reading_again(2 * build.LIMIT)), load, budget)
    assert elsewhere.ending is without, "what never used up its limit was not kept from anything by it"


def test_reading_again_within_the_budget_passes_and_is_told() -> None:
    found = of(memory=full(refault_file=reading_again(2 * build.LIMIT)))
    assert found.ending is Ending.PASSED
    assert found.read_again_bytes == pytest.approx(2 * build.LIMIT, rel=0.01)


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (Outcome.CRASHED, Ending.CRASHED),
        (Outcome.NEVER_READY, Ending.NEVER_READY),
        (Outcome.TIMED_OUT, Ending.TIMED_OUT),
        (Outcome.INTERRUPTED, Ending.UNUSABLE),
    ],
)
def test_every_end_has_a_name(outcome: Outcome, ending: Ending) -> None:
    assert of(build.result(outcome=outcome, stop_reason="so")).ending is ending


def test_a_run_whose_load_is_not_to_be_trusted_says_nothing() -> None:
    found = of(build.result(load_problem="the load generator was too slow"))
    assert (found.ending, found.reason) == (Ending.UNUSABLE, "the load generator was too slow")


def test_headroom_counts_only_where_the_budget_names_it() -> None:
    tight = build.samples(unreclaimable=500 * MIB)
    assert of(memory=tight).ending is Ending.PASSED
    assert of(memory=tight, budget=Budget(min_headroom=0.1)).ending is Ending.HEADROOM
