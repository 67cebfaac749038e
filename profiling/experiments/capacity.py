"""`capacity`: the largest load that passes, with a smallest one beyond it that fails, each confirmed. Pure.

The search is `bracket`'s, upwards: doubling until a load fails, then halving the gap. What is added here: a load generator
that is the bottleneck twice at the same load ends it, since more of the same would not help; and where the search left too
few loads for a line through the memory, smaller ones are tried as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from profiling.capacities import By, CapacityRecord, LimitedBy, LoadTrial
from profiling.experiments.bracket import Bracket, Search, Trial
from profiling.experiments.policy import Step
from profiling.judging.straight import FEWEST_POINTS

MAX_TRIALS = 20
CONFIRMED = 2
"""Trials of each end."""
RATE_STEP = 0.1
"""Rates are multiples of so many requests per second."""
_NARROW = 10
"""The ends are close enough when their distance is this part of the load that passes."""
_SHARES = (0.125, 0.25, 0.5, 0.75)
"""Of the load that holds: where the line is tried, if the search did not pass there."""
Done = Sequence[tuple[Step, LoadTrial]]


class LoadStep(Step, frozen=True, kw_only=True):
    """One run under one load."""

    steps: int
    """The load, in steps of the search's."""


class Capacity:
    """Says which load to try next, and that it is enough."""

    def __init__(self, *, start: int, lowest: int, highest: int, max_trials: int = MAX_TRIALS) -> None:
        """Loads in steps. Raises ValueError for what makes no sense."""
        self.search = Search(
            start=start,
            step=start,
            larger_passes=False,
            lowest=lowest,
            highest=highest,
            narrow=lambda passing: max(1, passing // _NARROW),
            repeats=CONFIRMED,
            max_trials=max_trials,
        )
        self._lowest = lowest

    def next_step(self, done: Done) -> LoadStep | None:
        tried = []
        for step, trial in done:
            assert isinstance(step, LoadStep)
            tried.append((step.steps, trial))
        steps = self.next_load(tried)
        if steps is None:
            return None
        again = sum(each == steps for each, _ in tried)
        return LoadStep(variant="", repeat=again + 1, steps=steps)

    def next_load(self, tried: Sequence[tuple[int, LoadTrial]]) -> int | None:
        """What to try after these (steps, trial)s; None: that is all."""
        if self.generator_at(tried) is not None:
            return None
        found = self.search.next_value(self._trials(tried))
        return self._for_the_line(tried) if found is None else found

    def bracket(self, tried: Sequence[tuple[int, LoadTrial]]) -> Bracket:
        """Between which loads the border lies."""
        return self.search.bracket(self._trials(tried))

    def generator_at(self, tried: Sequence[tuple[int, LoadTrial]]) -> int | None:
        """The load at which the generator was the bottleneck as often as an end is tried; None: at none."""
        slow = Counter(steps for steps, trial in tried if trial.limited_by is LimitedBy.LOAD_GENERATOR)
        return min((steps for steps, count in slow.items() if count >= CONFIRMED), default=None)

    def _trials(self, tried: Sequence[tuple[int, LoadTrial]]) -> list[Trial]:
        passed = {"pass": True, "fail": False}
        return [Trial(steps, passed.get(trial.status)) for steps, trial in tried]

    def _for_the_line(self, tried: Sequence[tuple[int, LoadTrial]]) -> int | None:
        """A load below the one that holds, where fewer than FEWEST_POINTS were tried: for memory and throughput over it."""
        holds = self.bracket(tried).passing
        loads = {steps for steps, trial in tried if trial.status == "pass"}
        if holds is None or len(loads) >= FEWEST_POINTS or len(tried) >= self.search.max_trials:
            return None
        wanted = (max(self._lowest, round(share * holds)) for share in _SHARES)
        seen = {steps for steps, _ in tried}
        return next((steps for steps in wanted if steps not in seen), None)


def policy_of(record: CapacityRecord) -> Capacity:
    """The policy by which a recorded search went."""
    return Capacity(start=record.start, lowest=record.lowest, highest=record.highest, max_trials=record.max_trials)


def load_of(record: CapacityRecord, steps: int) -> float:
    """A load in users or requests per second."""
    return float(steps) if record.by is By.USERS else round(steps * record.step, 6)
