"""`gate`: base against head in turns, until the answer is clear; a regression is shown twice before it fails. Pure.

Each set of runs is looked at after so many runs of each side (LOOKS). The error rate of a set, ERROR, is shared out evenly
over its looks (Bonferroni's inequality: whatever the looks have to do with each other, the set errs no more often than
that). What a first set calls a regression is measured again by a second one of its own runs, so that a metric whose true
change is just its tolerance is called a regression in at most ERROR * ERROR of the gates; one that did not change, less often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiling.experiments.policy import Step
from profiling.judging.regression import Tolerances, compare
from profiling.regressions import BASE, HEAD, Against, GateRun, MetricChange, MetricStatus, RunFigures

LOOKS = (4, 7, 12)
"""Runs of each side after which a set is looked at: with fewer than four the exact interval is too wide for any answer."""
BUDGET_RUNS = 3
"""Where there is nothing to compare with: more than half of them decide."""
ERROR = 0.05
"""Of one bound of one metric in one set; the rest is left to the second set."""
_UNUSABLE_AT_MOST = 2
WARM, FIRST, SECOND = 0, 1, 2
Done = Sequence[tuple[Step, RunFigures]]


class GateStep(Step, frozen=True, kw_only=True):
    """One run of one side; its variant is BASE or HEAD."""

    set: int = FIRST
    """WARM: a start that is not counted, in which bytecode and the like come about."""


@dataclass(frozen=True, slots=True)
class RunSet:
    """The usable runs of one set."""

    base: tuple[RunFigures, ...]
    head: tuple[RunFigures, ...]
    unusable: tuple[RunFigures, ...]

    interleaved: bool
    """Base is run as well: then a turn is a run of each."""

    @property
    def turns(self) -> int:
        return min(len(self.base), len(self.head)) if self.interleaved else len(self.head)

    @property
    def even(self) -> bool:
        return not self.interleaved or len(self.base) == len(self.head)


class Gate:
    """Says which run to make next, and that it is enough."""

    def __init__(
        self,
        tolerances: Tolerances,
        *,
        max_turns: int = LOOKS[-1],
        warm: bool = True,
        against: Against = Against.BASE,
        stored: Sequence[RunFigures] = (),
    ) -> None:
        """`max_turns`: the most runs of each side in a set. `stored`: the runs of a baseline, in place of base's own.

        Raises ValueError if `max_turns` is below the first look."""
        if against is Against.BUDGET:
            self.looks: tuple[int, ...] = (max_turns,)
        elif max_turns < LOOKS[0]:
            raise ValueError(f"a gate needs at least {LOOKS[0]} runs of each side")
        else:
            self.looks = tuple(sorted({*(look for look in LOOKS if look < max_turns), max_turns}))
        self._interleaved = against is Against.BASE
        self._stored = tuple(stored)
        self.level = ERROR / len(self.looks)
        self.tolerances = tolerances
        self._warm = warm

    def next_step(self, done: Done) -> GateStep | None:
        return self.next_after(_runs(done))

    def next_after(self, runs: Sequence[GateRun]) -> GateStep | None:
        failed = {side: any(run.figures.failure for run in runs if run.side == side) for side in (BASE, HEAD)}
        if failed[HEAD]:
            return None
        if failed[BASE]:  # there is nothing to compare, but whether head holds can still be seen
            return None if any(run.side == HEAD and run.set for run in runs) else GateStep(variant=HEAD)
        warmed = [run.side for run in runs if run.set == WARM]
        sides = (BASE, HEAD) if self._interleaved else (HEAD,)
        if self._warm and len(warmed) < len(sides):
            return GateStep(variant=sides[len(warmed)], set=WARM)
        first = self.set_of(runs, FIRST)
        if not self._is_over(first, self.compare(first), None):
            return _next_of(first, FIRST)
        suspects = self.suspects(runs)
        second = self.set_of(runs, SECOND)
        if not suspects or self._is_over(second, self.compare(second), suspects):
            return None
        return _next_of(second, SECOND)

    def set_of(self, runs: Sequence[GateRun], number: int) -> RunSet:
        """The usable runs of a set."""

        def of(side: str) -> tuple[RunFigures, ...]:
            mine = [run for run in runs if (run.side, run.set) == (side, number)]
            return tuple(run.figures for run in mine if not run.figures.unusable)

        unusable = tuple(run.figures for run in runs if run.set == number and run.figures.unusable)
        return RunSet(of(BASE) if self._interleaved else self._stored, of(HEAD), unusable, self._interleaved)

    def turns_of(self, runs: Sequence[GateRun], number: int) -> int:
        """How often each side that is run has had its turn in a set."""
        return self.set_of(runs, number).turns

    def compare(self, runs: RunSet) -> tuple[MetricChange, ...]:
        return compare(runs.base, runs.head, self.tolerances, self.level)

    def suspects(self, runs: Sequence[GateRun]) -> frozenset[str]:
        """The metrics that the first set calls regressed."""
        first = self.set_of(runs, FIRST)
        if first.turns not in self.looks:
            return frozenset()
        return frozenset(metric.name for metric in self.compare(first) if metric.status is MetricStatus.REGRESSED)

    def confirmed(self, runs: Sequence[GateRun]) -> frozenset[str]:
        """Those of them that the second set calls regressed as well."""
        second = self.set_of(runs, SECOND)
        if second.turns not in self.looks:
            return frozenset()
        found = {metric.name for metric in self.compare(second) if metric.status is MetricStatus.REGRESSED}
        return self.suspects(runs) & found

    def is_answered(self, runs: Sequence[GateRun]) -> bool:
        """Whether all that an answer needs was run: not where it was interrupted, or too many runs were of no use."""
        needed = (FIRST, SECOND) if self.suspects(runs) else (FIRST,)
        sets = [self.set_of(runs, number) for number in needed]
        enough = all(each.turns in self.looks and len(each.unusable) <= _UNUSABLE_AT_MOST for each in sets)
        return enough and self.next_after(runs) is None

    def _is_over(self, runs: RunSet, metrics: Sequence[MetricChange], names: frozenset[str] | None) -> bool:
        """Whether a set has its answer: a regression, or every metric of `names` (None: all) is clear."""
        if len(runs.unusable) > _UNUSABLE_AT_MOST or (runs.even and runs.turns >= self.looks[-1]):
            return True
        if not runs.even or runs.turns not in self.looks:
            return False
        looked_at = [metric for metric in metrics if names is None or metric.name in names]
        regressed = any(metric.status is MetricStatus.REGRESSED for metric in looked_at)
        return regressed or not any(map(_asks_for_more, looked_at))


def _asks_for_more(metric: MetricChange) -> bool:
    """Whether a metric that is not clear is worth more runs. Growth is a fit to each run by itself, wide after a short load:
    it alone never keeps a gate going unless it looks like a regression."""
    if metric.status is not MetricStatus.UNCLEAR:
        return False
    return metric.relative or (metric.change or 0.0) > (metric.tolerance or 0.0)


def _next_of(runs: RunSet, number: int) -> GateStep:
    """The side whose turn it is: base, head, head, base, so that a machine that slows down slows both alike."""
    turn = runs.turns + 1
    side = BASE if turn % 2 else HEAD
    if not runs.interleaved:
        side = HEAD
    elif not runs.even:
        side = BASE if len(runs.base) < len(runs.head) else HEAD
    return GateStep(variant=side, repeat=turn, set=number)


def _runs(done: Done) -> list[GateRun]:
    found = []
    for step, result in done:
        assert isinstance(step, GateStep)
        found.append(GateRun(side=step.variant, set=step.set, directory="", figures=result))
    return found
