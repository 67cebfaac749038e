"""The policy of `compare --grid`: each cell in turn, the easiest first, and what need not be run. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from profiling.capacities import LimitedBy, LoadTrial
from profiling.experiments.policy import Step
from profiling.grids import Axis, CellPlace, GridRecord

MAX_CELLS = 256


class GridStep(Step, frozen=True, kw_only=True):
    cell: int
    """Number from 0."""


def settings_of(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """Each combination of one value of each axis; the first axis changes slowest."""
    return [
        {axis.key: value for axis, value in zip(axes, values, strict=True)}
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def can_only_be_worse(cell: CellPlace, than: CellPlace) -> bool:
    """Whether it is the same service with no fewer users in no more memory."""
    return (
        cell.configuration == than.configuration
        and cell.users >= than.users
        and cell.memory_bytes <= than.memory_bytes
        and (cell.users, cell.memory_bytes) != (than.users, than.memory_bytes)
    )


def inferred(record: GridRecord, trials: Mapping[int, Sequence[LoadTrial]]) -> dict[int, int]:
    """Cells without a run whose failure follows from another's: their number -> that cell's. Only from cells that ran out
    of memory in each of their runs, and only where it was asked for."""
    if not record.infer:
        return {}
    out_of_memory = [
        number
        for number, runs in trials.items()
        if runs and all(run.status == "fail" and run.limited_by is LimitedBy.OOM for run in runs)
    ]
    found = {}
    for number, cell in enumerate(record.cells):
        worse_than = [other for other in out_of_memory if can_only_be_worse(cell, record.cells[other])]
        if worse_than and not trials.get(number):
            found[number] = worse_than[0]
    return found


class Grid:
    """Fewest users and most memory first, so that what can be inferred from a failure comes after it; repeats in turns, so
    that a machine that slows down slows all cells."""

    def __init__(self, record: GridRecord) -> None:
        self._record = record
        cells = record.cells
        self.order = sorted(range(len(cells)), key=lambda number: (cells[number].users, -cells[number].memory_bytes))

    def next_step(self, done: Sequence[tuple[Step, LoadTrial]]) -> GridStep | None:
        trials: dict[int, list[LoadTrial]] = {}
        for step, trial in done:
            assert isinstance(step, GridStep)
            trials.setdefault(step.cell, []).append(trial)
        known = inferred(self._record, trials)
        for turn in range(1, self._record.repeats + 1):
            for number in self.order:
                if len(trials.get(number, ())) < turn and number not in known:
                    return GridStep(variant=cell_name(self._record.cells[number]), repeat=turn, cell=number)
        return None


def cell_name(cell: CellPlace) -> str:
    """`workers=2 threads=4 users=64`."""
    return " ".join(f"{key}={value}" for key, value in cell.settings.items())
