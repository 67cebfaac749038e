"""Does memory grow with the requests? Bytes per request with a 95 % interval, told from memory that still settles.

A service settles for long after its start: pools and arenas fill, and a forked worker unshares the pages that it writes
to. That slows down with every request, a leak does not. So the readings are fitted with

    memory(n) = a + b * n + c * log(n),   c >= 0

over the number n of answered requests: b is the growth that does not slow down. The interval is that of least squares
with the autocorrelation of the residuals allowed for: Newey and West, A Simple, Positive Semi-definite,
Heteroskedasticity and Autocorrelation Consistent Covariance Matrix, Econometrica 55 (1987).

A collected heap (V8's, the JVM's, Go's) goes up and down by itself, in teeth of many MiB that can be as long as the whole
load, so that a line through them says little. A rise with a fall beside it is such a tooth: by its height each end of the
line may lie off, and the interval is wider by that at both. A leak alone only rises.

NumPy and not scipy: the reference backend may live in the same environment, and transformers imports scipy wherever it
finds it, which would cost that backend 20 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtests.requestlog import RequestOutcome
from profiling.measuring.blocks import Readings
from profiling.measuring.store import StoredRun

_BIN_NS = 500_000_000
"""One reading per half second, the smallest in it: what a request holds while it is answered is no growth."""
_MOST_BINS = 20_000
"""Over a load of more than 2 h 46 min a reading is of a longer stretch."""
FIRST_REQUESTS = 100
"""Left out: a first pass through the code allocates what it keeps."""
_FEWEST_REQUESTS = 200
_FEWEST_BINS = 12
MIN_ANSWERS = FIRST_REQUESTS + _FEWEST_REQUESTS
MIN_LOAD_S = _FEWEST_BINS * _BIN_NS / 1e9
"""With less there is no figure."""
_NEVER = np.iinfo(np.int64).max
_NORMAL_QUANTILE = 1.959964  # 97.5 %

Floats = NDArray[np.float64]


class Growth(NamedTuple):
    """Bytes per answered request, with the ends of the 95 % interval."""

    slope: float
    low: float
    high: float


def growth_per_request(run: StoredRun) -> Growth | None:
    """Growth of unreclaimable memory per answered request under load; None where there is too little to say.

    None as well where a process came or went meanwhile: a restart resets what had grown.
    """
    result = run.result
    if result.load_start_ns is None or result.load_end_ns is None:
        return None
    start = _first_that_counts(run)
    if start is None:
        return None
    within = run.every_sample.between(start, result.load_end_ns + 1)
    ends = within.ends()
    if not len(ends) or ends["births"][0] != ends["births"][1] or ends["exits"][0] != ends["exits"][1]:
        return None
    at_ns, floor = _floors(within, start, result.load_end_ns)
    served = _served(run, at_ns)
    if len(floor) < _FEWEST_BINS or served[-1] - served[0] < _FEWEST_REQUESTS // 2:
        return None
    return fit(served, floor)


def answered_ns(run: StoredRun) -> Iterator[NDArray[np.int64]]:
    """When each request that was answered as expected had its answer, a block at a time, in no strict order."""
    for block in run.every_request:
        yield block["finished_ns"][block["outcome"] == RequestOutcome.OK]


def _first_that_counts(run: StoredRun) -> int | None:
    """When the first answer came after those that are left out; None where there are too few."""
    earliest, count = np.empty(0, np.int64), 0
    for ended in answered_ns(run):
        count += len(ended)
        earliest = np.sort(np.concatenate([earliest, ended]))[: FIRST_REQUESTS + 1]
    return int(earliest[FIRST_REQUESTS]) if count >= FIRST_REQUESTS + _FEWEST_REQUESTS else None


def _floors(within: Readings, start_ns: int, end_ns: int) -> tuple[NDArray[np.int64], Floats]:
    """Of each bin that has any the time of the first sample and the lowest memory, in bytes."""
    width = max(_BIN_NS, -(-(end_ns - start_ns) // _MOST_BINS))
    bins = max(0, end_ns - start_ns) // width + 1
    first, lowest = np.full(bins, _NEVER), np.full(bins, _NEVER)
    for block in within.only("t_ns", "unreclaimable"):
        number = (block["t_ns"] - start_ns) // width
        edges = np.flatnonzero(np.diff(number, prepend=-1))
        numbers = number[edges]
        first[numbers] = np.minimum(first[numbers], block["t_ns"][edges])
        lowest[numbers] = np.minimum(lowest[numbers], np.minimum.reduceat(block["unreclaimable"], edges))
    there = first != _NEVER
    return first[there], lowest[there].astype(np.float64)


def _served(run: StoredRun, at_ns: NDArray[np.int64]) -> Floats:
    """How many requests had been answered before each of the times, which rise."""
    before = np.zeros(len(at_ns) + 1, np.int64)
    for ended in answered_ns(run):
        before += np.bincount(np.searchsorted(at_ns, ended, side="right"), minlength=len(at_ns) + 1)
    return np.cumsum(before)[:-1].astype(np.float64)


def fit(n: Floats, memory: Floats) -> Growth:
    """b of `memory = a + b * n + c * log(n)` with its interval; n > 0 and growing, at least four readings."""
    linear = np.column_stack([np.ones_like(n), n])
    settling = np.column_stack([linear, np.log(n)])
    factors = np.linalg.lstsq(settling, memory, rcond=None)[0]
    # Memory that speeds up is no settling: then the log may not lend a leak what it takes away elsewhere.
    design = settling if factors[2] > 0 else linear
    factors = np.linalg.lstsq(design, memory, rcond=None)[0]
    slope = float(factors[1])
    reach = _NORMAL_QUANTILE * _newey_west_error(design, memory - design @ factors)
    reach += 2 * _tooth(memory) / float(n[-1] - n[0])
    return Growth(slope, slope - reach, slope + reach)


def _tooth(memory: Floats) -> float:
    """Bytes that memory both rises and falls by."""
    fall = np.maximum.accumulate(memory) - memory
    rise = memory - np.minimum.accumulate(memory)
    return float(min(fall.max(), rise.max()))


def _newey_west_error(design: Floats, residuals: Floats) -> float:
    """Standard error of the second factor; the lag is the customary 4 (N / 100)^(2/9), and a little more."""
    count, columns = design.shape
    scores = design * residuals[:, None]
    spread = scores.T @ scores
    lags = min(count - 1, int(4 * (count / 100) ** (2 / 9)) + 2)
    for lag in range(1, lags + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        spread += (1 - lag / (lags + 1)) * (shifted + shifted.T)
    inverse = np.linalg.pinv(design.T @ design)
    variance = (inverse @ spread @ inverse)[1, 1] * count / (count - columns)
    return float(np.sqrt(max(0.0, variance)))
