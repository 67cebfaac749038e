"""Fewer points for the same picture: what is left out would not have been seen, extremes always stay."""

from __future__ import annotations

import numpy as np

from profiling.judging.report import Array

_GAPS_AT_MOST = 100


def thin(t_s: Array, values: Array, buckets: int) -> tuple[Array, Array]:
    """The curve with the lowest and the highest point of each of `buckets` equal stretches of time.

    `t_s` ascends. Points that are not finite are left out; a NaN stands where the curve has a gap far
    longer than its usual spacing (and at least 1 s), so that a line breaks there. At most 2 * buckets + 2
    points and three more per gap come back, in order of time, the first and the last point among them.
    """
    finite = np.isfinite(t_s) & np.isfinite(values)
    t_s, values = t_s[finite], values[finite]
    if t_s.size < 2:
        return t_s, values
    span = float(t_s[-1] - t_s[0])
    steps = np.diff(t_s)
    before_gap = np.flatnonzero(steps > max(1.0, 8 * float(np.median(steps)), span / _GAPS_AT_MOST))
    if t_s.size > 2 * buckets + 2 and span > 0:
        keep = np.union1d(_extremes(t_s, values, span, buckets), np.concatenate([before_gap, before_gap + 1]))
    else:
        keep = np.arange(t_s.size)
    breaks = np.searchsorted(keep, before_gap) + 1
    return np.insert(t_s[keep], breaks, t_s[before_gap]), np.insert(values[keep], breaks, np.nan)


def _extremes(t_s: Array, values: Array, span: float, buckets: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    bucket = np.minimum((t_s - t_s[0]) / span * buckets, buckets - 1).astype(np.intp)
    by_value = np.lexsort((values, bucket))
    first = np.flatnonzero(np.diff(bucket[by_value], prepend=-1))
    last = np.append(first[1:] - 1, t_s.size - 1)
    return np.unique(np.concatenate([[0, t_s.size - 1], by_value[first], by_value[last]]))


def rebin(values: Array, bins: int) -> tuple[Array, int]:
    """Means over runs of neighbouring bins so that at most `bins` are left, and how many went into one.

    What is not finite counts as 0.
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    each = max(1, -(-values.size // max(1, bins)))
    if each == 1:
        return values, 1
    starts = np.arange(0, values.size, each)
    counts = np.minimum(each, values.size - starts)
    return np.add.reduceat(values, starts) / counts, each
