"""Does memory grow with the requests? A slope in bytes per request with a 95 % interval.

The slope is Theil and Sen's median of pairwise slopes over one reading per half second, after the warm-up; the interval
is Sen's (1968), by scipy.stats.theilslopes. Readings within a bin are reduced to their minimum: what a request holds
while it is answered is no growth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from profiling.values import RunResult

_BIN_NS = 500_000_000
_WARM_UP_SHARE = 0.4
"""The part of the load that is left out: pools, arenas and caches fill in it."""
_FEWEST_BINS = 8


class Growth(NamedTuple):
    """Bytes per answered request, with the ends of the 95 % interval."""

    slope: float
    low: float
    high: float


def growth_per_request(
    samples: NDArray[np.void], answered_ns: NDArray[np.int64], result: RunResult
) -> Growth | None:
    """Growth of unreclaimable memory per answered request under steady load; None where there is too little to say.

    Only the longest stretch without a process coming or going counts: a restart resets what had grown.
    """
    if result.load_start_ns is None or result.load_end_ns is None or not len(samples):
        return None
    start = result.load_start_ns + int((result.load_end_ns - result.load_start_ns) * _WARM_UP_SHARE)
    within = samples[(samples["t_ns"] >= start) & (samples["t_ns"] <= result.load_end_ns)]
    if not len(within) or within["births"][0] != within["births"][-1] or within["exits"][0] != within["exits"][-1]:
        return None
    number = (within["t_ns"] - start) // _BIN_NS
    edges = np.flatnonzero(np.diff(number, prepend=-1))
    floor = np.minimum.reduceat(within["unreclaimable"], edges).astype(np.float64)
    served = np.searchsorted(np.sort(answered_ns), within["t_ns"][edges]).astype(np.float64)
    if len(floor) < _FEWEST_BINS or served[-1] <= served[0]:
        return None
    slope, _, low, high = theilslopes(floor, served, alpha=0.95)
    return Growth(float(slope), float(low), float(high))
