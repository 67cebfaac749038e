from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.ledger.residency import NOTHING, Ranges, Residency, beyond, clipped, union

PAGE = 16
_START = 3 * PAGE
_PAGES = 12
_END = _START + 2 * _PAGES * PAGE + PAGE


def ranges(pairs: list[tuple[int, int]]) -> Ranges:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


spans = st.lists(
    st.tuples(st.integers(0, _END + PAGE), st.integers(0, 5 * PAGE)).map(lambda at: (at[0], at[0] + at[1])), max_size=8
)
parts = st.lists(st.sampled_from((0.0, 0.25, 1.0)), min_size=_PAGES, max_size=_PAGES)


def by_hand(first: list[float], second: list[float]) -> np.ndarray:
    """What each byte counts."""
    counts = np.zeros(_END + 10 * PAGE)
    for start, weights in ((_START, first), (_START + (_PAGES + 1) * PAGE, second)):
        for at, weight in enumerate(weights):
            counts[start + at * PAGE : start + (at + 1) * PAGE] = weight
    return counts


@given(parts, parts, spans)
def test_resident_bytes_of_ranges(first: list[float], second: list[float], asked: list[tuple[int, int]]) -> None:
    counts = by_hand(first, second)
    gap = _START + (_PAGES + 1) * PAGE
    resident = Residency([(_START, np.array(first)), (gap, np.array(second))], PAGE)
    assert resident.total == pytest.approx(counts.sum())
    assert list(resident.within(ranges(asked))) == pytest.approx([counts[start:end].sum() for start, end in asked])


@given(spans, spans)
def test_a_union_holds_what_any_of_them_holds(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    starts, ends = union(ranges(one), ranges(other))
    assert (ends > starts).all()
    assert (starts[1:] > ends[:-1]).all()
    wanted = {at for start, end in (*one, *other) for at in range(start, end)}
    assert {at for start, end in zip(starts, ends, strict=True) for at in range(start, end)} == wanted


@given(parts, spans, spans)
def test_what_lies_beyond(weights: list[float], asked: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    counts = by_hand(weights, [0.0] * _PAGES)
    resident = Residency([(_START, np.array(weights))], PAGE)
    expected = counts.copy()
    for start, end in taken:
        expected[start:end] = 0
    found = beyond(resident, ranges(asked), union(ranges(taken)))
    assert list(found) == pytest.approx([expected[start:end].sum() for start, end in asked])


@given(spans)
def test_clipped_ranges_do_not_overlap(asked: list[tuple[int, int]]) -> None:
    starts, ends = clipped(ranges(asked))
    assert (starts[1:] >= ends[:-1]).all()
    assert (ends >= starts).all()


def test_nothing_is_nothing() -> None:
    empty = Residency([], PAGE)
    assert empty.total == 0
    assert list(empty.within(ranges([(0, 99)]))) == [0]
    assert list(beyond(empty, NOTHING, NOTHING)) == []
    assert union(NOTHING, NOTHING)[0].size == 0
