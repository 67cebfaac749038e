"""Which line of a function tells most of what changed in it, though its lines may have moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MOST_LINES = 60
"""A function with more lines that hold memory is compared by line numbers alone: the other way takes the square of it."""


def telling_line(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Of a function's lines (line -> bytes) the one that grew most, by its number after; where none grew, the one that
    held most. 0 where nothing is known."""
    grown = _growth(before, after)
    if grown and max(grown.values()) > 0:
        return max(grown, key=lambda line: (grown[line], after[line]))
    held = after or before
    return max(held, key=lambda line: held[line], default=0)


def _growth(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    """By how much each line of `after` grew against the line of `before` that it was."""
    if max(len(before), len(after)) > _MOST_LINES:
        return {line: size - before.get(line, 0) for line, size in after.items()}
    old, new = sorted(before), sorted(after)
    partners = _partners([before[line] for line in old], [after[line] for line in new])
    return {line: after[line] - (0 if at is None else before[old[at]]) for line, at in zip(new, partners, strict=True)}


def _partners(old: Sequence[int], new: Sequence[int]) -> list[int | None]:
    """For each size of `new` the position in `old` of what it was, in the same order, so that the least bytes in all
    came or went: the alignment of two sequences (Needleman and Wunsch, 1970)."""
    costs = [[sum(new[:count]) for count in range(len(new) + 1)]]
    for size in old:
        above = costs[-1]
        row = [above[0] + size]
        for at, other in enumerate(new):
            row.append(min(above[at] + abs(size - other), above[at + 1] + size, row[at] + other))
        costs.append(row)
    partners: list[int | None] = [None] * len(new)
    i, j = len(old), len(new)
    while i and j:
        if costs[i][j] == costs[i - 1][j - 1] + abs(old[i - 1] - new[j - 1]):
            partners[j - 1] = i - 1
            i, j = i - 1, j - 1
        elif costs[i][j] == costs[i - 1][j] + old[i - 1]:
            i -= 1
        else:
            j -= 1
    return partners
