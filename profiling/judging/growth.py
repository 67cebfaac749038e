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
_WARM_UP_REQUESTS = 500
"""What is left out, whichever ends later: pools, arenas and caches fill, and a forked worker unshares the pages that it
touches. A service with 16 threads still gains some KiB with each of its first few hundred requests."""
_FEWEST_BINS = 8
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
    slope, _, low, high = theilslopes(floor, served, alpha=0.95)
    return Growth(float(slope), float(low), float(high))
