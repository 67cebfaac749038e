"""The samples of several services as those of one system. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from profiling.measuring.blocks import Blocks
from profiling.measuring.samples import UNMEASURED

Records = NDArray[np.void]
_CUMULATIVE = frozenset({"births", "exits", "oom_kills", "refault_file"})
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
    times = np.unique(np.concatenate([records["t_ns"] for records, _ in present]))
    summed = np.zeros(len(times), dtype)
    summed["t_ns"] = times
    unmeasured = {name: np.zeros(len(times), bool) for name in dtype.names or ()}
    for records, end_ns in present:
        index = np.searchsorted(records["t_ns"], times, side="right") - 1
        begun = index >= 0
        there = begun & (times <= end_ns + _GONE_AFTER_NS)
        last = records[index.clip(0)]
        for name in dtype.names or ():
            if name == "t_ns":
                continue
            counts = begun if name in _CUMULATIVE or name == "pressure_full_us" else there
            known = last[name] != UNMEASURED
            unmeasured[name] |= counts & ~known
            values = np.where(counts & known, last[name], 0)
            if name == "pressure_full_us":
                summed[name] = np.maximum(summed[name], values)
            else:
                summed[name] += values
    for name, missing in unmeasured.items():
        if name != "t_ns":
            summed[name][missing] = UNMEASURED
    return summed


class Summed:
    """`total` of whole series, a window of time after the other, so that no more than that is in memory at once."""

    def __init__(self, parts: Sequence[Blocks], start_ns: int | None = None, end_ns: int | None = None) -> None:
        """Of the sums those from `start_ns` on and before `end_ns`; None: no bound."""
        self._parts = parts
        self._spans = [part.span() for part in parts]
        self._start_ns, self._end_ns = start_ns, end_ns
        self.dtype = parts[0].dtype

    def between(self, start_ns: int | None, end_ns: int | None) -> Summed:
        starts = [at for at in (self._start_ns, start_ns) if at is not None]
        ends = [at for at in (self._end_ns, end_ns) if at is not None]
        return Summed(self._parts, max(starts, default=None), min(ends, default=None))

    def __iter__(self) -> Iterator[Records]:
        spans = [span for span in self._spans if span is not None]
        if not spans:
            return
        begin = min(first for first, _ in spans) if self._start_ns is None else self._start_ns
        begin = max(begin, min(first for first, _ in spans))
        end = max(last for _, last in spans) + 1
        end = end if self._end_ns is None else min(end, self._end_ns)
        ends = [0 if span is None else span[1] for span in self._spans]
        while begin < end:
            until = min(begin + _WINDOW_NS, end)
            summed = total([self._window(part, begin, until) for part in self._parts], ends)
            summed = summed[summed["t_ns"] >= begin]
            if len(summed):
                yield summed
            begin = until

    def _window(self, part: Blocks, start_ns: int, end_ns: int) -> Records:
        """A service's samples in it, after the last one before it, which holds until the next."""
        return np.concatenate([part.last_before(start_ns), *part.between(start_ns, end_ns)])
