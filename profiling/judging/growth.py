"""Does memory grow with the requests? A slope in bytes per request with a 95 % interval.

The slope is Theil and Sen's: the median of the pairwise slopes between one reading per half second, after the warm-up.
The interval is Sen's: Estimates of the regression coefficient based on Kendall's tau, Journal of the American Statistical
Association 63 (1968), section 3. Readings within a bin are reduced to their minimum: what a request holds while it is
answered is no growth.

NumPy and not scipy.stats.theilslopes: the reference backend may live in the same environment, and transformers imports
scipy wherever it finds it, which would cost that backend 20 MiB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from profiling.values import RunResult

_BIN_NS = 500_000_000
_WARM_UP_SHARE = 0.4
_WARM_UP_REQUESTS = 500
"""What is left out, whichever ends later: pools, arenas and caches fill, and a forked worker unshares the pages that it
touches. A service with 16 threads still gains some KiB with each of its first few hundred requests."""
_FEWEST_BINS = 8
_NORMAL_QUANTILE = 1.959964  # 97.5 %
_FEWEST_REQUESTS = 500
"""With fewer after the warm-up, a page more or less would read as a leak of a KiB per request."""


class Growth(NamedTuple):
    """Bytes per answered request, with the ends of the 95 % interval."""

    slope: float
    low: float
    high: float


def growth_per_request(
    samples: NDArray[np.void], answered_ns: NDArray[np.int64], result: RunResult
) -> Growth | None:
    """Growth of unreclaimable memory per answered request under steady load; None where there is too little to say.

    None as well where a process came or went meanwhile: a restart resets what had grown.
    """
    if result.load_start_ns is None or result.load_end_ns is None or not len(samples):
        return None
    answered_ns = np.sort(answered_ns)
    if len(answered_ns) < _WARM_UP_REQUESTS + _FEWEST_REQUESTS:
        return None
    start = max(
        result.load_start_ns + int((result.load_end_ns - result.load_start_ns) * _WARM_UP_SHARE),
        int(answered_ns[_WARM_UP_REQUESTS]),
    )
    within = samples[(samples["t_ns"] >= start) & (samples["t_ns"] <= result.load_end_ns)]
    if not len(within) or within["births"][0] != within["births"][-1] or within["exits"][0] != within["exits"][-1]:
        return None
    number = (within["t_ns"] - start) // _BIN_NS
    edges = np.flatnonzero(np.diff(number, prepend=-1))
    floor = np.minimum.reduceat(within["unreclaimable"], edges).astype(np.float64)
    served = np.searchsorted(answered_ns, within["t_ns"][edges]).astype(np.float64)
    if len(floor) < _FEWEST_BINS or served[-1] - served[0] < _FEWEST_REQUESTS // 2:
        return None
    return theil_sen(served, floor)


def theil_sen(x: NDArray[np.float64], y: NDArray[np.float64]) -> Growth | None:
    """Slope of y over x with its 95 % interval, robust against outliers; None where no two x differ."""
    first, second = np.triu_indices(len(x), k=1)
    distinct = x[first] != x[second]
    if not distinct.any():
        return None
    slopes = np.sort((y[second] - y[first])[distinct] / (x[second] - x[first])[distinct])
    n = len(x)
    sigma = np.sqrt(n * (n - 1) * (2 * n + 5) / 18 - _ties(x) - _ties(y))
    reach = _NORMAL_QUANTILE * sigma
    low = int(np.clip(round((len(slopes) - reach) / 2) - 1, 0, len(slopes) - 1))
    high = int(np.clip(round((len(slopes) + reach) / 2), 0, len(slopes) - 1))
    return Growth(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))


def _ties(values: NDArray[np.float64]) -> float:
    """What equal values take from the variance of Kendall's S."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) * (2 * counts + 5)).sum() / 18)
