"""The samples of several services as those of one system. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from profiling.measuring.blocks import Blocks
from profiling.measuring.samples import UNMEASURED

Records = NDArray[np.void]
Ints = NDArray[np.int64]
_CUMULATIVE = frozenset({"births", "exits", "oom_kills", "refault_file"})
_PRESSURE = "pressure_full_us"
_GONE_AFTER_NS = 500_000_000
"""A service that was not sampled for so long, until the end, holds nothing any more."""
_WINDOW_NS = 300 * 10**9


def total(series: Sequence[Records], ends_ns: Sequence[int] | None = None) -> Records:
    """The sum of all at each moment at which any was sampled, by the last sample of each until then.

    `series`: structured arrays of one dtype, by rising `t_ns`. `ends_ns`: when each was sampled for the last time, where its
    array ends before. Waiting for memory is that of the service that waited most. What is unmeasured in one is so in the sum.
    """
    dtype = series[0].dtype
    ends = ends_ns or [int(records["t_ns"][-1]) if len(records) else 0 for records in series]
    present = [(records, end) for records, end in zip(series, ends, strict=True) if len(records)]
    if not present:
        return np.empty(0, dtype)
    times = _distinct(np.concatenate([records["t_ns"] for records, _ in present]))
    places = [np.searchsorted(records["t_ns"], times, side="right") - 1 for records, _ in present]
    summed = np.empty(len(times), dtype)
    summed["t_ns"] = times
    for name in dtype.names or ():
        if name != "t_ns":
            summed[name] = _total_of(name, times, present, places)
    return summed


def _total_of(name: str, times: Ints, present: Sequence[tuple[Records, int]], places: Sequence[Ints]) -> Ints:
    """One field's sum at the times; `places`: of each series the number of its last sample at each, -1: there is none yet."""
    added, unmeasured = np.zeros(len(times), np.int64), np.zeros(len(times), bool)
    for (records, end_ns), index in zip(present, places, strict=True):
        counts = index >= 0
        if name not in _CUMULATIVE and name != _PRESSURE:
            counts &= times <= end_ns + _GONE_AFTER_NS
        values = np.ascontiguousarray(records[name])[index.clip(0)]
        known = values != UNMEASURED
        if not known.all():
            unmeasured |= counts & ~known
            counts &= known
        values = np.where(counts, values, 0)
        added = np.maximum(added, values) if name == _PRESSURE else added + values
    added[unmeasured] = UNMEASURED
    return added


def _distinct(times: Ints) -> Ints:
    """Sorted; what is made of a few sorted parts is so soon."""
    ordered = np.sort(times, kind="stable")
    distinct: Ints = ordered[np.diff(ordered, prepend=ordered[0] - 1) > 0]
    return distinct


class Summed:
    """`total` of whole series, a window of time after the other, so that no more than that is in memory at once."""

    def __init__(
        self,
        parts: Sequence[Blocks],
        start_ns: int | None = None,
        end_ns: int | None = None,
        names: tuple[str, ...] | None = None,
    ) -> None:
        """Of the sums those from `start_ns` on and before `end_ns`, None: no bound; of these the fields `names`, None: all."""
        spans = [part.span() for part in parts]
        there = [span for span in spans if span is not None]
        self._parts = parts
        self._ends_ns = [0 if span is None else span[1] for span in spans]
        first = min((first for first, _ in there), default=0)
        last = max((last for _, last in there), default=-1)
        self._start_ns = first if start_ns is None else max(start_ns, first)
        self._end_ns = last + 1 if end_ns is None else min(end_ns, last + 1)
        self._names = names
        whole = parts[0].dtype
        self.dtype = whole if names is None else np.dtype([(name, whole[name]) for name in names])

    def between(self, start_ns: int | None, end_ns: int | None) -> Summed:
        start = self._start_ns if start_ns is None else max(start_ns, self._start_ns)
        end = self._end_ns if end_ns is None else min(end_ns, self._end_ns)
        return Summed(self._parts, start, end, self._names)

    def only(self, *names: str) -> Summed:
        return Summed(self._parts, self._start_ns, self._end_ns, tuple(dict.fromkeys(("t_ns", *names))))

    def ends(self) -> Records:
        starts = range(self._start_ns, self._end_ns, _WINDOW_NS)
        first = next((found for at in starts if len(found := self._window(at))), None)
        last = next((found for at in reversed(starts) if len(found := self._window(at))), None)
        if first is None or last is None:
            return np.empty(0, self.dtype)
        return np.concatenate([first[:1], last[-1:]])

    def __iter__(self) -> Iterator[Records]:
        for at in range(self._start_ns, self._end_ns, _WINDOW_NS):
            summed = self._window(at)
            if len(summed):
                yield summed

    def _window(self, start_ns: int) -> Records:
        """The sums in the window that begins then."""
        end_ns = min(start_ns + _WINDOW_NS, self._end_ns)
        summed = total([self._of(part, start_ns, end_ns) for part in self._parts], self._ends_ns)
        return summed[summed["t_ns"] >= start_ns]

    def _of(self, part: Blocks, start_ns: int, end_ns: int) -> Records:
        """A service's samples in a window, after the last one before it, which holds until the next."""
        found = np.concatenate([part.last_before(start_ns), *part.between(start_ns, end_ns)])
        return found if self._names is None else found[list(self._names)].astype(self.dtype)
