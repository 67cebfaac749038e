"""Which bytes of an address space are in memory, and how many of them a set of address ranges holds. Pure arithmetic.

Ranges are pairs of int64 arrays, starts and exclusive ends. Addresses stay below 2**47, so that float64 holds them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Addresses = NDArray[np.int64]
Ranges = tuple[Addresses, Addresses]
Sizes = NDArray[np.float64]

NOTHING: Ranges = (np.empty(0, np.int64), np.empty(0, np.int64))


class Residency:
    """The resident bytes below each address; a page that several processes share counts with this one's part of it."""

    def __init__(self, runs: Iterable[tuple[int, NDArray[np.float64]]], page: int) -> None:
        """`runs`: start of a mapping and, for each of its pages, the part that counts. By address, none overlapping."""
        at: list[NDArray[np.float64]] = []
        grows: list[NDArray[np.float64]] = []
        for start, weights in runs:
            if not len(weights):
                continue
            edges = np.concatenate(([0], np.flatnonzero(np.diff(weights)) + 1, [len(weights)]))
            at.append(start + edges * float(page))
            # Up to a mapping's first edge nothing is added.
            grows.append(np.concatenate(([0.0], weights[edges[:-1]] * np.diff(edges) * page)))
        self._at = np.concatenate(at) if at else np.zeros(1)
        self._sum = np.cumsum(np.concatenate(grows)) if grows else np.zeros(1)

    @property
    def total(self) -> float:
        return float(self._sum[-1])

    def within(self, ranges: Ranges) -> Sizes:
        """The resident bytes of each range."""
        return np.interp(ranges[1], self._at, self._sum) - np.interp(ranges[0], self._at, self._sum)


def union(*parts: Ranges) -> Ranges:
    """All addresses that lie in any of the ranges, as ranges that do not touch one another, by address."""
    starts = np.concatenate([part[0] for part in parts])
    ends = np.concatenate([part[1] for part in parts])
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    if not len(starts):
        return NOTHING
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    first = np.flatnonzero(np.concatenate(([True], starts[1:] > reach[:-1])))
    last = np.concatenate((first[1:] - 1, [len(starts) - 1]))
    return starts[first], reach[last]


def clipped(ranges: Ranges) -> Ranges:
    """The same ranges by address, each cut off where the next begins, and none below where one before has reached."""
    order = np.argsort(ranges[0], kind="stable")
    starts, ends = ranges[0][order], ranges[1][order]
    if len(starts):
        ends = np.minimum(ends, np.append(starts[1:], np.iinfo(np.int64).max))
    return starts, np.maximum(starts, ends)


def beyond(resident: Residency, ranges: Ranges, taken: Ranges) -> Sizes:
    """The resident bytes of each range that lie in none of `taken`, which is a `union`."""
    covered = resident.within(taken)
    sums = np.concatenate(([0.0], np.cumsum(covered)))

    def below(addresses: Addresses) -> Sizes:
        """Resident bytes of `taken` below each address."""
        if not len(taken[0]):
            return np.zeros(len(addresses))
        at = np.searchsorted(taken[0], addresses, side="right")
        inside = at > 0
        last = np.maximum(at - 1, 0)
        over: Sizes = resident.within((np.minimum(addresses, taken[1][last]), taken[1][last]))
        return np.where(inside, sums[at] - over, 0.0)

    return resident.within(ranges) - (below(ranges[1]) - below(ranges[0]))
