"""Where things go in the picture: plain arithmetic, in pixels and in the units of the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profiling.judging.report import AnalysedRun, Array
from profiling.units import MIB

GIB = 1024 * MIB
ABOVE_LIMIT = 1.22
"""Room above the limit's line, as a multiple of the limit, for what stands there."""
_FAR = 4.0
_RSS_FITS = 1.6


@dataclass(frozen=True, slots=True)
class MemoryScale:
    """The memory axis that all runs share."""

    top_bytes: float
    unit: str
    unit_bytes: int
    ticks: tuple[float, ...]
    """In `unit`."""

    def shows(self, size: float) -> bool:
        return size <= self.top_bytes


def finite_max(values: Array, default: float = 0.0) -> float:
    """The largest finite value; `default` where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else default


def memory_scale(runs: Sequence[AnalysedRun], ticks_at_most: int = 6) -> MemoryScale:
    """A scale with every limit in view, unless the curves stay so far below one that they could not be read.

    RSS may count shared pages many times over: it widens the scale if that makes it fit, but not by much.
    """
    top = 0.0
    for run in runs:
        limit = float(run.summary.memory_limit_bytes or 0)
        used = max(finite_max(run.memory.unreclaimable), finite_max(run.memory.charged))
        rss = finite_max(run.memory.rss)
        if not limit or 0 < _FAR * max(used, rss) < limit:
            top = max(top, 1.3 * max(used, rss))
        else:
            top = max(top, ABOVE_LIMIT * limit, 1.05 * used, 1.04 * rss if rss < _RSS_FITS * limit else 0.0)
    top = top or float(MIB)
    unit, unit_bytes = ("GiB", GIB) if top >= 10 * GIB else ("MiB", MIB)
    step = 2.0 ** math.ceil(math.log2(top / unit_bytes / (ticks_at_most - 0.5)))
    ticks = tuple(step * n for n in range(int(top / unit_bytes / step) + 1))
    return MemoryScale(top, unit, unit_bytes, ticks)


@dataclass(frozen=True, slots=True)
class Mark:
    """Events that fall together in the picture."""

    at_s: float
    """Where they are marked: their mean."""
    count: int


def group(times_s: Sequence[float], apart_s: float) -> tuple[Mark, ...]:
    """Events as marks, each a group whose first and last are less than `apart_s` from one another."""
    groups: list[list[float]] = []
    for at in sorted(t for t in times_s if math.isfinite(t)):
        if groups and at - groups[-1][0] < apart_s:
            groups[-1].append(at)
        else:
            groups.append([at])
    return tuple(Mark(sum(g) / len(g), len(g)) for g in groups)


def dodge(wanted: Sequence[float], apart: float, low: float, high: float) -> tuple[float, ...]:
    """Positions near the `wanted` ones, in the same order, at least `apart` from one another, in low..high.

    Where there is no room for all within low..high they stand evenly from low to high.
    """
    count = len(wanted)
    if count == 0:
        return ()
    if (count - 1) * apart >= high - low:
        order = np.argsort(wanted, kind="stable")
        even = np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])
        spread = np.empty(count)
        spread[order] = even
        return tuple(spread.tolist())
    order = np.argsort(wanted, kind="stable")
    placed = np.clip(np.asarray(wanted, dtype=float)[order], low, high)
    for i in range(1, count):
        placed[i] = max(placed[i], placed[i - 1] + apart)
    placed[-1] = min(placed[-1], high)
    for i in range(count - 2, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - apart)
    spread = np.empty(count)
    spread[order] = placed
    return tuple(spread.tolist())


def end_s(run: AnalysedRun) -> float:
    """The last moment of a run that the picture shows, in seconds since its start."""
    ends = [finite_max(run.memory.t_s), finite_max(run.load.t_s, -1.0) + 1, *run.kills_s]
    ends += [*(run.load_s or ()), run.ready_s or 0.0, 0.0]
    return max(ends)
