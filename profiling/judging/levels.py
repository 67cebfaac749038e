"""Levels of one run's unreclaimable memory, in bytes: at its start, under load, and at rest after it. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from profiling.values import RunResult

Records = NDArray[np.void]
Floats = NDArray[np.float64]


def startup_peak(samples: Records, result: RunResult) -> int | None:
    """The highest until it was ready; until its end where it never was. None: nothing was sampled."""
    start = samples
    if result.ready_ns is not None:
        # What is ready before the first sample has its start in that one.
        start = start[: max(1, int(np.searchsorted(start["t_ns"], result.ready_ns, side="right")))]
    return int(start["unreclaimable"].max()) if len(start) else None


def peak_from_load(samples: Records, result: RunResult) -> int | None:
    """The highest from the load's start on. None: there was none, or nothing was sampled since."""
    if result.load_start_ns is None:
        return None
    loaded = _between(samples, result.load_start_ns, result.end_ns)
    return int(loaded.max()) if len(loaded) else None


def under_load(samples: Records, result: RunResult) -> float | None:
    """The 95th percentile in the second half of the load. None: there was none, or nothing was sampled in it."""
    if result.load_start_ns is None or result.load_end_ns is None:
        return None
    middle = (result.load_start_ns + result.load_end_ns) // 2
    loaded = _between(samples, middle, result.load_end_ns)
    return float(np.percentile(loaded, 95)) if len(loaded) else None


def at_rest(samples: Records, result: RunResult) -> float | None:
    """The median in the second half of the quiet time after the load. None: there was none, or nothing was sampled in it."""
    settle = next((phase for phase in result.phases if phase.name == "settle"), None)
    if settle is None:
        return None
    after = _between(samples, (settle.start_ns + settle.end_ns) // 2, settle.end_ns)
    return float(np.median(after)) if len(after) else None


def _between(samples: Records, start_ns: int, end_ns: int) -> Floats:
    times = samples["t_ns"]
    found: Floats = samples["unreclaimable"][(times >= start_ns) & (times < end_ns)].astype(np.float64)
    return found
