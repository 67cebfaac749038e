from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.stacks.lines import MatchedLine, matched, telling_line

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


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({7: 40, 12: 2}, {7: 60, 8: 41, 13: 2}, [(7, 40, 60), (8, 0, 41), (13, 2, 2)]),
        ({4: 100, 8: 7}, {6: 100, 8: 40, 10: 7}, [(6, 100, 100), (8, 0, 40), (10, 7, 7)]),
        ({4: 100, 8: 7}, {3: 7}, [(3, 7, 7), (4, 100, 0)]),
        ({4: 100}, {4: 100}, [(4, 100, 100)]),
        ({}, {4: 1}, [(4, 0, 1)]),
        ({4: 1}, {}, [(4, 1, 0)]),
    ],
)
def test_lines_are_laid_over_one_another(
    before: dict[int, int], after: dict[int, int], lines: list[tuple[int, int, int]]
) -> None:
    assert sorted((m.line, m.before, m.after) for m in matched(before, after)) == lines


@given(before=SIZES, after=SIZES)
def test_no_line_of_either_side_is_lost(before: dict[int, int], after: dict[int, int]) -> None:
    found = matched(before, after)
    assert sum(line.before for line in found) == sum(before.values())
    assert sum(line.after for line in found) == sum(after.values())
    assert sorted(line.line for line in found if line.after) == sorted(after)


@given(before=SIZES, shift=st.integers(0, 100))
def test_lines_that_only_moved_are_no_news(before: dict[int, int], shift: int) -> None:
    moved = {line + shift: size for line, size in before.items()}
    assert sorted(matched(before, moved), key=lambda line: line.line) == [
        MatchedLine(line, size, size) for line, size in sorted(moved.items())
    ]


@given(before=SIZES, after=SIZES)
def test_it_is_always_one_of_them(before: dict[int, int], after: dict[int, int]) -> None:
    assert telling_line(before, after) in (set(after or before) or {0})


def test_a_function_of_endless_lines_is_compared_by_number() -> None:
    before = dict.fromkeys(range(1, 2000), 10)
    assert telling_line(before, {**before, 1_500: 11}) == 1_500
