"""The search for a border: by value, and by property over borders, directions and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.experiments.bracket import MAX_UNUSABLE, Bracket, Search, Trial

Passes = Callable[[int], bool | None]


def searched(search: Search, passes: Passes) -> tuple[list[Trial], Bracket]:
    """All trials of a search where `passes` stands for the measurement, and what they show."""
    trials: list[Trial] = []
    while (value := search.next_value(trials)) is not None:
        trials.append(Trial(value, passes(value)))
        assert len(trials) <= search.max_trials
    return trials, search.bracket(trials)


def of_limits(**changes: Any) -> Search:
    """The smallest limit, in MiB: from a generous one, with an estimate of 300."""
    fields: dict[str, Any] = {
        "start": 2048, "anchor": 300, "step": 8, "larger_passes": True, "lowest": 8, "highest": 4096, "narrow": lambda _: 8,
    }  # fmt: skip
    return Search(**fields | changes)


def of_users(**changes: Any) -> Search:
    """The largest number of users."""
    fields: dict[str, Any] = {
        "start": 8, "step": 8, "larger_passes": False, "lowest": 1, "highest": 1000, "narrow": lambda n: max(1, n // 10),
        "max_trials": 20,
    }  # fmt: skip
    return Search(**fields | changes)


def values(trials: list[Trial]) -> list[int]:
    return [trial.value for trial in trials]


def test_a_good_estimate_needs_six_trials_at_most_for_both_ends_twice() -> None:
    trials, found = searched(of_limits(), lambda limit: limit >= 304)
    assert values(trials) == [2048, 300, 308, 300, 308]
    assert (found.passing, found.failing, found.passes, found.failures) == (308, 300, 2, 2)
    assert found.is_proved
    trials, found = searched(of_limits(), lambda limit: limit >= 296)
    assert values(trials) == [2048, 300, 292, 292, 300]
    assert found.is_proved


@pytest.mark.parametrize("border", range(277, 325, 3))
def test_an_estimate_that_errs_by_three_steps_still_needs_no_more_than_eight(border: int) -> None:
    trials, found = searched(of_limits(), lambda limit: limit >= border)
    assert len(trials) <= 8
    assert found.is_proved
    assert found.failing is not None and found.passing is not None
    assert found.failing < border <= found.passing <= found.failing + 8


def test_the_load_is_doubled_and_then_halved_and_both_ends_are_tried_twice() -> None:
    trials, found = searched(of_users(), lambda users: users <= 50)
    assert values(trials) == [8, 16, 32, 64, 48, 56, 52, 52, 48]
    assert (found.passing, found.failing, found.is_proved) == (48, 52, True)


def test_where_the_first_load_is_too_much_smaller_ones_are_tried() -> None:
    trials, found = searched(of_users(), lambda users: users <= 2)
    assert values(trials)[:2] == [8, 1]
    assert (found.passing, found.failing, found.is_proved) == (2, 3, True)


def test_what_always_fails_is_tried_to_the_last_value_and_confirmed_there() -> None:
    trials, found = searched(of_limits(start=1024, step=1024, anchor=None), lambda _: False)
    assert values(trials) == [1024, 2048, 4096, 4096]
    assert (found.passing, found.failing, found.failures, found.is_proved) == (None, 4096, 2, False)


def test_what_always_passes_is_tried_to_the_last_value_and_confirmed_there() -> None:
    trials, found = searched(of_users(highest=64), lambda _: True)
    assert values(trials) == [8, 16, 32, 64, 64]
    assert (found.passing, found.passes, found.failing, found.is_confirmed) == (64, 2, None, False)


def test_a_value_that_passes_only_at_times_is_no_end() -> None:
    answers = iter([False, True])  # at 308: passes the first time, then not
    trials, found = searched(of_limits(max_trials=12), lambda limit: limit > 308 or (limit == 308 and next(answers)))
    assert trials[2] == Trial(308, False)
    answers = iter([True, False])
    trials, found = searched(of_limits(max_trials=12), lambda limit: limit > 308 or (limit == 308 and next(answers)))
    assert [trial.passed for trial in trials if trial.value == 308] == [True, False]
    assert found.unsteady == (308, 308)
    assert found.failing is not None and found.passing is not None
    assert found.failing < 308 < found.passing
    assert found.is_confirmed


def test_a_trial_that_says_nothing_is_made_again_and_counts_as_made() -> None:
    nothing = iter([None])
    trials, found = searched(of_limits(), lambda limit: next(nothing, limit >= 304))
    assert values(trials) == [2048, 2048, 300, 308, 300, 308]
    assert found.is_proved


def test_a_search_whose_trials_say_nothing_is_given_up() -> None:
    trials, found = searched(of_limits(), lambda _: None)
    assert len(trials) == MAX_UNUSABLE + 1
    assert (found.passing, found.failing, found.is_narrow, found.is_confirmed) == (None, None, False, False)


def test_with_few_trials_left_the_ends_are_confirmed_where_they_are() -> None:
    trials, found = searched(of_limits(max_trials=6), lambda limit: limit >= 420)
    assert len(trials) == 6
    assert not found.is_narrow
    assert found.failing is not None and found.failing < 420


@given(
    border=st.integers(2, 5000),
    start=st.integers(1, 5000),
    anchor=st.integers(1, 5000),
    step=st.integers(1, 500),
    unit=st.sampled_from([1, 4, 16]),
    larger_passes=st.booleans(),
)
def test_with_trials_enough_every_border_is_found(
    border: int, start: int, anchor: int, step: int, unit: int, larger_passes: bool
) -> None:
    search = Search(
        start=start, anchor=anchor, step=step, unit=unit, larger_passes=larger_passes, lowest=1, highest=5000,
        narrow=lambda _: 2 * unit, max_trials=200,
    )  # fmt: skip
    _, found = searched(search, lambda value: (value >= border) == larger_passes)
    assert found.is_proved
    assert found.passing is not None and found.failing is not None
    low, high = sorted((found.passing, found.failing))
    assert low < border <= high <= low + 2 * unit


@given(st.randoms(use_true_random=False), st.integers(20, 2000), st.integers(2, 40), st.integers(8, 60))
def test_whatever_the_noise_no_end_is_contradicted_by_any_trial(
    rng: Any, border: int, noise: int, max_trials: int
) -> None:
    search = of_limits(max_trials=max_trials)
    trials, found = searched(search, lambda limit: limit + rng.uniform(-noise, noise) >= border)
    for trial in trials:
        if found.passing is not None and trial.value >= found.passing:
            assert trial.passed
        if found.failing is not None and trial.value <= found.failing:
            assert not trial.passed
    assert not found.is_confirmed or min(found.passes, found.failures) >= 2


@pytest.mark.parametrize("wrong", [{"start": 5000}, {"step": 0}, {"unit": 0}, {"repeats": 0}, {"max_trials": 0}])
def test_a_search_that_makes_no_sense_is_a_value_error(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a search needs"):
        of_limits(**wrong)
