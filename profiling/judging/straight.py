"""A straight line through measured points, with intervals for its slope, its start and what it foretells. Pure.

Least squares; the intervals are Student's, so they hold for few points if the scatter about the line is alike everywhere and
roughly normal: N. R. Draper, H. Smith, Applied Regression Analysis, 3rd ed. (1998), sections 1.4 and 3.1. Whether it is a
straight line at all is asked as well: a square term that is sure and that bends it by more than a little says no.

NumPy and not scipy, as in `growth.py`; Student's quantiles for whole degrees of freedom are a finite sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

FEWEST_POINTS = 4
FEWEST_PLACES = 3
"""Different x; through two of them any line goes."""
_LEVEL = 0.975
"""Of one end: together the ends of an interval are wrong in 5 %."""
_BENT = 0.10
"""From this share of the line's rise on, a bend is more than a little."""


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """y = start + slope * x, fitted to points."""

    start: Interval
    slope: Interval
    scatter: float
    """Standard deviation of the points about the line, in the unit of y."""
    bend: float
    """By how much the line would bend over the points' range, as a share of its rise, where that is sure; else 0. Above 0: it
    gets steeper."""
    _count: int
    _mean: float
    _spread: float
    """Sum of the squared distances of x from its mean."""

    @property
    def is_straight(self) -> bool:
        return abs(self.bend) < _BENT

    def foretell(self, x: float) -> Interval:
        """What one more measurement at `x` would show, if the line goes on: the interval is that of a single point."""
        estimate = self.start.estimate + self.slope.estimate * x
        error = self.scatter * math.sqrt(1 + 1 / self._count + (x - self._mean) ** 2 / self._spread)
        reach = quantile(self._count - 2) * error
        return Interval(estimate, estimate - reach, estimate + reach)


def fit(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line through the points; None where they are fewer than FEWEST_POINTS at FEWEST_PLACES."""
    if len(x) < FEWEST_POINTS or len(set(x)) < FEWEST_PLACES:
        return None
    at, size = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    count, mean = len(at), float(at.mean())
    spread = float(((at - mean) ** 2).sum())
    slope = float(((at - mean) * (size - size.mean())).sum()) / spread
    start = float(size.mean()) - slope * mean
    scatter = math.sqrt(float(((size - start - slope * at) ** 2).sum()) / (count - 2))
    reach = quantile(count - 2) * scatter
    return Line(
        start=_around(start, reach * math.sqrt(1 / count + mean**2 / spread)),
        slope=_around(slope, reach / math.sqrt(spread)),
        scatter=scatter,
        bend=_bend(at, size, slope),
        _count=count,
        _mean=mean,
        _spread=spread,
    )


def _around(estimate: float, reach: float) -> Interval:
    return Interval(estimate, estimate - reach, estimate + reach)


def _bend(x: np.ndarray, y: np.ndarray, slope: float) -> float:
    """How far the middle of a parabola through the points lies off its chord, as a share of the line's rise; 0 where the
    points do not show for sure that there is one. Above 0: it gets steeper."""
    reach = float(np.ptp(x))
    rise = abs(slope) * reach
    if len(x) <= 4 or len(set(x.tolist())) <= 3 or not rise:
        return 0.0
    scaled = (x - x.min()) / reach
    design = np.column_stack([np.ones_like(scaled), scaled, scaled**2])
    factors = np.linalg.lstsq(design, y, rcond=None)[0]
    left = y - design @ factors
    variance = float(left @ left) / (len(x) - 3)
    error = math.sqrt(variance * float(np.linalg.inv(design.T @ design)[2, 2]))
    if abs(factors[2]) <= quantile(len(x) - 3) * error:
        return 0.0
    return float(factors[2]) / 4 / rise


@cache
def quantile(freedom: int) -> float:
    """Student's t that is exceeded with a probability of 2.5 %. Raises ValueError for less than one degree of freedom."""
    if freedom < 1:
        raise ValueError("a spread needs more points than the line has parameters")
    low, high = 0.0, 13.0  # 12.71 with one degree of freedom
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < _LEVEL else (low, middle)
    return high


def _below(t: float, freedom: int) -> float:
    """P(T < t) for t >= 0. Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(2 + odd, freedom - 1, 2):
        term *= (step - 1) / step * cosine**2
        total += term
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + within) / 2
