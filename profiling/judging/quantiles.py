"""Exact quantiles of more numbers than fit into memory. Pure.

The numbers are gone through several times: first for the ends of their range, then to count them in equal parts of it, then
to sort those in the parts that hold the ranks that are asked for; a part with too many is divided again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Values = Callable[[], Iterator[Ints]]
"""The numbers, anew each time it is called."""
_SORTED_AT_MOST = 1_000_000
_PARTS = 65_536


def percentiles(values: Values, wanted: Sequence[float], at_once: int = _SORTED_AT_MOST) -> list[float] | None:
    """The percentiles `wanted` (0..100), between two numbers in proportion, as NumPy does it. None: there is no number.

    `at_once`: so many numbers are sorted together at most.
    """
    count, low, high = 0, 0, 0
    for block in values():
        if len(block):
            least, most = int(block.min()), int(block.max())
            low, high = (min(low, least), max(high, most)) if count else (least, most)
            count += len(block)
    if not count:
        return None
    places = [share / 100 * (count - 1) for share in wanted]
    ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
    found = _at(values, low, high, count, ranks, at_once)
    return [_between(found[math.floor(place)], found[math.ceil(place)], place % 1) for place in places]


def _between(lower: int, upper: int, share: float) -> float:
    return lower + (upper - lower) * share


def _at(values: Values, low: int, high: int, count: int, ranks: Sequence[int], at_once: int) -> dict[int, int]:
    """The number at each rank, from 0, among the `count` numbers from `low` to `high`."""
    if low == high:
        return dict.fromkeys(ranks, low)
    if count <= at_once:
        ordered = np.sort(np.concatenate([block[(block >= low) & (block <= high)] for block in values()]))
        return {rank: int(ordered[rank]) for rank in ranks}
    width = (high - low) // _PARTS + 1
    counts = np.zeros(_PARTS, np.int64)
    for block in values():
        inside = block[(block >= low) & (block <= high)]
        counts += np.bincount((inside - low) // width, minlength=_PARTS)
    ends = np.cumsum(counts)
    found: dict[int, int] = {}
    parts = np.searchsorted(ends, ranks, side="right")
    for part in np.unique(parts):
        before = int(ends[part] - counts[part])
        mine = [rank for rank, where in zip(ranks, parts, strict=True) if where == part]
        start = low + int(part) * width
        end = min(high, start + width - 1)
        deeper = _at(values, start, end, int(counts[part]), [rank - before for rank in mine], at_once)
        found |= {rank + before: number for rank, number in deeper.items()}
    return found
