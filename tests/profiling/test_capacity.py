"""The policy of `capacity` and its answer, with services that are a formula in place of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.capacities import By, CapacityJudgement, CapacityRecord, LimitedBy, LoadTrial, TrialPlace
from profiling.experiments.capacity import RATE_STEP, LoadStep, load_of, policy_of
from profiling.experiments.capacity_verdict import judge, shown
from profiling.experiments.policy import Step, carry_out
from profiling.judgements import Summary
from profiling.units import MIB
from profiling.values import Budget, Outcome
from tests.profiling.judging import build

LIMIT = 512 * MIB
Service = Callable[[float, int], LoadTrial]
"""(load, how often it was tried before) -> what a run of it says."""


def trial(load: float, **changes: Any) -> LoadTrial:
    """A run that holds: 50 MiB and 8 for each user, 10 requests/s for each; and changes."""
    figures = build.summary()
    fields: dict[str, Any] = {key: getattr(figures, key) for key in Summary.__struct_fields__}
    peak = round((50 + 8 * load) * MIB)
    fields |= {"memory_limit_bytes": LIMIT, "peak_unreclaimable_bytes": peak, "throughput": 10.0 * load}
    fields |= {"load": load, "status": "pass", "limited_by": None, "why": "", "in_flight": round(load), "unsent": 0}
    fields |= {"load_peak_bytes": peak, "startup_peak_bytes": 60 * MIB, "latencies": ()}
    return LoadTrial(**fields | changes)


def killed(load: float) -> LoadTrial:
    changes = {"oom_kills": 1, "outcome": Outcome.OOM_KILLED, "load_peak_bytes": LIMIT, "throughput": 0.0}
    return trial(load, status="fail", limited_by=LimitedBy.OOM, why="OOM-killed once", **changes)


def late(load: float) -> LoadTrial:
    why = "p95 is 900 ms, over the budget of 500 ms"
    return trial(load, status="fail", limited_by=LimitedBy.LATENCY, why=why, outcome=Outcome.STOPPED_EARLY)


def slow_generator(load: float) -> LoadTrial:
    return trial(load, status="inconclusive", limited_by=LimitedBy.LOAD_GENERATOR, why="97% of a core")


def holding(most: float, beyond: Callable[[float], LoadTrial] = killed) -> Service:
    return lambda load, _: trial(load) if load <= most else beyond(load)


def searched(
    service: Service, *, most_trials: int | None = None, **changes: Any
) -> tuple[CapacityRecord, CapacityJudgement]:
    """What a search runs and says where `service` stands for the kernel; broken off after `most_trials`."""
    fields: dict[str, Any] = {"by": By.USERS, "step": 1.0, "start": 1, "lowest": 1, "highest": 256, "max_trials": 20}
    record = CapacityRecord(**fields | changes)
    tried: list[tuple[int, LoadTrial]] = []

    class BrokenOffError(Exception):
        pass

    def make(step: Step) -> LoadTrial:
        assert isinstance(step, LoadStep)
        if len(tried) == most_trials:
            raise BrokenOffError
        before = sum(steps == step.steps for steps, _ in tried)
        assert step.repeat == before + 1
        tried.append((step.steps, service(load_of(record, step.steps), before)))
        return tried[-1][1]

    try:
        carry_out(policy_of(record), make)
    except BrokenOffError:
        assert most_trials is not None
    places = tuple(TrialPlace(steps=steps, directory=f"{n}-{steps}") for n, (steps, _) in enumerate(tried, 1))
    record = CapacityRecord(**fields | changes | {"trials": places})
    return record, judge(record, tried, Budget())


def loads(judgement: CapacityJudgement) -> list[float]:
    return [trial.load for trial in judgement.trials]


def test_it_doubles_narrows_and_tries_both_ends_twice() -> None:
    record, found = searched(holding(24))
    assert loads(found)[:6] == [1, 2, 4, 8, 16, 32]
    assert (found.status, found.holds, found.first_failing, found.limited_by) == ("pass", 24, 26, LimitedBy.OOM)
    assert found.sentence == "Holds 24 users at 512 MiB; at 26 users it is OOM-killed (2 of 2)."
    assert loads(found).count(24) == loads(found).count(26) == 2
    assert len(shown(record, found)) == 2


@settings(max_examples=60)
@given(st.integers(1, 255), st.integers(1, 256))
def test_the_border_is_found_from_wherever_it_starts(most: int, start: int) -> None:
    _, found = searched(holding(most), start=start, max_trials=40)
    assert found.status == "pass"
    assert found.holds is not None
    assert found.first_failing is not None
    assert found.holds <= most < found.first_failing
    assert found.first_failing - found.holds <= max(1, found.holds // 10)
    assert len(loads(found)) <= 28


def test_a_service_that_never_fails_holds_at_least_the_most() -> None:
    _, found = searched(holding(1000), highest=100)
    assert (found.status, found.holds, found.first_failing, found.limited_by) == ("pass", 100, None, None)
    assert found.sentence == "Holds at least 100 users at 512 MiB: nothing failed up to the most that was asked for."
    assert loads(found) == [1, 2, 4, 8, 16, 32, 64, 100, 100]


def test_where_even_the_smallest_load_fails_it_does_not_hold() -> None:
    _, found = searched(holding(0), start=8)
    assert (found.status, found.holds, found.first_failing) == ("fail", None, 1)
    assert found.sentence == "Does not hold even 1 user at 512 MiB: it is OOM-killed (2 of 2)."


def test_a_generator_that_is_too_slow_ends_it_without_an_answer() -> None:
    _, found = searched(holding(16, slow_generator))
    assert (found.status, found.holds, found.limited_by) == ("inconclusive", 16, LimitedBy.LOAD_GENERATOR)
    assert loads(found)[:7] == [1, 2, 4, 8, 16, 32, 32]
    assert "Holds at least 16 users" in found.sentence
    assert "32 users the load generator was the bottleneck" in found.sentence
    _, at_once = searched(holding(0, slow_generator))
    assert (at_once.status, at_once.holds) == ("inconclusive", None)


def test_a_generator_that_was_slow_once_is_tried_again() -> None:
    _, found = searched(lambda load, n: slow_generator(load) if (load, n) == (8, 0) else holding(20)(load, n))
    assert (found.status, found.holds) == ("pass", 20)


def test_latency_and_errors_are_told_as_what_they_are() -> None:
    _, found = searched(holding(6, late))
    assert found.sentence.endswith("at 7 users p95 is 900 ms, over the budget of 500 ms (2 of 2).")
    failing = {"requests": 400, "failures": 23, "status": "fail", "limited_by": LimitedBy.ERRORS, "why": "23 failed"}
    _, found = searched(holding(6, lambda load: trial(load, **failing)))
    assert found.sentence.endswith("at 7 users 23 of 400 requests fail (2 of 2).")


def test_what_is_ended_early_says_what_it_knows() -> None:
    for made in (1, 4, 6):
        _, found = searched(holding(24), most_trials=made)
        assert (found.status, found.limited_by) == ("inconclusive", None)
        assert "ended early" in found.sentence
    _, found = searched(holding(24), most_trials=0)
    assert (found.status, found.holds) == ("inconclusive", None)


def test_too_few_trials_are_said() -> None:
    _, found = searched(holding(200), max_trials=9)
    assert found.status == "inconclusive"
    _, found = searched(holding(20), max_trials=8)
    assert found.status == "pass"
    assert (found.holds, found.first_failing) == (16, 32)
    assert any("not narrowed further" in note for note in found.notes)


def test_a_border_that_is_not_sharp_is_said() -> None:
    def unsteady(load: float, before: int) -> LoadTrial:
        return killed(load) if load > 24 or (load >= 20 and before % 2) else trial(load)

    _, found = searched(unsteady, max_trials=40)
    assert found.holds is not None
    assert found.holds < 20
    assert any("the border is not sharp" in note for note in found.notes)


def test_rates_go_in_tenths() -> None:
    record, found = searched(holding(2.3, late), by=By.RATE, step=RATE_STEP, start=10, highest=10_000)
    assert (found.holds, found.first_failing) == (2.3, 2.5)
    assert found.sentence.startswith("Holds 2.3 requests/s at 512 MiB; at 2.5 requests/s ")
    assert load_of(record, 7) == 0.7


def test_few_loads_get_more_of_them_for_the_line() -> None:
    _, found = searched(holding(8), start=8)
    assert found.holds == 8
    assert len({trial.load for trial in found.trials if trial.status == "pass"}) >= 4
    assert found.memory is not None


def test_the_line_is_that_of_the_trials_that_were_not_killed() -> None:
    _, found = searched(holding(24))
    assert found.memory is not None
    assert found.memory.per == "user"
    assert found.memory.low <= 8 * MIB <= found.memory.high
    assert found.memory.bytes_per == pytest.approx(8 * MIB, rel=1e-6)
    ten, hundred = found.memory.forecasts
    assert (ten.load, hundred.load) == (240, 2400)
    assert ten.bytes == pytest.approx((50 + 8 * 240) * MIB, rel=1e-6)
    assert hundred.limit_bytes >= hundred.bytes
    assert found.memory_in_flight is None


def test_memory_that_does_not_go_in_a_line_foretells_nothing() -> None:
    def pooled(load: float, _: int) -> LoadTrial:
        return trial(load, load_peak_bytes=round((50 + 8 * min(load, 16)) * MIB))

    _, found = searched(pooled, highest=128)
    assert found.memory is not None
    assert (found.memory.is_straight, found.memory.forecasts) == (False, ())


def test_a_forecast_asks_for_no_less_than_the_start_needs() -> None:
    _, found = searched(lambda load, _: trial(load, load_peak_bytes=20 * MIB, startup_peak_bytes=300 * MIB), highest=16)
    assert found.memory is not None
    assert [each.limit_bytes for each in found.memory.forecasts] == [300 * MIB] * 2


@settings(max_examples=30)
@given(st.integers(2, 40), st.floats(0.0, 0.03), st.integers(0, 1000))
def test_the_knee_is_where_throughput_ends(knee: int, noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def saturating(load: float, _: int) -> LoadTrial:
        return trial(
            load, throughput=10 * min(load, knee) * (1 + rng.uniform(-noise, noise)), p95_ms=1000 * load / knee
        )

    _, found = searched(saturating, highest=256)
    assert found.saturation is not None
    assert found.saturation.users == pytest.approx(knee, rel=0.1)
    assert found.saturation.rps == pytest.approx(10 * knee, rel=0.05)
    assert any("more users only wait longer" in note for note in found.notes)


def test_where_throughput_still_grows_there_is_no_knee() -> None:
    _, found = searched(holding(24))
    assert found.saturation is None
    _, found = searched(lambda load, _: trial(load, throughput=10 * load**0.7), highest=64)
    assert found.saturation is None


def test_an_open_loop_has_a_line_over_what_is_in_flight_and_no_knee() -> None:
    _, found = searched(holding(60), by=By.RATE, step=RATE_STEP, start=10, highest=1000)
    assert found.saturation is None
    assert found.memory is not None
    assert found.memory_in_flight is not None
    assert (found.memory.per, found.memory_in_flight.per) == ("request per second", "request in flight")
