"""The straight line: intervals that hold as often as they say, by value and by simulation with seeded noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.straight import fit, quantile

LOADS = (1.0, 2.0, 4.0, 8.0, 16.0, 12.0, 14.0, 14.0)
DRAWS = 2000


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (10, 2.228), (30, 2.042)]
)
def test_quantiles_are_those_of_the_tables(freedom: int, t: float) -> None:
    assert quantile(freedom) == pytest.approx(t, abs=5e-4)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    slope = start = foretold = bent = 0
    for _ in range(DRAWS):
        line = fit(LOADS, (50 + 8 * np.array(LOADS) + rng.normal(0, 2, len(LOADS))).tolist())
        assert line is not None
        slope += line.slope.low <= 8 <= line.slope.high
        start += line.start.low <= 50 <= line.start.high
        _, low, high = line.foretell(140)
        foretold += low <= 50 + 8 * 140 + rng.normal(0, 2) <= high
        bent += not line.is_straight
    for covered in (slope, start, foretold):
        assert 0.93 < covered / DRAWS < 0.97
    assert bent / DRAWS < 0.05


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(1, 500))
def test_points_on_a_line_give_that_line(start: int, slope: int, beyond: int) -> None:
    line = fit(LOADS, [start + slope * x for x in LOADS])
    assert line is not None
    assert line.slope.estimate == pytest.approx(slope, abs=1e-6)
    assert line.foretell(beyond).estimate == pytest.approx(start + slope * beyond, abs=1e-5)
    assert line.is_straight


def test_what_is_foretold_farther_off_is_less_sure() -> None:
    line = fit(LOADS, [50 + 8 * x + (-1) ** n for n, x in enumerate(LOADS)])
    assert line is not None
    near, far = (line.foretell(x) for x in (10, 1000))
    assert far.high - far.low > 10 * (near.high - near.low)


def test_what_bends_is_no_line() -> None:
    pool = fit(LOADS, [50 + 8 * min(x, 6) for x in LOADS])
    steeper = fit(LOADS, [50 + x**2 for x in LOADS])
    hardly = fit(LOADS, [50 + 8 * x + 0.02 * x**2 for x in LOADS])
    assert pool is not None
    assert steeper is not None
    assert hardly is not None
    assert (pool.is_straight, steeper.is_straight, hardly.is_straight) == (False, False, True)
    assert pool.bend < 0 < steeper.bend


@pytest.mark.parametrize("loads", [(), (1, 2, 3), (1, 2, 1, 2, 1)])
def test_too_few_points_are_no_line(loads: tuple[float, ...]) -> None:
    assert fit(loads, [1.0] * len(loads)) is None
