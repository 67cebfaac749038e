"""The policy of `size` and its verdict, with a service out of thin air in place of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.experiments.policy import Step, carry_out
from profiling.experiments.size import MAX_RUNS, Size, SizeStep, narrow_bytes
from profiling.experiments.size_record import catalogued
from profiling.experiments.size_verdict import judge, shown
from profiling.judging.plans import fitting_plans
from profiling.manifests import catalogue
from profiling.manifests.catalogue import Plan
from profiling.sizing import Catalogued, Ending, SizeJudgement, SizeRecord, SizeVerdict, Tried
from profiling.units import MIB

Service = Callable[[int], Tried]
"""What a run under a limit of so many MiB shows."""


def run(limit: float, ending: Ending = Ending.PASSED, **more: Any) -> Tried:
    reason = "" if ending is Ending.PASSED else f"it was {ending.value}"
    return Tried(**{"limit_bytes": round(limit * MIB), "ending": ending, "reason": reason, **more})


def needing(need: float, *, peak: float | None = None, under: Ending = Ending.KILLED) -> Service:
    """A service that passes from `need` MiB on with a peak of `peak`, and ends in `under` below."""

    def under_limit(limit: int) -> Tried:
        if limit < need:
            return run(limit, under, at_limit=True, oom_kills=int(under is Ending.KILLED))
        return run(limit, peak_bytes=round((need if peak is None else peak) * MIB), p95_ms=50.0)

    return under_limit


def asked(start: float = 512, highest: float = 4096, **more: Any) -> SizeRecord:
    fields = {
        "start_bytes": round(start * MIB),
        "given": True,
        "highest_bytes": round(highest * MIB),
        "headroom": 0.1,
        "cpus": None,
        "cpu_count": 2,
        "catalogue": catalogued(catalogue.load()),
    }
    return SizeRecord(**fields | more)  # type: ignore[arg-type]


def sized(
    service: Service, record: SizeRecord | None = None, min_headroom: float | None = None
) -> tuple[list[int], SizeJudgement]:
    """The limits that are tried, in MiB, and what is said of them."""
    size = Size(record or asked(), "shop", min_headroom)

    def make(step: Step) -> Tried:
        assert isinstance(step, SizeStep)
        return service(step.limit_bytes // MIB)

    done = carry_out(size, make)
    runs = [tried for _, tried in done]
    assert len(runs) <= MAX_RUNS
    return [tried.limit_bytes // MIB for tried in runs], judge(size, runs)


def mib(size: int | None) -> int | None:
    return None if size is None else size // MIB


def test_a_need_that_is_the_peak_takes_five_runs() -> None:
    limits, found = sized(needing(274))
    assert limits == [512, 278, 270, 278, 270]
    assert found.verdict is SizeVerdict.SIZED
    assert found.sentence == "Needs 278 MiB: passes at 278 MiB (2 of 2), killed at 270 MiB (2 of 2)."
    assert "it passes at the limit that was given, 512 MiB, 84 % more than it needs" in found.evidence
    ends = (found.smallest_passing_bytes, found.largest_failing_bytes, found.largest_killed_bytes)
    assert [mib(end) for end in ends] == [278, 270, 270]
    assert shown(found) == [2, 1]


@pytest.mark.parametrize("need", [262, 266, 272, 278, 283, 291, 305])
def test_a_need_beside_the_peak_is_found_as_well(need: int) -> None:
    _, found = sized(needing(need, peak=278))
    assert found.verdict is SizeVerdict.SIZED
    assert found.smallest_passing_bytes is not None
    assert found.largest_failing_bytes is not None
    assert found.largest_failing_bytes < need * MIB <= found.smallest_passing_bytes
    assert found.smallest_passing_bytes - found.largest_failing_bytes <= narrow_bytes(found.smallest_passing_bytes)


@given(need=st.integers(20, 3000), off=st.floats(0.95, 1.05), start=st.integers(16, 4096))
def test_within_five_percent_of_the_peak_eight_runs_are_enough_wherever_it_starts(
    need: int, off: float, start: int
) -> None:
    """Unless most of them went into doubling the limit until one passed."""
    limits, found = sized(needing(need, peak=need * off), asked(start=start))
    if found.verdict is SizeVerdict.SIZED:
        assert found.smallest_passing_bytes is not None
        assert found.largest_failing_bytes is not None
        assert found.largest_failing_bytes < need * MIB <= found.smallest_passing_bytes
    else:
        assert limits[1] > limits[0], "the start did not pass"
        assert len(limits) == MAX_RUNS


def test_a_limit_that_is_too_small_is_doubled() -> None:
    limits, found = sized(needing(700), asked(start=256))
    assert limits == [256, 512, 1024, 709, 691, 709, 691]
    assert found.verdict is SizeVerdict.SIZED
    assert "at the limit that was given, 256 MiB, it does not pass: killed" in found.evidence


def test_what_fails_without_a_kill_is_told_apart() -> None:
    def service(limit: int) -> Tried:
        if limit < 270:
            return run(limit, Ending.KILLED, at_limit=True)
        if limit < 285:
            return run(limit, Ending.THRASHES, at_limit=True)
        return run(limit, peak_bytes=265 * MIB)

    _, found = sized(service)
    assert found.verdict is SizeVerdict.SIZED
    assert "thrashes at" in found.sentence
    assert mib(found.largest_killed_bytes) == 269
    assert any("the largest limit at which the kernel killed it: 269 MiB" in line for line in found.evidence)


def test_what_needs_room_for_its_files_is_expected_at_its_working_set() -> None:
    def service(limit: int) -> Tried:
        if limit < 150:
            return run(limit, Ending.THRASHES, at_limit=True)
        return run(limit, peak_bytes=20 * MIB, working_set_bytes=148 * MIB)

    limits, found = sized(service)
    assert limits == [512, 24, 152, 144, 152, 144]
    assert found.verdict is SizeVerdict.SIZED


def test_what_passes_but_pays_with_its_latency_is_told() -> None:
    def service(limit: int) -> Tried:
        if limit < 274:
            return run(limit, Ending.KILLED, at_limit=True)
        tight = limit < 300
        again = 900 * MIB if tight else 0
        return run(limit, peak_bytes=274 * MIB, p95_ms=600.0 if tight else 100.0, read_again_bytes=again)

    _, found = sized(service)
    said = next(line for line in found.evidence if "latency" in line)
    assert said.startswith(
        "it pays for that with its latency: p95 600 ms at 278 MiB, 100 ms at 512 MiB, for it reads 900 MiB"
    )
    assert not any("latency" in line for line in sized(needing(274))[1].evidence)


def test_what_passes_nowhere_is_a_failure_with_its_reason() -> None:
    limits, found = sized(needing(10_000), asked(start=1024))
    assert limits == [1024, 2048, 4096, 4096]
    assert found.verdict is SizeVerdict.NEVER_PASSES
    assert found.sentence == ("Passes at no limit that was tried, up to 4,096 MiB (killed, 2 of 2): it was killed.")
    assert found.plans == ()


@pytest.mark.parametrize("ending", [Ending.CRASHED, Ending.NEVER_READY, Ending.FAILURES, Ending.SLOW, Ending.GROWTH])
def test_what_has_nothing_to_do_with_memory_goes_to_the_largest_limit_at_once(ending: Ending) -> None:
    limits, found = sized(lambda limit: run(limit, ending, at_limit=False))
    assert limits == [512, 4096, 4096]
    assert found.verdict is SizeVerdict.NEVER_PASSES


def test_a_runtime_that_sizes_itself_by_the_limit_has_its_border_where_it_crashes() -> None:
    def service(limit: int) -> Tried:
        return run(limit, Ending.CRASHED) if limit < 300 else run(limit, peak_bytes=290 * MIB)

    _, found = sized(service)
    assert found.verdict is SizeVerdict.SIZED
    assert "crashes at" in found.sentence
    assert found.largest_killed_bytes is None


def test_an_accident_under_a_limit_that_was_not_used_up_is_tried_again() -> None:
    accidents: Iterator[Tried] = iter([run(278, Ending.FAILURES, at_limit=False)])

    def service(limit: int) -> Tried:
        return next(accidents, needing(274)(278)) if limit == 278 else needing(274)(limit)

    limits, found = sized(service)
    assert limits == [512, 278, 278, 270, 278, 270]
    assert found.verdict is SizeVerdict.SIZED
    assert "passes at 278 MiB (2 of 3)" in found.sentence


def test_failures_at_a_limit_that_was_used_up_are_the_limits() -> None:
    _, found = sized(needing(274, under=Ending.FAILURES))
    assert found.verdict is SizeVerdict.SIZED
    assert "fails requests at 270 MiB (2 of 2)" in found.sentence


def test_runs_that_say_nothing_say_nothing() -> None:
    limits, found = sized(lambda limit: run(limit, Ending.UNUSABLE))
    assert limits == [512] * 3
    assert found.verdict is SizeVerdict.INCONCLUSIVE
    assert "3 runs say nothing (it was unusable)" in found.sentence


def now_and_then(low: int, high: int) -> Service:
    """Between the two every second run under one limit is killed."""
    visits: dict[int, int] = {}

    def service(limit: int) -> Tried:
        visits[limit] = visits.get(limit, 0) + 1
        if low <= limit <= high and visits[limit] % 2 == 0:
            return run(limit, Ending.KILLED, at_limit=True)
        return run(limit, peak_bytes=274 * MIB) if limit >= low else run(limit, Ending.KILLED, at_limit=True)

    return service


def test_one_limit_that_is_not_steady_lies_between_two_that_are() -> None:
    limits, found = sized(now_and_then(276, 280))
    assert limits == [512, 278, 270, 278, 282, 274, 282, 274]
    assert found.verdict is SizeVerdict.SIZED
    assert found.sentence == (
        "Needs 282 MiB: passes at 282 MiB (2 of 2), killed at 274 MiB (2 of 2); at 278 MiB now one, now the other."
    )


def test_a_border_that_is_not_steady_is_no_answer() -> None:
    _, found = sized(now_and_then(262, 310))
    assert found.verdict is SizeVerdict.INCONCLUSIVE
    assert "now one, now the other" in found.sentence


@pytest.mark.parametrize("after", range(5))
def test_what_was_broken_off_is_no_answer(after: int) -> None:
    size = Size(asked(), "shop")
    whole = [needing(274)(limit) for limit in (512, 278, 270, 278, 270)]
    found = judge(size, whole[:after])
    assert found.verdict is SizeVerdict.INCONCLUSIVE
    assert "it was ended early" in found.sentence


def test_a_budget_for_headroom_sets_the_border_and_the_kernel_is_asked_once_below() -> None:
    def service(limit: int) -> Tried:
        if limit < 200:
            return run(limit, Ending.KILLED, at_limit=True)
        ending = Ending.PASSED if 200 / limit <= 0.8 else Ending.HEADROOM
        return run(limit, ending, peak_bytes=200 * MIB)

    limits, found = sized(service, asked(headroom=0.2), min_headroom=0.2)
    assert limits == [512, 254, 246, 254, 246, 192]
    assert found.sentence == "Needs 254 MiB: passes at 254 MiB (2 of 2), too little headroom at 246 MiB (2 of 2)."
    assert mib(found.largest_killed_bytes) == 192
    assert mib(found.need_bytes) == 200, "the headroom is not asked for twice"
    fly = next(plan for plan in found.plans if plan.provider == "fly")
    assert (fly.name, mib(fly.memory_bytes), round(fly.headroom, 2)) == ("shared-cpu-1x", 256, 0.22)


def test_plans_leave_the_headroom_that_is_asked_for() -> None:
    def fly(headroom: float, cpus: float | None = None) -> str:
        _, found = sized(needing(234), asked(headroom=headroom, cpus=cpus))
        return next(plan.name for plan in found.plans if plan.provider == "fly")

    assert fly(0.05) == "shared-cpu-1x"
    assert fly(0.10) == "shared-cpu-2x"
    assert fly(0.05, cpus=4.0) == "shared-cpu-4x"


def provider(*plans: Plan) -> Catalogued:
    return Catalogued(provider="acme", plans=plans)


def plan(name: str, memory: int, price: float | None = None, cpus: float | None = None) -> Plan:
    return Plan(provider="acme", name=name, memory_bytes=memory * MIB, usd_per_month=price, cpus=cpus)


def test_of_plans_with_as_much_memory_the_cheapest_is_named_and_unknown_prices_come_last() -> None:
    plans = provider(plan("big", 1024, 1), plan("unknown", 512), plan("dear", 512, 9), plan("cheap", 512, 5))
    found = fitting_plans([plans], passing_bytes=300 * MIB, need_bytes=300 * MIB, headroom=0.1, cpus=None)
    assert [(fit.name, fit.usd_per_month, fit.same_memory) for fit in found] == [("cheap", 5, ("dear", "unknown"))]


def test_a_plan_holds_what_passes_in_it_with_as_many_cpus() -> None:
    plans = provider(plan("small", 256, cpus=0.5), plan("large", 512, cpus=1), plan("huge", 1024))

    def names(passing: int, need: int, cpus: float | None) -> list[str]:
        fits = fitting_plans([plans], passing_bytes=passing * MIB, need_bytes=need * MIB, headroom=0.5, cpus=cpus)
        return [fit.name for fit in fits]

    assert names(100, 100, None) == ["small"]
    assert names(100, 100, 1.0) == ["large"]
    assert names(100, 100, 2.0) == ["huge"], "what is not known is not held against it"
    assert names(300, 100, None) == ["large"], "it must pass in it"
    assert names(200, 200, None) == ["large"]
    assert names(2000, 100, None) == []
