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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from profiling.values import RunResult

_BIN_NS = 500_000_000
"""One reading per half second, the smallest in it: what a request holds while it is answered is no growth."""
FIRST_REQUESTS = 100
"""Left out: a first pass through the code allocates what it keeps."""
_FEWEST_REQUESTS = 200
_FEWEST_BINS = 12
MIN_ANSWERS = FIRST_REQUESTS + _FEWEST_REQUESTS
MIN_LOAD_S = _FEWEST_BINS * _BIN_NS / 1e9
"""With less there is no figure."""
_NORMAL_QUANTILE = 1.959964  # 97.5 %

Floats = NDArray[np.float64]


class Growth(NamedTuple):
    """Bytes per answered request, with the ends of the 95 % interval."""

    slope: float
    low: float
    high: float


def growth_per_request(samples: NDArray[np.void], answered_ns: NDArray[np.int64], result: RunResult) -> Growth | None:
    """Growth of unreclaimable memory per answered request under load; None where there is too little to say.

    None as well where a process came or went meanwhile: a restart resets what had grown.
    """
    if result.load_start_ns is None or result.load_end_ns is None or not len(samples):
        return None
    answered_ns = np.sort(answered_ns)
    if len(answered_ns) < FIRST_REQUESTS + _FEWEST_REQUESTS:
        return None
    start = int(answered_ns[FIRST_REQUESTS])
    within = samples[(samples["t_ns"] >= start) & (samples["t_ns"] <= result.load_end_ns)]
    if not len(within) or within["births"][0] != within["births"][-1] or within["exits"][0] != within["exits"][-1]:
        return None
    edges = np.flatnonzero(np.diff((within["t_ns"] - start) // _BIN_NS, prepend=-1))
    floor = np.minimum.reduceat(within["unreclaimable"], edges).astype(np.float64)
    served = np.searchsorted(answered_ns, within["t_ns"][edges]).astype(np.float64)
    if len(floor) < _FEWEST_BINS or served[-1] - served[0] < _FEWEST_REQUESTS // 2:
        return None
    return fit(served, floor)


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
