"""Where a metric's runs, its change and its tolerance lie on one line of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from profiling.regressions import MetricChange
from profiling.units import format_change

WIDTH = 240.0
_MARGIN = 6.0
_THINNEST = 3.0
"""What is narrower could not be seen."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Places in 0..WIDTH, from left to right."""

    zero: float
    base: tuple[float, ...]
    head: tuple[float, ...]
    bar: tuple[float, float] | None
    """The interval; None where it has no ends."""
    band: tuple[float, float] | None
    """The tolerance, on both sides of zero."""
    scale: str
    """What the ends mean."""


def strip(metric: MetricChange) -> Strip | None:
    """None where there is nothing to draw: no runs of one side, or no share of base."""
    if not metric.relative or not metric.base or not metric.head or median(metric.base) <= 0:
        return None
    middle = median(metric.base)
    before, after = ([value / middle - 1 for value in side] for side in (metric.base, metric.head))
    ends = [bound for bound in (metric.low, metric.high) if bound is not None]
    tolerance = metric.tolerance or 0.0
    reach = 1.1 * max(*(abs(value) for value in (*before, *after, *ends)), 1.5 * tolerance, 1e-4)

    def at(value: float) -> float:
        return _MARGIN + (WIDTH - 2 * _MARGIN) * (value / reach + 1) / 2

    return Strip(
        zero=at(0.0),
        base=tuple(map(at, before)),
        head=tuple(map(at, after)),
        bar=_visible([at(bound) for bound in ends]) if len(ends) == 2 else None,
        band=(at(-tolerance), at(tolerance)) if tolerance else None,
        scale=format_change(reach).lstrip("+"),
    )


def _visible(ends: Sequence[float]) -> tuple[float, float]:
    low, high = ends
    lacking = max(0.0, _THINNEST - (high - low)) / 2
    return low - lacking, high + lacking
