"""What a run says of its load: what it failed by, whether a rate was kept, whose fault a late answer is."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loadtests.plan import LoadPlan
from loadtests.requestlog import RequestOutcome
from profiling.capacities import By, LimitedBy, LoadTrial
from profiling.judging import offered
from profiling.judging.load_trials import judge_trial
from profiling.units import MIB
from profiling.values import Budget, Outcome, RunResult
from tests.profiling.judging import build
from tests.profiling.judging.build import Records

BUSY = "the load generator used 97% of a core: it, not the service, may be the bottleneck"


def trial(
    what: RunResult | None = None,
    memory: Records | None = None,
    load: Records | None = None,
    budget: Budget | None = None,
    by: By = By.USERS,
) -> LoadTrial:
    run = build.stored(what, memory, load)
    return judge_trial(build.judged(what, memory, load, budget), run, budget or Budget(), by)


def said(found: LoadTrial) -> tuple[str, LimitedBy | None]:
    return found.status, found.limited_by


def open_loop(rate: float, users: int = 100, **changes: object) -> RunResult:
    return build.result(load=LoadPlan.constant(users, 20.0, rate=rate), **changes)


def served(rate: float, capacity: float) -> Records:
    """What an open loop of 20 s logs of a service that answers `capacity` requests per second, one after the other."""
    due = np.arange(int(rate * 20)) / rate
    over = np.maximum.accumulate(due + 0.02)
    for number in range(1, len(over)):
        over[number] = max(over[number], over[number - 1] + 1 / capacity)
    rows = build.requests(build.LOAD_S + over, latency_ms=1000 * (over - due))
    rows["sent_ns"] = rows["intended_ns"]
    return rows


def test_a_run_that_answers_everything_holds() -> None:
    found = trial()
    assert (*said(found), found.why, found.load) == ("pass", None, "", 8.0)
    assert found.load_peak_bytes == 100 * MIB


def test_a_kill_is_memory_whatever_else_failed() -> None:
    killed = build.result(outcome=Outcome.OOM_KILLED, oom_kills=2, kernel_peak_charged_bytes=build.LIMIT)
    assert said(trial(killed, load=build.failures(9))) == ("fail", LimitedBy.OOM)


def test_a_kill_by_the_machines_own_lack_of_memory_says_nothing() -> None:
    killed = build.result(outcome=Outcome.OOM_KILLED, oom_kills=1, kernel_peak_charged_bytes=build.LIMIT // 2)
    found = trial(killed)
    assert said(found) == ("inconclusive", None)
    assert "never near the limit" in found.why


@pytest.mark.parametrize("budget", [Budget(max_peak_bytes=90 * MIB), Budget(min_headroom=0.9)])
def test_a_budget_of_memory_is_memory(budget: Budget) -> None:
    assert said(trial(budget=budget)) == ("fail", LimitedBy.OOM)


def test_failed_requests_are_errors_and_so_is_a_crash() -> None:
    assert said(trial(load=np.concatenate([build.answers(90), build.failures(10)]))) == ("fail", LimitedBy.ERRORS)
    assert said(trial(build.result(outcome=Outcome.CRASHED, stop_reason="exit status 3"))) == ("fail", LimitedBy.ERRORS)
    spared = Budget(max_failures=0.2)
    assert said(trial(load=np.concatenate([build.answers(90), build.failures(10)]), budget=spared)) == ("pass", None)


def test_a_p95_over_the_budget_is_latency() -> None:
    found = trial(budget=Budget(max_p95_ms=40.0))
    assert said(found) == ("fail", LimitedBy.LATENCY)
    assert "over the budget of 40 ms" in found.why


def test_growth_fails_no_load() -> None:
    memory = build.samples()
    memory["unreclaimable"] += np.arange(len(memory)) * 64 * 1024
    load = build.requests(build.spread(1200))
    assert any(finding.id == "growth" and finding.level == "fail" for finding in trial(None, memory, load).findings)
    assert said(trial(None, memory, load)) == ("pass", None)


@pytest.mark.parametrize("load", [build.answers(0), build.answers(200)])
def test_a_busy_generator_says_nothing_of_a_service_that_did_not_fail(load: Records) -> None:
    found = trial(build.result(load_problem=BUSY), load=load)
    assert (*said(found), found.why) == ("inconclusive", LimitedBy.LOAD_GENERATOR, BUSY)


def test_a_busy_generator_is_to_blame_for_late_answers_but_not_for_a_kill() -> None:
    late = Budget(max_p95_ms=40.0)
    assert said(trial(build.result(load_problem=BUSY), budget=late)) == ("inconclusive", LimitedBy.LOAD_GENERATOR)
    killed = build.result(load_problem=BUSY, outcome=Outcome.OOM_KILLED, oom_kills=1)
    assert said(trial(killed, budget=late)) == ("fail", LimitedBy.OOM)


def test_nothing_sent_nothing_sampled_and_interrupted_say_nothing() -> None:
    assert said(trial(load=build.answers(0))) == ("inconclusive", None)
    assert said(trial(memory=build.samples()[:0])) == ("inconclusive", None)
    assert said(trial(build.result(outcome=Outcome.INTERRUPTED))) == ("inconclusive", None)


@pytest.mark.parametrize(("rate", "status"), [(10, "pass"), (19, "pass"), (22, "fail"), (40, "fail")])
def test_a_rate_is_kept_or_more_and_more_waits(rate: float, status: str) -> None:
    found = trial(open_loop(rate, users=1000), load=served(rate, 20), by=By.RATE)
    assert (found.status, found.load) == (status, rate)
    assert found.throughput is not None
    assert found.throughput == pytest.approx(min(rate, 20), rel=0.02)
    assert status == "pass" or (found.limited_by is LimitedBy.LATENCY and "the rate is not kept" in found.why)


def test_requests_that_nobody_was_free_to_send_count_as_waiting() -> None:
    never = build.requests(
        build.spread(200, build.LOAD_S + 1), latency_ms=0.0, outcome=RequestOutcome.NOT_SENT, status=0
    )
    never["finished_ns"] = build.at(build.LOAD_END_S)
    load = np.concatenate([build.answers(20), never])
    load["sent_ns"][:20] = build.at(3)
    load["finished_ns"][:20] = build.at(21)
    found = trial(open_loop(11, users=20), load=load, by=By.RATE)
    assert (*said(found), found.unsent, found.in_flight) == ("fail", LimitedBy.LATENCY, 200, 20)


def test_what_was_sent_late_although_somebody_was_free_is_the_generators_fault() -> None:
    late = build.requests(build.spread(200), latency_ms=500.0, sent_late_ms=480.0)
    found = trial(open_loop(10), load=late, budget=Budget(max_p95_ms=100.0), by=By.RATE)
    assert said(found) == ("inconclusive", LimitedBy.LOAD_GENERATOR)
    assert "although users were free" in found.why
    few = trial(open_loop(10, users=1), load=late, budget=Budget(max_p95_ms=100.0), by=By.RATE)
    assert said(few) == ("fail", LimitedBy.LATENCY)


def test_percentiles_are_exact_and_only_those_that_the_answers_can_tell() -> None:
    load = build.requests(build.spread(1000), latency_ms=np.arange(1000, dtype=float) + 1)
    found = {each.share: each.ms for each in offered.percentiles(load)}
    assert list(found) == [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0]
    assert found[0.5] == pytest.approx(500.5, abs=1e-3)
    assert found[1.0] == pytest.approx(1000, abs=1e-3)
    assert [each.share for each in offered.percentiles(build.answers(10))] == [0.5, 0.75, 0.9, 1.0]
    assert offered.percentiles(build.failures(5)) == ()


def test_in_flight_is_counted_at_one_moment() -> None:
    load = build.requests([5.0, 5.0, 5.0, 9.0], latency_ms=[1000, 500, 10, 3999])
    assert offered.most_in_flight(load) == 3
    assert offered.most_in_flight(load[:0]) is None


def test_a_trial_is_a_run_with_its_load() -> None:
    found = trial()
    as_run = {key: getattr(found, key) for key in type(found).__base__.__struct_fields__}  # type: ignore[union-attr]
    assert as_run == msgspec.structs.asdict(build.judged().summary)
