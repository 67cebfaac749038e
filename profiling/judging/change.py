"""By how much one set of runs differs from another, with an interval that holds for few runs and any distribution. Pure.

The estimate is Hodges and Lehmann's: the median of all differences between a run of the one side and a run of the other. Its
interval is the inversion of the rank-sum test, a permutation test, with the exact null distribution: no normal curve is
assumed, and one run that went astray moves neither end far. J. L. Hodges, E. L. Lehmann, Estimates of Location Based on
Rank Tests, Ann. Math. Stat. 34 (1963); H. B. Mann, D. R. Whitney, Ann. Math. Stat. 18 (1947).

NumPy and not scipy, as in `growth.py`: the exact distribution is a dozen lines, and scipy beside the reference backend would
change what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import comb, inf
from typing import NamedTuple

import numpy as np


class Change(NamedTuple):
    """An estimate with a lower and an upper bound; infinite where there are too few runs for the level."""

    estimate: float
    low: float
    high: float


def difference(base: Sequence[float], head: Sequence[float], level: float) -> Change:
    """`head` - `base`, in their unit. Each bound alone is wrong with a probability of at most `level`, whatever the
    distribution, if the sides differ by a shift and the runs are exchangeable. Raises ValueError where a side is empty."""
    if not base or not head:
        raise ValueError("a change needs runs of both sides")
    differences = np.sort(np.subtract.outer(np.asarray(head, dtype=float), np.asarray(base, dtype=float)), axis=None)
    place = _bound_at(len(base), len(head), level)
    low, high = (differences[place - 1], differences[-place]) if place else (-inf, inf)
    return Change(float(np.median(differences)), float(low), float(high))


def relative(base: Sequence[float], head: Sequence[float], level: float) -> Change:
    """`head` / `base` - 1, by the differences of logarithms. Raises ValueError where a side is empty or not above 0."""
    if any(value <= 0 for value in (*base, *head)):
        raise ValueError("a relative change needs values above 0")
    found = difference(np.log(base).tolist(), np.log(head).tolist(), level)
    return Change(*(float(np.expm1(value)) for value in found))


@cache
def _bound_at(base: int, head: int, level: float) -> int:
    """Which of the sorted differences is the lower bound, counted from 1; 0: none is, even the smallest is too sure.

    The k-th smallest lies above the true shift with the probability that the rank-sum statistic is below k.
    """
    below = accumulate(_rank_sums(base, head))
    ways = comb(base + head, head)
    return sum(1 for _ in _while_at_most(below, level * ways))


def _while_at_most(numbers: Sequence[int] | accumulate[int], most: float) -> list[int]:
    kept = []
    for number in numbers:
        if number > most:
            break
        kept.append(number)
    return kept


def _rank_sums(base: int, head: int) -> list[int]:
    """In how many orders of all runs the statistic is 0, 1, ... base * head: the Gaussian binomial's coefficients."""
    counts = [1] + [0] * (base * head)
    for step in range(1, head + 1):
        for at in range(len(counts) - 1, base + step - 1, -1):
            counts[at] -= counts[at - base - step]
        for at in range(step, len(counts)):
            counts[at] += counts[at - step]
    return counts
