"""The policy of `gate` and its verdict: by value, and false alarms and misses by simulation with seeded noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.differences import Difference, Row
from profiling.differences import Side as DiffSide
from profiling.experiments.gate import FIRST, LOOKS, SECOND, WARM, Gate, GateStep
from profiling.experiments.gate_passes import asks_for_passes, grown_lines, moment_of
from profiling.experiments.gate_verdict import judge, policy_of
from profiling.experiments.policy import Step, carry_out
from profiling.judging.regression import Tolerances
from profiling.regressions import (
    BASE,
    HEAD,
    Against,
    GateJudgement,
    GatePass,
    GateRecord,
    GateRun,
    GateVerdict,
    MetricStatus,
    RunFigures,
    Side,
)
from profiling.stacks import END
from profiling.units import MIB

Measure = Callable[[str, int], RunFigures]
"""(side, set) -> what one run of it measures."""


def figures(size: float, **changes: object) -> RunFigures:
    """A run that needs `size` MiB, and changes."""
    size_bytes = round(size * MIB)
    fields = {"peak_bytes": size_bytes, "rest_bytes": size_bytes, "startup_peak_bytes": size_bytes, "p95_ms": 50.0}
    return RunFigures(**fields | changes)  # type: ignore[arg-type]


def gated(measure: Measure, **changes: Any) -> GateRecord:
    """What a gate runs and records where `measure` stands for the kernel."""
    fields: dict[str, Any] = {
        "base": Side(label="main"),
        "head": Side(label="working tree"),
        "tolerance": 0.01,
        "growth_tolerance_bytes": 1024.0,
        "max_turns": LOOKS[-1],
        "warm": False,
    }
    record = GateRecord(**fields | changes)
    runs: list[GateRun] = []

    def make(step: Step) -> RunFigures:
        assert isinstance(step, GateStep)
        found = measure(step.variant, step.set)
        runs.append(GateRun(side=step.variant, set=step.set, directory=str(len(runs) + 1), figures=found))
        return found

    carry_out(policy_of(record), make)
    return GateRecord(**{key: getattr(record, key) for key in record.__struct_fields__} | {"runs": tuple(runs)})


def steady(base: float, head: float) -> Measure:
    """Sides without noise."""
    return lambda side, _: figures(base if side == BASE else head)


def counted(record: GateRecord, number: int) -> int:
    return sum(run.set == number for run in record.runs)


def status(judgement: GateJudgement, name: str) -> MetricStatus:
    return next(metric.status for metric in judgement.metrics if metric.name == name)


def test_no_change_is_told_by_the_first_look_with_the_sides_in_turns() -> None:
    record = gated(steady(100, 100), warm=True)
    assert [run.side for run in record.runs] == [BASE, HEAD, BASE, HEAD, HEAD, BASE, BASE, HEAD, HEAD, BASE]
    assert [run.set for run in record.runs] == [WARM, WARM] + [FIRST] * 8
    found = judge(record)
    assert (found.verdict, found.confirmed_by_rerun, found.turns) == (GateVerdict.PASS, None, 4)
    assert status(found, "growth_per_request") is MetricStatus.UNMEASURED


def test_a_regression_is_shown_twice() -> None:
    record = gated(steady(100, 103))
    assert (counted(record, FIRST), counted(record, SECOND)) == (8, 8)
    found = judge(record)
    assert (found.verdict, found.confirmed_by_rerun, found.turns) == (GateVerdict.REGRESSED, True, 8)
    assert "+3.00 %" in found.sentence


def test_what_a_second_set_does_not_show_is_no_regression_and_is_said() -> None:
    found = judge(gated(lambda side, number: figures(103 if (side, number) == (HEAD, FIRST) else 100)))
    assert (found.verdict, found.confirmed_by_rerun) == (GateVerdict.PASS, False)
    assert "did not confirm" in found.sentence
    assert status(found, "peak_unreclaimable") is MetricStatus.UNCLEAR


def test_an_improvement_is_told_as_such() -> None:
    found = judge(gated(steady(100, 92)))
    assert (found.verdict, found.confirmed_by_rerun, found.turns) == (GateVerdict.IMPROVED, None, 4)


@pytest.mark.parametrize(
    ("head", "verdict"), [(1.009, "pass"), (1.011, "regressed"), (0.991, "pass"), (0.989, "improved")]
)
def test_what_lies_within_the_tolerance_is_no_change(head: float, verdict: str) -> None:
    assert judge(gated(steady(100, 100 * head))).verdict.value == verdict


def test_a_growth_that_the_base_has_not_regresses_by_bytes_and_not_by_a_share() -> None:
    def growing(rate: float) -> GateJudgement:
        return judge(gated(lambda side, _: figures(100, growth_bytes_per_request=rate if side == HEAD else 3.0)))

    assert growing(2000.0).verdict is GateVerdict.REGRESSED
    assert growing(900.0).verdict is GateVerdict.PASS


def test_growth_that_is_not_clear_is_not_waited_for_unless_it_looks_like_a_regression() -> None:
    def noisy(*rates: float | None) -> GateRecord:
        of_head = iter(rates * 3)
        return gated(lambda side, _: figures(100, growth_bytes_per_request=next(of_head) if side == HEAD else 0.0))

    assert counted(noisy(-3000.0, 2000.0, -1500.0, 500.0), FIRST) == 8
    assert counted(noisy(800.0, 2000.0, 1500.0, 3000.0), FIRST) > 8
    seldom = noisy(None, 5000.0, None, None)
    assert counted(seldom, FIRST) == 8
    assert status(judge(seldom), "growth_per_request") is MetricStatus.UNMEASURED


def test_latency_is_never_judged() -> None:
    found = judge(gated(lambda side, _: figures(100, p95_ms=5000.0 if side == HEAD else 5.0)))
    assert (found.verdict, status(found, "p95")) == (GateVerdict.PASS, MetricStatus.INFO)


KILLED = figures(128, failure="killed", oom_kills=3)
CRASHED = RunFigures(failure="crashed")
SLOW = figures(100, over_budget="p95 over budget")


@pytest.mark.parametrize(
    ("base", "head", "verdict", "runs"),
    [
        (figures(100), KILLED, GateVerdict.REGRESSED, 2),
        (figures(100), CRASHED, GateVerdict.REGRESSED, 2),
        (KILLED, KILLED, GateVerdict.OVER_BUDGET, 2),
        (KILLED, figures(100), GateVerdict.IMPROVED, 2),
        (CRASHED, figures(100), GateVerdict.INCONCLUSIVE, 2),
        (CRASHED, SLOW, GateVerdict.OVER_BUDGET, 2),
        (figures(100), SLOW, GateVerdict.OVER_BUDGET, 8),
        (RunFigures(), RunFigures(), GateVerdict.INCONCLUSIVE, 8),
        (RunFigures(unusable="the generator"), figures(100), GateVerdict.INCONCLUSIVE, 3),
    ],
)
def test_where_a_side_fails_nothing_more_is_run(
    base: RunFigures, head: RunFigures, verdict: GateVerdict, runs: int
) -> None:
    record = gated(lambda side, _: base if side == BASE else head)
    assert (judge(record).verdict, len(record.runs)) == (verdict, runs)


def test_one_slow_run_breaks_no_budget() -> None:
    slow = iter([SLOW])
    found = judge(gated(lambda side, _: next(slow, figures(100)) if side == HEAD else figures(100)))
    assert found.verdict is GateVerdict.PASS


def test_a_run_that_says_nothing_is_made_again() -> None:
    bad = iter([RunFigures(unusable="the generator was too slow")])
    record = gated(lambda side, _: next(bad, figures(100)) if side == HEAD else figures(100))
    assert (judge(record).verdict, len(record.runs)) == (GateVerdict.PASS, 9)


@given(st.integers(0, 15))
def test_a_gate_that_was_broken_off_says_nothing(after: int) -> None:
    whole = gated(steady(100, 103))
    broken = GateRecord(**{key: getattr(whole, key) for key in whole.__struct_fields__} | {"runs": whole.runs[:after]})
    assert judge(broken).verdict is GateVerdict.INCONCLUSIVE


def test_a_gate_needs_enough_runs_for_an_answer() -> None:
    with pytest.raises(ValueError, match="at least 4 runs"):
        Gate(Tolerances(0.01, 1024.0), max_turns=3)
    assert Gate(Tolerances(0.01, 1024.0), max_turns=7).looks == (4, 7)


def simulated(rng: np.random.Generator, change: float, noise: float) -> GateVerdict:
    """One gate on a service of 100 MiB whose runs vary by `noise` (a standard deviation, as a share), each metric by itself."""

    def measure(side: str, _: int) -> RunFigures:
        level = 100 * (1 + change if side == HEAD else 1)
        peak, rest, start = (round(level * MIB * np.exp(rng.normal(0, noise))) for _ in range(3))
        return RunFigures(
            peak_bytes=peak, rest_bytes=rest, startup_peak_bytes=start, growth_bytes_per_request=rng.normal(0, 200)
        )

    return judge(gated(measure)).verdict


def share(verdicts: Sequence[GateVerdict], wanted: GateVerdict) -> float:
    return sum(verdict is wanted for verdict in verdicts) / len(verdicts)


@pytest.mark.parametrize("noise", [0.001, 0.005, 0.02])
def test_false_alarms_are_rare_and_noise_does_not_make_more_of_them(noise: float) -> None:
    rng = np.random.default_rng(11)
    verdicts = [simulated(rng, 0.0, noise) for _ in range(300)]
    assert share(verdicts, GateVerdict.REGRESSED) <= 0.01


def test_a_change_of_just_the_tolerance_is_called_a_regression_no_more_often_than_is_said() -> None:
    """Four metrics, each at ERROR * ERROR: 1 % in all. 300 gates: at most 3 expected, 9 leave room for chance."""
    rng = np.random.default_rng(12)
    verdicts = [simulated(rng, 0.01, 0.003) for _ in range(300)]
    assert share(verdicts, GateVerdict.REGRESSED) <= 0.03


@pytest.mark.parametrize("noise", [0.001, 0.005])
def test_a_regression_of_three_percent_is_caught(noise: float) -> None:
    rng = np.random.default_rng(13)
    verdicts = [simulated(rng, 0.03, noise) for _ in range(200)]
    assert share(verdicts, GateVerdict.REGRESSED) >= 0.99


def test_without_a_base_head_is_held_against_its_budget_by_three_runs() -> None:
    def alone(run: RunFigures) -> GateJudgement:
        return judge(gated(lambda side, _: run, against=Against.BUDGET, max_turns=3, base=None))

    found = alone(figures(100))
    assert (found.verdict, found.turns, found.confirmed_by_rerun) == (GateVerdict.PASS, 3, None)
    assert {metric.status for metric in found.metrics if metric.name != "peak_heap"} == {MetricStatus.INFO}
    assert alone(SLOW).verdict is GateVerdict.OVER_BUDGET
    assert alone(KILLED).verdict is GateVerdict.OVER_BUDGET
    assert alone(RunFigures()).verdict is GateVerdict.INCONCLUSIVE


def test_against_a_baseline_only_head_is_run() -> None:
    def stored(size: float, doubt: str = "") -> tuple[GateRecord, GateJudgement]:
        record = gated(lambda side, _: figures(size), against=Against.BASELINE, stored=(figures(100),) * 7, doubt=doubt)
        return record, judge(record)

    record, found = stored(103)
    assert {run.side for run in record.runs} == {HEAD}
    assert (found.verdict, found.confirmed_by_rerun, len(record.runs)) == (GateVerdict.REGRESSED, True, 8)
    _, found = stored(103, doubt="it was made on another kernel")
    assert found.verdict is GateVerdict.INCONCLUSIVE
    assert "another kernel" in found.sentence
    assert stored(100)[1].verdict is GateVerdict.PASS
    assert stored(92, doubt="it was made on another kernel")[1].verdict is GateVerdict.IMPROVED


def passed(record: GateRecord, *passes: GatePass, **changes: Any) -> GateRecord:
    return msgspec.structs.replace(record, passes=passes, **changes)


@pytest.mark.parametrize(
    ("measure", "unasked", "asked"),
    [
        (steady(100, 100), False, True),
        (steady(100, 103), True, True),
        (steady(100, 92), False, True),
        (lambda side, number: figures(103 if (side, number) == (HEAD, FIRST) else 100), False, True),
        (lambda side, _: KILLED if side == HEAD else figures(100), True, True),
        (lambda side, _: CRASHED if side == HEAD else figures(100), False, False),
        (lambda side, _: CRASHED if side == BASE else figures(100), False, False),
        (lambda side, _: KILLED, False, False),
    ],
    ids=["null", "regressed", "improved", "unconfirmed", "killed", "crashed", "base crashed", "both killed"],
)
def test_memray_is_asked_where_somebody_looks_for_a_line_and_both_sides_can_show_one(
    measure: Measure, unasked: bool, asked: bool
) -> None:
    record = gated(measure)
    assert asks_for_passes(record, None) is unasked
    assert asks_for_passes(record, True) is asked
    assert asks_for_passes(record, False) is False


def test_without_a_base_there_is_nothing_to_hold_a_heap_against() -> None:
    record = gated(lambda side, _: figures(100), against=Against.BUDGET, max_turns=3, base=None)
    assert not asks_for_passes(record, True)


def test_what_only_stays_is_looked_at_at_the_end() -> None:
    def grown(**changes: int) -> GateRecord:
        return gated(lambda side, _: figures(100, **changes) if side == HEAD else figures(100))

    assert moment_of(grown(rest_bytes=103 * MIB)) == END
    assert moment_of(grown(rest_bytes=103 * MIB, peak_bytes=103 * MIB)) is None
    assert moment_of(grown(growth_bytes_per_request=0)) is None


def test_the_peak_heap_is_shown_and_decides_nothing() -> None:
    record = gated(steady(100, 100))
    of_base = GatePass(side=BASE, directory="b", peak_heap_bytes=80 * MIB)
    found = judge(passed(record, of_base, GatePass(side=HEAD, directory="h", peak_heap_bytes=120 * MIB)))
    heap = next(metric for metric in found.metrics if metric.name == "peak_heap")
    assert (found.verdict, heap.status, heap.low, heap.high) == (GateVerdict.PASS, MetricStatus.INFO, None, None)
    assert heap.change == pytest.approx(0.5)
    skipped = judge(passed(record, GatePass(side=BASE, directory=None, reason="it is Node")))
    assert (skipped.verdict, status(skipped, "peak_heap")) == (GateVerdict.PASS, MetricStatus.UNMEASURED)
    assert skipped.notes == ("peak heap of base not measured: it is Node",)
    assert status(judge(record), "peak_heap") is MetricStatus.UNMEASURED


def row(file: str, change: int, line: int = 3) -> Row:
    return Row(function="load", file=file, line=line, before_bytes=MIB, after_bytes=MIB + change)


def test_lines_that_grew_are_named_as_the_repository_has_them(tmp_path: Path) -> None:
    root, own = tmp_path / "repository", tmp_path / "repository" / "service"
    (own / "inner").mkdir(parents=True)
    outside = tmp_path / "elsewhere.py"
    for file in (own / "app.py", own / "inner" / "part.py", root / "shared.py", outside):
        file.write_text("")
    side = DiffSide(path="", name="", at="peak", ended=None, oom_killed=False, total_bytes=1, processes=(), notes=())
    rows = [
        row("app.py", 20 * MIB),
        row("site-packages/torch/nn.py", 15 * MIB),
        row("inner/part.py", 10 * MIB),
        row("gone.py", -9 * MIB),
        row("shared.py", 5 * MIB),
        row(str(outside), 4 * MIB),
        row("app.py", 3 * MIB, line=0),
        row("app.py", MIB // 10),
    ]
    found = Difference(
        total_bytes=0,
        status="pass",
        before=side,
        after=side,
        fail_above_bytes=None,
        rows=(),
        lines=tuple(rows),
        packages=(),
    )
    grown = grown_lines(found, own, root)
    assert [line.path for line in grown] == ["service/app.py", None, "service/inner/part.py", "shared.py", None, None]
    assert [line.change_bytes // MIB for line in grown] == [20, 15, 10, 5, 4, 3], (
        "without what is less than a hundredth"
    )
