"""Quantiles of what comes in blocks are those of the whole, however few numbers are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.judging.quantiles import percentiles

NUMBERS = st.lists(
    st.one_of(st.integers(-5, 5), st.integers(0, 10**6), st.integers(-(10**15), 10**15)), min_size=1, max_size=200
)


def in_blocks(numbers: list[int], size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(numbers), size):
        yield np.array(numbers[start : start + size], np.int64)
    yield np.empty(0, np.int64)


@settings(deadline=None)
@given(NUMBERS, st.lists(st.floats(0, 100), min_size=1, max_size=4), st.integers(1, 50), st.sampled_from([1, 3, 1000]))
def test_they_are_those_that_numpy_finds_in_the_whole(
    numbers: list[int], wanted: list[float], size: int, at_once: int
) -> None:
    found = percentiles(lambda: in_blocks(numbers, size), wanted, at_once)
    assert found == pytest.approx(np.percentile(numbers, wanted).tolist(), rel=1e-9, abs=1e-6)


def test_more_equal_numbers_than_are_sorted_at_once_are_no_hindrance() -> None:
    numbers = [7] * 5000 + [8] * 3 + [10**12]
    assert percentiles(lambda: in_blocks(numbers, 64), [50, 99.96, 100], at_once=2) == pytest.approx(
        np.percentile(numbers, [50, 99.96, 100]).tolist()
    )


def test_of_nothing_there_is_none() -> None:
    assert percentiles(lambda: iter([]), [50]) is None
