"""The change of one side against another: by value, by counting every order, and how often its interval is wrong."""

from __future__ import annotations

import itertools
from math import comb, inf, isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.change import Change, _rank_sums, difference, relative

sizes = st.integers(1, 7)
sides = st.lists(st.floats(1, 1e9), min_size=1, max_size=8)


@given(sizes, sizes)
def test_the_null_distribution_is_that_of_every_order(base: int, head: int) -> None:
    counted = [0] * (base * head + 1)
    for places in itertools.combinations(range(base + head), head):
        counted[sum(place - number for number, place in enumerate(places))] += 1
    assert _rank_sums(base, head) == counted
    assert sum(counted) == comb(base + head, head)


def test_a_change_by_value() -> None:
    found = difference([10, 11, 12, 13], [20, 21, 22, 23], 0.02)
    assert found == Change(10.0, 7.0, 13.0), "of all orders one in seventy: the smallest and the largest difference"
    assert difference([10, 11, 12], [20, 21, 22], 0.02) == Change(10.0, -inf, inf), "three runs are too few for it"
    assert difference([10, 11, 12], [20, 21, 22], 0.05) == Change(10.0, 8.0, 12.0)


def test_a_relative_change_is_of_base() -> None:
    found = relative([100, 100, 100, 100], [103, 103, 103, 103], 0.02)
    assert all(isclose(value, 0.03) for value in found)
    with pytest.raises(ValueError, match="above 0"):
        relative([0, 1], [1, 1], 0.1)
    with pytest.raises(ValueError, match="both sides"):
        difference([], [1], 0.1)


@given(sides, sides, st.floats(0.001, 0.3))
def test_the_estimate_lies_within_its_interval_and_changing_sides_turns_it_round(
    base: list[float], head: list[float], level: float
) -> None:
    found, turned = difference(base, head, level), difference(head, base, level)
    assert found.low <= found.estimate <= found.high
    assert isclose(turned.estimate, -found.estimate, abs_tol=1e-6)
    assert (turned.low, turned.high) == (-found.high, -found.low)


@given(sides, sides, st.floats(0.001, 0.3), st.floats(0.001, 0.3))
def test_a_smaller_error_has_a_wider_interval(base: list[float], head: list[float], one: float, other: float) -> None:
    strict, lax = (difference(base, head, level) for level in sorted((one, other)))
    assert strict.low <= lax.low
    assert strict.high >= lax.high


@given(sides, sides, st.floats(0.5, 2))
def test_it_follows_what_is_measured(base: list[float], head: list[float], factor: float) -> None:
    """Another unit changes no relative change, and head times a factor is that much more."""
    found = relative(base, head, 0.05)
    scaled = relative([value * 1024 for value in base], [value * 1024 for value in head], 0.05)
    grown = relative(base, [value * factor for value in head], 0.05)
    assert isclose(scaled.estimate, found.estimate, rel_tol=1e-6, abs_tol=1e-9)
    assert isclose(1 + grown.estimate, (1 + found.estimate) * factor, rel_tol=1e-6)


@pytest.mark.parametrize("runs", [4, 7, 12])
@pytest.mark.parametrize("noise", ["normal", "exponential", "outliers"])
def test_each_bound_is_wrong_no_more_often_than_it_says(runs: int, noise: str) -> None:
    """By simulation: 3,000 pairs of sets that differ by 5, in noise of any kind. Three standard errors are allowed."""
    rng, level, count = np.random.default_rng(4), 0.05 / 3, 3000
    draw = {
        "normal": lambda: rng.normal(size=runs),
        "exponential": lambda: rng.exponential(size=runs),
        "outliers": lambda: rng.standard_t(1, size=runs),
    }[noise]
    found = [difference(draw().tolist(), (draw() + 5).tolist(), level) for _ in range(count)]
    allowed = level + 3 * (level * (1 - level) / count) ** 0.5
    too_high = sum(change.low > 5 for change in found) / count
    too_low = sum(change.high < 5 for change in found) / count
    assert too_high <= allowed, too_high
    assert too_low <= allowed, too_low
    assert too_high > level / 4, "an interval that is never wrong is wider than it need be"
