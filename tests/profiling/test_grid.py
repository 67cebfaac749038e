"""The policy of `compare --grid` and its answer, with services that are a formula in place of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.capacities import LoadTrial
from profiling.experiments.grid import Grid as Policy
from profiling.experiments.grid import GridStep, cell_name, settings_of
from profiling.experiments.grid_verdict import claim, judge, load_words, shown, words
from profiling.experiments.policy import Step, carry_out
from profiling.grids import Axis, CellPlace, CellStatus, GridJudgement, GridRecord
from profiling.judgements import Claim
from profiling.units import MIB
from tests.profiling.test_capacity import killed, late, slow_generator, trial

Service = Callable[[CellPlace], LoadTrial]


def asked(axes: dict[str, str], **changes: Any) -> GridRecord:
    """A grid of `axes`, each `VALUE,VALUE`; 8 users and 512 MiB where no axis says otherwise."""
    named = tuple(Axis(key=key, values=tuple(values.split(","))) for key, values in axes.items())
    cells = tuple(
        CellPlace(settings=each, users=int(each.get("users", 8)), memory_bytes=int(each.get("memory", 512)) * MIB)
        for each in settings_of(named)
    )
    fields: dict[str, Any] = {"name": "shop", "axes": named, "repeats": 1, "infer": False, "rate": None, "cells": cells}
    return GridRecord(**fields | changes)


def measured(service: Service, record: GridRecord, most: int | None = None) -> tuple[list[GridStep], GridJudgement]:
    """What is run, in order, and what it says; broken off after `most` runs."""
    steps: list[GridStep] = []
    trials: dict[int, list[LoadTrial]] = {}

    class BrokenOffError(Exception):
        pass

    def make(step: Step) -> LoadTrial:
        assert isinstance(step, GridStep)
        if len(steps) == most:
            raise BrokenOffError
        steps.append(step)
        found = service(record.cells[step.cell])
        trials.setdefault(step.cell, []).append(found)
        return found

    try:
        carry_out(Policy(record), make)
    except BrokenOffError:
        assert most is not None
    return steps, judge(record, trials)


def needing(mib_per_user_and_worker: float) -> Service:
    """Each worker needs so much for each user, and is killed where that is more than the limit."""

    def run(cell: CellPlace) -> LoadTrial:
        need = mib_per_user_and_worker * cell.users * int(cell.settings.get("workers", 1)) * MIB
        held = need <= cell.memory_bytes
        return (trial if held else killed)(cell.users)

    return run


GRID = {"workers": "2,4", "users": "8,64"}


def test_which_settings_hold_the_most_is_said_with_those_that_do_not() -> None:
    _, found = measured(needing(3), asked(GRID))
    assert found.status == "pass"
    assert found.sentence == "2 workers hold 64 users in 512 MiB; 4 workers do not (OOM-killed)."
    assert found.evidence == ("2 workers: 64 users in 512 MiB", "4 workers: 8 users in 512 MiB")
    assert [cell.status for cell in found.cells] == ["holds", "holds", "holds", "fails"]
    assert claim(found) is Claim.PROVED
    assert shown(found) == (1, 3)


def test_of_limits_the_smallest_that_holds_the_largest_load_is_named() -> None:
    _, found = measured(needing(1), asked({"workers": "1,2", "users": "8,64", "memory": "32,64,128"}))
    assert found.sentence == "1 worker holds 64 users in 64 MiB; 2 workers do not (OOM-killed)."
    assert found.evidence[0] == "1 worker: 8 users in 32 MiB, 64 users in 64 MiB, 64 users in 128 MiB"


def test_without_settings_the_service_itself_is_what_holds() -> None:
    _, found = measured(needing(1), asked({"users": "8,64", "memory": "32,64"}))
    assert found.sentence == "shop holds 64 users in 64 MiB; not in 32 MiB (OOM-killed)."
    _, found = measured(needing(1), asked({"users": "8,64"}, cells=asked({"users": "8,1000"}).cells))
    assert found.sentence == "shop holds 8 users in 512 MiB; not 1,000 users (OOM-killed)."


def test_all_hold_and_none_does() -> None:
    _, found = measured(needing(0.1), asked(GRID))
    assert (found.status, found.sentence) == (
        "pass",
        "All 4 cells hold: 2 workers and 4 workers hold 64 users in 512 MiB.",
    )
    assert claim(found) is Claim.BASELINE_SURVIVED
    _, found = measured(lambda cell: late(cell.users), asked(GRID))
    assert (found.status, found.sentence) == ("fail", "None of 4 cells holds (too slow).")
    assert claim(found) is Claim.CANDIDATE_FAILED
    assert shown(found) == (0,)


def test_many_settings_are_counted_and_not_listed() -> None:
    service = needing(1)
    _, found = measured(service, asked({"workers": "1,2,3,4,5,100,200", "users": "8,64"}))
    assert (
        found.sentence == "5 of 7 settings hold 64 users in 512 MiB; 100 workers and 200 workers do not (OOM-killed)."
    )


def test_a_cell_of_which_nothing_can_be_said_is_never_a_pass() -> None:
    """Not where others hold, and not where none does."""

    def service(cell: CellPlace) -> LoadTrial:
        return slow_generator(cell.users) if cell.users == 64 else trial(cell.users)

    _, found = measured(service, asked(GRID))
    assert found.status == "inconclusive"
    assert found.sentence.startswith(
        "Nothing can be said of 2 of 4 cells: 97% of a core. So far: 2 workers and 4 workers hold 8"
    )
    assert claim(found) is Claim.INCONCLUSIVE
    _, found = measured(lambda cell: slow_generator(cell.users), asked(GRID))
    assert (found.status, "So far" in found.sentence) == ("inconclusive", False)


@pytest.mark.parametrize("most", range(4))
def test_what_was_ended_early_says_so_and_keeps_what_was_measured(most: int) -> None:
    steps, found = measured(needing(3), asked(GRID), most)
    assert found.status == "inconclusive"
    assert "it was ended early" in found.sentence
    assert sum(cell.status is not CellStatus.NOT_MEASURED for cell in found.cells) == len(steps) == most


def test_repeats_come_in_turns_and_one_failure_of_several_is_one() -> None:
    before: dict[str, int] = {}

    def service(cell: CellPlace) -> LoadTrial:
        name = cell_name(cell)
        before[name] = before.get(name, 0) + 1
        return killed(cell.users) if (name, before[name]) == ("workers=2", 3) else trial(cell.users)

    steps, found = measured(service, asked({"workers": "1,2"}, repeats=3))
    assert [(step.cell, step.repeat) for step in steps] == [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    assert [(cell.status, cell.passed, cell.made) for cell in found.cells] == [("holds", 3, 3), ("fails", 2, 3)]


def test_repeats_that_are_missing_are_no_answer() -> None:
    _, found = measured(needing(1), asked({"workers": "1,2"}, repeats=2), most=3)
    assert [cell.status for cell in found.cells] == ["holds", "inconclusive"]
    assert found.cells[1].why == "1 of 2 runs were made"


def test_only_what_ran_out_of_memory_foretells_and_only_where_it_was_asked_for() -> None:
    axes = {"workers": "1,2", "users": "64,8", "memory": "64,512"}
    steps, found = measured(needing(5), asked(axes))
    assert len(steps) == 8
    fewer, foretold = measured(needing(5), asked(axes, infer=True))
    assert len(fewer) < 8
    assert sum(cell.status is CellStatus.INFERRED for cell in foretold.cells) == 8 - len(fewer)
    assert [cell.fails for cell in foretold.cells] == [cell.fails for cell in found.cells]
    assert foretold.status == found.status
    for cell in foretold.cells:
        if cell.status is CellStatus.INFERRED:
            assert cell.inferred_from is not None
            source = foretold.cells[cell.inferred_from]
            assert (source.status, source.configuration) == (CellStatus.FAILS, cell.configuration)
            assert source.users <= cell.users
            assert source.memory_limit_bytes >= cell.memory_limit_bytes
            assert (cell.run, cell.made, cell.peak_unreclaimable_bytes) == (None, 0, None)
    steps, _ = measured(lambda cell: late(cell.users), asked(axes, infer=True))
    assert len(steps) == 8, "what is too slow may be faster in less memory, for all anybody knows"


@given(
    per_user=st.floats(0.1, 20),
    users=st.lists(st.integers(1, 200), min_size=1, max_size=4, unique=True),
    memory=st.lists(st.integers(16, 2048), min_size=1, max_size=4, unique=True),
    workers=st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True),
)
@settings(deadline=None, max_examples=60)
def test_what_is_inferred_is_what_a_monotone_service_does(
    per_user: float, users: list[int], memory: list[int], workers: list[int]
) -> None:
    axes = {"users": users, "workers": workers, "memory": memory}
    record = asked({key: ",".join(map(str, values)) for key, values in axes.items()})
    every, found = measured(needing(per_user), record)
    assert sorted(step.cell for step in every) == list(range(len(record.cells)))
    some, foretold = measured(needing(per_user), asked({k: ",".join(map(str, v)) for k, v in axes.items()}, infer=True))
    assert [cell.fails for cell in foretold.cells] == [cell.fails for cell in found.cells]
    assert foretold.status == found.status
    assert [cell.status == "holds" for cell in foretold.cells] == [cell.status == "holds" for cell in found.cells]
    assert len(some) + sum(cell.status is CellStatus.INFERRED for cell in foretold.cells) == len(record.cells)


def test_settings_in_words() -> None:
    chosen = (("variant", "lazy"), ("workers", "1"), ("threads", "4"), ("preload", "off"), ("MALLOC_ARENA_MAX", "2"))
    assert words(chosen) == "lazy, 1 worker, 4 threads, preload off, MALLOC_ARENA_MAX=2"
    assert (load_words(None, 1), load_words(None, 1000), load_words(2.5, 8)) == (
        "1 user",
        "1,000 users",
        "2.5 requests/s",
    )
