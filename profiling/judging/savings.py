"""What a lever saves, by runs with and without it, and what one run showed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from profiling.judging import change
from profiling.judging.report import AnalysedRun
from profiling.levers import LeverFigures
from profiling.sizing import Ending, Tried

MEMORY = frozenset({Ending.KILLED, Ending.HUNG, Ending.THRASHES})
"""Endings by the limit: the peak was cut off there."""
WHOLE = frozenset({Ending.PASSED, Ending.SLOW, Ending.HEADROOM, Ending.PEAK, Ending.GROWTH})
"""Endings of runs that served to their end, so that their peak is the service's own."""


class Saving(NamedTuple):
    """Bytes by which the peak is lower; negative: higher. Bounds are infinite where there are too few runs."""

    estimate: float
    low: float
    high: float


def saving(as_is: Sequence[float], with_it: Sequence[float], level: float) -> Saving:
    """Each bound alone is wrong with a probability of at most `level`; see `change.py`. Raises ValueError where a side is
    empty."""
    return Saving(*change.difference(with_it, as_is, level))


def is_clear(found: Saving, worth_bytes: float) -> bool:
    """Whether the interval lies wholly on one side of what is worth a setting: a saving, a cost, or neither."""
    if math.isinf(found.low) or math.isinf(found.high):
        return False
    return (
        found.low > worth_bytes or found.high < -worth_bytes or -worth_bytes <= found.low <= found.high <= worth_bytes
    )


def ratio(as_is: Sequence[float | None], with_it: Sequence[float | None]) -> float | None:
    """Of the medians; None where a side has nothing, or nothing above 0."""
    before, after = ([value for value in side if value is not None] for side in (as_is, with_it))
    if not before or not after or median(before) <= 0:
        return None
    return median(after) / median(before)


def figures(run: AnalysedRun, tried: Tried) -> LeverFigures:
    """What a run is compared by."""
    return LeverFigures(
        ending=tried.ending,
        reason=tried.reason,
        at_limit=tried.at_limit,
        before_ready=tried.before_ready,
        peak_bytes=tried.peak_bytes,
        rps=run.summary.rps,
        p95_ms=tried.p95_ms,
        requests=run.summary.requests,
        quality=run.result.quality,
    )
