"""The samples of several services as those of one system. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from profiling.measuring.samples import UNMEASURED

Records = NDArray[np.void]
_CUMULATIVE = frozenset({"births", "exits", "oom_kills", "refault_file"})
_GONE_AFTER_NS = 500_000_000
"""A service that was not sampled for so long, until the end, holds nothing any more."""


def total(series: Sequence[Records]) -> Records:
    """The sum of all at each moment at which any was sampled, by the last sample of each until then.

    `series`: structured arrays of one dtype, by rising `t_ns`. Waiting for memory is that of the service that waited most.
    What is unmeasured in one is so in the sum.
    """
    dtype = series[0].dtype
    present = [records for records in series if len(records)]
    if not present:
        return np.empty(0, dtype)
    times = np.unique(np.concatenate([records["t_ns"] for records in present]))
    summed = np.zeros(len(times), dtype)
    summed["t_ns"] = times
    unmeasured = {name: np.zeros(len(times), bool) for name in dtype.names or ()}
    for records in present:
        index = np.searchsorted(records["t_ns"], times, side="right") - 1
        begun = index >= 0
        there = begun & (times <= records["t_ns"][-1] + _GONE_AFTER_NS)
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
