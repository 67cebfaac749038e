"""Fewer samples for the curves of a long run, with every low and high left in them.

A long series is cut into bins of so many neighbouring samples each. Of a bin those samples stay, whole and as they were
measured, in which any of the figures is lowest or highest, so that a peak of one sample is never lost. Before an OOM kill
nothing is left out: that is dated by the fall of the memory from one sample to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from profiling.measuring.blocks import Readings, Records
from profiling.measuring.samples import UNMEASURED

LONG = 200_000
"""A series of up to so many samples is used as it is: 33 minutes at 100 a second."""
BINS = 4096
_WHOLE_KILLS = 500
"""Before so many kills, the first ones, nothing is left out."""
_BEFORE_KILL_NS = 1_000_000_000
_MOST = np.iinfo(np.int64).max


class Thinned(NamedTuple):
    """What stays of a series."""

    samples: Records
    length: int
    """How many it has in all."""


def thin(readings: Readings, length: int, bins: int = BINS) -> Thinned:
    """The samples that stay of `readings`, by rising `t_ns`. `length`: how many there are, or a bound for it."""
    each = max(1, -(-length // bins))
    kept: list[Records] = []
    rises_ns: list[int] = []
    rest = np.empty(0, readings.dtype)
    seen = kills = 0
    for block in readings:
        seen += len(block)
        rises, kills = _rises(block, kills)
        rises_ns += rises[: _WHOLE_KILLS - len(rises_ns)]
        rest = np.concatenate([rest, block])
        whole = len(rest) // each * each
        kept.append(_extremes(rest[:whole], each))
        rest = rest[whole:]
    if len(rest):
        kept.append(_extremes(rest, len(rest)))
    for rise_ns in rises_ns:
        kept += readings.between(rise_ns - _BEFORE_KILL_NS, rise_ns + 1)
    if not kept:
        return Thinned(rest, seen)
    together = np.concatenate(kept)
    _, first = np.unique(together["t_ns"], return_index=True)
    return Thinned(together[first], seen)


def _rises(block: Records, before: int) -> tuple[list[int], int]:
    """When the count of kills rose, and how far: where a block begins it is held against the one before."""
    if not len(block):
        return [], before
    rose = np.flatnonzero(np.diff(block["oom_kills"], prepend=before) > 0)
    return block["t_ns"][rose].tolist(), int(block["oom_kills"][-1])


def _extremes(records: Records, each: int) -> Records:
    """Of each `each` neighbours those with the lowest and the highest of any field, the first of equals."""
    if not len(records):
        return records
    begins = np.arange(0, len(records), each)
    stays = np.zeros(len(records), bool)
    for name in records.dtype.names or ():
        values = np.ascontiguousarray(records[name]).reshape(-1, each)
        lowest = values.argmin(axis=1)
        stays[begins + lowest] = True
        stays[begins + values.argmax(axis=1)] = True
        if (values[np.arange(len(values)), lowest] == UNMEASURED).any():
            # What was not measured is lower than all that was.
            measured = np.where(values == UNMEASURED, _MOST, values)
            stays[begins + measured.argmin(axis=1)] = True
    return records[stays]
