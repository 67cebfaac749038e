"""The lines of a function before and after laid over one another, though they may have moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MOST_LINES = 60
"""A function with more lines that hold memory is compared by line numbers alone: the other way takes the square of it."""


@dataclass(frozen=True, slots=True)
class MatchedLine:
    """A line and what it held on both sides, in bytes."""

    line: int
    """Its number after; where it is gone, before."""
    before: int
    after: int


def telling_line(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Of a function's lines (line -> bytes) the one that grew most, by its number after; where none grew, the one that
    held most. 0 where nothing is known."""
    lines = matched(before, after)
    grown = max(lines, key=lambda line: (line.after - line.before, line.after), default=None)
    if grown is None or grown.after > grown.before:
        return grown.line if grown else 0
    held = after or before
    return max(held, key=lambda line: held[line])


def matched(before: Mapping[int, int], after: Mapping[int, int]) -> list[MatchedLine]:
    """Which line (line -> bytes) of one side was which of the other, in order; none of either is left out."""
    if len(before) > _MOST_LINES or len(after) > _MOST_LINES:
        pairs = {line: line for line in before if line in after}
    else:
        pairs = _pairs(sorted(before.items()), sorted(after.items()))
    gone = set(before) - set(pairs.values())
    found = [MatchedLine(line, before[pairs[line]] if line in pairs else 0, size) for line, size in after.items()]
    return [*found, *(MatchedLine(line, before[line], 0) for line in gone)]


_SAME_SHARE = 50
"""Sizes are the same if they differ by less than one part of so many."""
_Cost = tuple[int, int, int, int]
"""Bytes that came or went; pairs of lines that are not the same; how far in all the shift of the lines changes from pair to
pair; how far they are shifted in all."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """The best way to here."""

    cost: _Cost
    shift: int
    """Of the last pair."""
    came: tuple[int, int] | None
    """From where: a step in both directions is a pair."""

    def past(self, came: tuple[int, int], size: int) -> _Cell:
        """A line of one side alone."""
        moved, changed, bends, far = self.cost
        return _Cell((moved + size, changed, bends, far), self.shift, came)

    def pair(self, came: tuple[int, int], old: tuple[int, int], new: tuple[int, int]) -> _Cell:
        """A line of both; each its number and bytes."""
        moved, changed, bends, far = self.cost
        shift, off = new[0] - old[0], abs(new[1] - old[1])
        differs = off * _SAME_SHARE > max(old[1], new[1])
        return _Cell((moved + off, changed + differs, bends + abs(shift - self.shift), far + abs(shift)), shift, came)


def _pairs(old: list[tuple[int, int]], new: list[tuple[int, int]]) -> dict[int, int]:
    """Lines after -> lines before, by an alignment of both sequences (Needleman and Wunsch, 1970): the least bytes come or
    go. That alone seldom decides where memory only grew: then lines that held as much before are the same, and the lines
    shift as seldom and as little as can be, as they do where some came in above them."""
    cells: dict[tuple[int, int], _Cell] = {(0, 0): _Cell((0, 0, 0, 0), 0, None)}
    for i in range(len(old) + 1):
        for j in range(len(new) + 1):
            ways = []
            if i and j:
                ways.append(cells[i - 1, j - 1].pair((i - 1, j - 1), old[i - 1], new[j - 1]))
            if i:
                ways.append(cells[i - 1, j].past((i - 1, j), old[i - 1][1]))
            if j:
                ways.append(cells[i, j - 1].past((i, j - 1), new[j - 1][1]))
            if ways:
                cells[i, j] = min(ways, key=lambda cell: cell.cost)
    pairs = {}
    at = (len(old), len(new))
    while (came := cells[at].came) is not None:
        if came == (at[0] - 1, at[1] - 1):
            pairs[new[came[1]][0]] = old[came[0]][0]
        at = came
    return pairs
