from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.stacks.lines import telling_line

SIZES = st.dictionaries(st.integers(1, 500), st.integers(1, 10**9), max_size=12)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({4: 100}, {4: 140}, 4),
        ({4: 100}, {4: 100, 9: 40}, 9),
        # Moved by two lines, and one came in between.
        ({4: 100, 8: 7}, {6: 100, 8: 40, 10: 7}, 8),
        ({4: 100, 5: 60}, {6: 60}, 6),
        ({4: 100, 5: 60}, {}, 4),
        ({}, {7: 5, 9: 6}, 9),
        ({}, {}, 0),
        ({4: 100, 5: 60}, {4: 100, 5: 60}, 4),
    ],
)
def test_the_line_that_grew_though_lines_moved(before: dict[int, int], after: dict[int, int], line: int) -> None:
    assert telling_line(before, after) == line


@given(before=SIZES, shift=st.integers(0, 100), at=st.integers(0, 12), grown=st.integers(1, 10**6))
def test_lines_that_only_moved_are_not_blamed(before: dict[int, int], shift: int, at: int, grown: int) -> None:
    """All lines move down; a new one among them is the one that grew, unless it takes an equal one's place."""
    lines = sorted(before)
    new = ([0, *lines, 501][min(at, len(lines))]) * 2 + 1  # between two of them, once these are doubled
    after = {2 * line + 2 * shift: size for line, size in before.items()} | {new + 2 * shift: grown}
    told = telling_line(before, after)
    assert told in after
    if grown not in before.values():
        assert after[told] >= min([grown, *before.values()])
    if not before:
        assert told == new + 2 * shift


@given(before=SIZES, after=SIZES)
def test_it_is_always_one_of_them(before: dict[int, int], after: dict[int, int]) -> None:
    assert telling_line(before, after) in (set(after or before) or {0})


def test_a_function_of_endless_lines_is_compared_by_number() -> None:
    before = dict.fromkeys(range(1, 2000), 10)
    assert telling_line(before, {**before, 1_500: 11}) == 1_500
