"""The policy of `levers` and its verdict, with services out of thin air in place of the kernel."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from profiling.experiments.levers import AS_IS, ROUNDS, Levers, LeverStep, done_of
from profiling.experiments.levers_verdict import judge, shown
from profiling.experiments.policy import Step
from profiling.judging.savings import Saving, is_clear, ratio
from profiling.levers import Lever, LeverFigures, LeverOutcome, LeverRun, LeversJudgement, LeversRecord, Part
from profiling.manifests.catalogue import Plan
from profiling.sizing import Ending
from profiling.units import MIB

LIMIT, RAISED = 512 * MIB, 4096 * MIB
Service = Callable[[tuple[str, ...], int], LeverFigures]


def lever(name: str, **more: Any) -> Lever:
    return Lever(name=name, advice=f"does {name}", guide="a guide", **{"env": {name.upper(): "1"}, **more})


def asked(*levers: Lever, **more: Any) -> LeversRecord:
    return LeversRecord(
        **{
            "target": "shop",
            "command": ("serve",),
            "limit_bytes": LIMIT,
            "raised_bytes": RAISED,
            "tolerance": 0.01,
            "users": 8,
            "levers": levers,
            **more,
        }
    )


def needing(base: float, saves: Mapping[str, float], *, noise: float = 0.5, seed: int = 1, **ends: Ending) -> Service:
    """A service that needs `base` MiB, less what each lever saves, and is killed at a limit below. `ends`: levers by which it
    ends otherwise."""
    rng = random.Random(seed)

    def run(levers: tuple[str, ...], limit: int) -> LeverFigures:
        for name in levers:
            if name in ends:
                return LeverFigures(ending=ends[name], reason=f"{name} does that", before_ready=True)
        need = round((base - sum(saves.get(name, 0.0) for name in levers) + rng.uniform(-noise, noise)) * MIB)
        if need > limit:
            return LeverFigures(
                ending=Ending.KILLED, reason="OOM-killed", at_limit=True, before_ready=True, peak_bytes=limit
            )
        return LeverFigures(ending=Ending.PASSED, peak_bytes=need, rps=100.0, p95_ms=20.0, requests=600)

    return run


def tried(record: LeversRecord, service: Service, most: int = 400) -> LeversRecord:
    """The record with all runs that the policy asks for, at most so many."""
    policy = Levers(record)
    done: list[tuple[Step, LeverFigures]] = []
    while (step := policy.next_step(done)) is not None and len(done) < most:
        assert isinstance(step, LeverStep)
        found = service(step.levers, step.limit_bytes)
        run = LeverRun(
            levers=step.levers, part=step.part, limit_bytes=step.limit_bytes, directory=str(len(done)), figures=found
        )
        done.append((step, found))
        record = msgspec.structs.replace(record, runs=(*record.runs, run))
    assert len(done) < 400, "the policy has no end"
    return record


def judged(record: LeversRecord, service: Service) -> LeversJudgement:
    return judge(tried(record, service))


def order(record: LeversRecord, part: Part = Part.ROUND) -> list[str]:
    return [" + ".join(run.levers) or AS_IS for run in record.runs if run.part is part]


def test_levers_run_in_turns_with_the_service_as_it_is() -> None:
    names = [f"l{number}" for number in range(12)]
    record = tried(asked(*(lever(name) for name in names)), needing(400, {}))
    turns = order(record)
    assert turns.count(AS_IS) == 3 * ROUNDS, "three times in each"
    assert all(turns.count(name) == ROUNDS for name in names)
    for start in range(0, len(turns), len(turns) // ROUNDS):
        assert turns[start] == AS_IS, "a round begins with it"
    assert {run.limit_bytes for run in record.runs if run.part is not Part.WARM} == {LIMIT}
    assert order(record, Part.WARM) == [AS_IS], "a first start is not counted"


def test_savings_costs_and_nothing_are_told_apart_with_their_intervals() -> None:
    found = judged(asked(lever("frees"), lever("adds"), lever("null")), needing(400, {"frees": 40, "adds": -30}))
    rows = {row.lever: row for row in found.rows}
    assert [row.lever for row in found.rows] == ["frees", "null", "adds"], "what saves most first"
    for name, truth in (("frees", 40), ("adds", -30), ("null", 0)):
        row = rows[name]
        assert row.saved_low_bytes is not None
        assert row.saved_high_bytes is not None
        assert row.saved_low_bytes <= truth * MIB <= row.saved_high_bytes
        assert row.outcome is LeverOutcome.SURVIVES
        assert (row.rps_ratio, row.p95_ratio) == (1.0, 1.0)
    assert "no difference worth a setting" in rows["null"].note
    assert found.best is not None
    assert found.best.levers == ("frees",)
    assert found.status == "pass"
    assert "frees saves 40" in found.sentence


def test_the_interval_covers_the_truth_in_at_least_19_of_20() -> None:
    covered = trials = 0
    for seed in range(60):
        saves = {"frees": 8, "adds": -5, "null": 0}
        found = judged(asked(*(lever(name) for name in saves)), needing(400, saves, noise=6, seed=seed))
        for row in found.rows:
            assert row.saved_low_bytes is not None
            assert row.saved_high_bytes is not None
            trials += 1
            covered += row.saved_low_bytes <= saves[row.lever] * MIB <= row.saved_high_bytes
    assert covered / trials >= 0.95, (covered, trials)


def test_what_is_not_clear_has_as_many_rounds_again() -> None:
    record = tried(asked(lever("noisy"), lever("clear")), wobbling)
    turns = order(record)
    assert turns.count("noisy") == 2 * ROUNDS
    assert turns.count("clear") == ROUNDS


_WOBBLE = random.Random(3)


def wobbling(levers: tuple[str, ...], limit: int) -> LeverFigures:
    """One lever without effect and with much noise, one with a large effect."""
    need = 300.0 if levers == ("clear",) else 400.0
    if levers == ("noisy",):
        need += _WOBBLE.uniform(-40, 40)
    return LeverFigures(ending=Ending.PASSED, peak_bytes=round(need * MIB) + _WOBBLE.randrange(MIB), rps=1.0)


def test_a_service_that_is_killed_is_measured_under_a_raised_limit_and_tried_under_its_own() -> None:
    """600 MiB at 512: one lever saves enough, one does not, and no kill is taken for a saving."""
    record = tried(asked(lever("enough"), lever("little")), needing(600, {"enough": 200, "little": 20}))
    assert {run.limit_bytes for run in record.runs if run.part in (Part.ROUND, Part.TOGETHER)} == {RAISED}
    found = judge(record)
    assert found.measured_bytes == RAISED
    assert found.as_is.outcome is LeverOutcome.OOM_KILLED
    assert found.as_is.peak_bytes == pytest.approx(600 * MIB, rel=0.01)
    rows = {row.lever: row for row in found.rows}
    assert rows["enough"].outcome is LeverOutcome.SURVIVES
    assert rows["little"].outcome is LeverOutcome.OOM_KILLED
    assert rows["little"].saved_bytes == pytest.approx(20 * MIB, abs=MIB)
    assert found.best is not None
    assert found.best.levers == ("enough", "little")
    assert found.best.outcome is LeverOutcome.SURVIVES
    assert found.best.headroom == pytest.approx(1 - 380 / 512, abs=0.01)
    assert [run.limit_bytes for run in record.runs if run.levers == ("enough", "little")][-2:] == [LIMIT, LIMIT]
    assert found.status == "pass"
    assert "is OOM-killed" in found.sentence
    assert "it survives there" in found.sentence
    assert shown(record)[0] != shown(record)[1]


def test_what_is_not_enough_is_said() -> None:
    found = judged(asked(lever("little")), needing(600, {"little": 20}))
    assert found.status == "fail"
    assert "not enough" in found.sentence


def test_a_lever_that_is_killed_where_the_service_survives_has_no_size() -> None:
    found = judged(asked(lever("adds"), lever("null")), needing(480, {"adds": -100}))
    row = next(row for row in found.rows if row.lever == "adds")
    assert (row.outcome, row.saved_bytes) == (LeverOutcome.OOM_KILLED, None)
    assert "has no size" in row.note


def test_a_lever_that_keeps_the_service_from_starting_is_a_row_that_says_so() -> None:
    record = tried(asked(lever("breaks"), lever("null")), needing(400, {}, breaks=Ending.CRASHED))
    assert order(record).count("breaks") == 2, "twice is enough"
    row = next(row for row in judge(record).rows if row.lever == "breaks")
    assert (row.outcome, row.saved_bytes) == (LeverOutcome.DOES_NOT_START, None)
    assert "breaks does that" in row.note


def test_wrong_answers_are_a_failure_and_never_part_of_the_best() -> None:
    found = judged(asked(lever("wrong")), needing(400, {"wrong": 100}, wrong=Ending.FAILURES))
    assert found.best is None
    assert found.status == "pass", "as it is it survives"
    assert "No lever" in found.sentence


def test_together_keeps_only_what_really_adds() -> None:
    """`same` frees the same memory as `frees`: by itself it saves, beside it nothing."""
    levers = (lever("frees"), lever("same"), lever("more"))

    def service(names: tuple[str, ...], limit: int) -> LeverFigures:
        both = {"frees", "same"} <= set(names)
        return needing(400, {"frees": 60, "same": 0 if both else 50, "more": 20}, seed=len(names))(names, limit)

    record = tried(asked(*levers), service)
    found = judge(record)
    assert found.best is not None
    assert found.best.levers == ("frees", "more")
    assert order(record, Part.TOGETHER).count("frees + same") == 1, "one run that saves nothing is enough"
    assert [step.lever for step in found.best.steps] == ["frees", "more"]
    assert found.best.env == {"FREES": "1", "MORE": "1"}


def test_levers_of_one_group_are_never_tried_together() -> None:
    record = tried(
        asked(lever("one", group="g"), lever("two", group="g"), lever("three")),
        needing(400, {"one": 50, "two": 40, "three": 30}),
    )
    assert set(order(record, Part.TOGETHER)) == {AS_IS, "one + three"}


def test_what_goes_to_other_processes_is_measured_and_no_part_of_the_best() -> None:
    record = asked(lever("split", elsewhere=True), lever("frees"))
    found = judged(record, needing(200, {"split": 60, "frees": 20}))
    rows = {row.lever: row for row in found.rows}
    assert rows["split"].saved_bytes == pytest.approx(60 * MIB, abs=3 * MIB)
    assert found.best is not None
    assert found.best.levers == ("frees",)


def test_a_run_that_says_nothing_is_made_again_and_not_forever() -> None:
    def service(names: tuple[str, ...], limit: int) -> LeverFigures:
        if names == ("mute",):
            return LeverFigures(ending=Ending.UNUSABLE, reason="the load generator was the bottleneck")
        return needing(400, {})(names, limit)

    record = tried(asked(lever("mute"), lever("null")), service)
    assert order(record).count("mute") == 3
    row = next(row for row in judge(record).rows if row.lever == "mute")
    assert row.outcome is LeverOutcome.UNCLEAR
    assert "bottleneck" in row.note


def test_a_service_that_fails_whatever_its_memory_is_not_searched() -> None:
    record = tried(asked(lever("any")), lambda levers, limit: LeverFigures(ending=Ending.FAILURES, reason="500s"))
    assert len(record.runs) == 3
    found = judge(record)
    assert found.status == "fail"
    assert "nothing to compare" in found.sentence


@pytest.mark.parametrize("runs", range(0, 14, 2))
def test_whatever_was_run_before_it_was_ended_is_judged(runs: int) -> None:
    record = tried(asked(lever("frees"), lever("null")), needing(400, {"frees": 40}), runs)
    found = judge(record)
    assert found.status == "inconclusive"
    assert len(found.rows) == 2
    assert "ended" in found.sentence


def test_what_is_ahead_is_what_comes_if_all_goes_well() -> None:
    record = asked(lever("frees"), lever("null"))
    ahead = Levers(record).ahead([])
    made = tried(record, needing(400, {"frees": 40}))
    assert [step.levers for step in ahead] == [run.levers for run in made.runs][: len(ahead)]
    assert Levers(record).ahead(done_of(made)) == ()


def test_the_next_plan_is_a_row_with_its_price_and_what_is_free() -> None:
    plans = (Plan(provider="render", name="standard", memory_bytes=2048 * MIB, usd_per_month=25.0),)
    found = judged(asked(lever("frees"), plans=plans), needing(400, {"frees": 40}))
    row = found.rows[-1]
    assert (row.lever, row.outcome) == ("next-plan", LeverOutcome.NOT_TRIED)
    assert "render standard: 2 GiB, $25 a month" in row.note
    assert "for nothing" in row.note


def test_a_lever_that_is_left_out_is_a_row_with_the_reason() -> None:
    found = judged(asked(lever("frees"), lever("gone", left_out="not here")), needing(400, {"frees": 40}))
    row = next(row for row in found.rows if row.lever == "gone")
    assert (row.outcome, row.note) == (LeverOutcome.NOT_TRIED, "not here")


def test_what_is_clear() -> None:
    assert is_clear(Saving(10, 5, 15), 4)
    assert is_clear(Saving(-10, -15, -5), 4)
    assert is_clear(Saving(0, -3, 3), 4)
    assert not is_clear(Saving(3, -1, 9), 4)
    assert not is_clear(Saving(3, float("-inf"), float("inf")), 4)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [([100.0], [50.0], 0.5), ([None, 10.0], [None], None), ([0.0], [1.0], None), ([], [1.0], None)],
)
def test_a_ratio_needs_both_sides(
    before: Sequence[float | None], after: Sequence[float | None], expected: float | None
) -> None:
    assert ratio(before, after) == expected


def test_a_lever_with_bytecode_of_its_own_starts_once_before_it_is_measured() -> None:
    record = tried(asked(lever("code", bytecode=True), lever("null")), needing(400, {"code": 20}))
    own = [run.part for run in record.runs if run.levers == ("code",)]
    assert own == [Part.WARM, *[Part.ROUND] * ROUNDS]
    broken = tried(asked(lever("code", bytecode=True), lever("null")), needing(400, {}, code=Ending.CRASHED))
    assert [run.part for run in broken.runs if run.levers == ("code",)] == [Part.WARM, Part.ROUND], "twice is enough"


def test_worse_answers_are_never_part_of_the_best() -> None:
    def service(names: tuple[str, ...], limit: int) -> LeverFigures:
        found = needing(400, {"small": 100, "other": 20})(names, limit)
        return msgspec.structs.replace(found, quality=0.93 if "small" in names else 0.95)

    found = judged(asked(lever("small"), lever("other")), service)
    assert found.best is not None
    assert found.best.levers == ("other",)
    assert (found.best.quality, found.as_is.quality) == (0.95, 0.95)
    row = next(row for row in found.rows if row.lever == "small")
    assert row.quality == 0.93
    assert "answers are worse" in row.note
