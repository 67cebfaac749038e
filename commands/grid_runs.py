"""The runs of a grid, one after the other, and what each leaves on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from commands.job import Job
from loadtests.plan import LoadPlan
from profiling.capacities import LoadTrial
from profiling.experiments import grid_record, record
from profiling.experiments.grid import Grid, GridStep, cell_name
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.grids import GridRecord
from profiling.measuring.events import ExperimentStarted, Note, Observer
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.stopping import StopWhen
from profiling.units import format_seconds
from profiling.values import Limits, Target

_SETTLE_S = 0.5
_ANNOUNCED = 16
"""The names of more runs are a wall of text."""


@dataclass(frozen=True, slots=True)
class CellJob:
    """What one cell measures."""

    target: Target
    limits: Limits
    load: LoadPlan


class Runs:
    """Makes the runs one by one; both records are up to date after each, so that a later failure loses nothing."""

    def __init__(
        self,
        job: Job,
        cells: Sequence[CellJob],
        sandbox: Sandbox,
        observer: Observer,
        directory: Path,
        experiment: Experiment,
        asked: GridRecord,
    ) -> None:
        self.experiment = experiment
        self.asked = asked
        self._job = job
        self._cells = cells
        self._sandbox = sandbox
        self._observer = observer
        self._directory = directory
        self._policy = Grid(asked)

    def make_all(self) -> None:
        """Whatever the policy asks for. Raises as `measure` does."""
        grid_record.save(self._directory, self.asked)
        names = [cell_name(self.asked.cells[number]) for number in self._policy.order] * self.asked.repeats
        title = f"compare {self._job.target.name}: {len(self._cells)} cells"
        self._observer.notify(ExperimentStarted(title=title, runs=tuple(names) if len(names) <= _ANNOUNCED else ()))
        load_s = sum(cell.load.duration_s for cell in self._cells) * self.asked.repeats
        self._observer.notify(Note(text=f"{format_seconds(load_s)} of load in all, if no run ends early"))
        carry_out(self._policy, self._make)

    def _make(self, step: Step) -> LoadTrial:
        assert isinstance(step, GridStep)
        place, cell = self.asked.cells[step.cell], self._cells[step.cell]
        turn = f" of turn {step.repeat}" if self.asked.repeats > 1 else ""
        number = self._policy.order.index(step.cell) + 1
        self._observer.notify(Note(text=f"cell {number} of {len(self._cells)}{turn}: {step.variant}"))
        directory = f"{len(self.experiment.runs) + 1}-cell-{step.cell + 1}"
        self.experiment = msgspec.structs.replace(self.experiment, runs=(*self.experiment.runs, directory))
        record.save(self._directory, self.experiment)
        # Noted before it is made, as in the experiment: of an interrupted run there is something to see.
        place = msgspec.structs.replace(place, directories=(*place.directories, directory))
        cells = (*self.asked.cells[: step.cell], place, *self.asked.cells[step.cell + 1 :])
        self.asked = msgspec.structs.replace(self.asked, cells=cells)
        grid_record.save(self._directory, self.asked)
        measure(self._plan(step, cell), self._sandbox, self._directory / directory, self._observer)
        return grid_record.judge_run(self._directory / directory, self.asked, self.experiment.budget)[1]

    def _plan(self, step: GridStep, cell: CellJob) -> RunPlan:
        again = f" #{step.repeat}" if step.repeat > 1 else ""
        return RunPlan(
            name=f"{step.variant}{again}",
            variant=step.variant,
            target=cell.target,
            limits=cell.limits,
            load=cell.load,
            argv=self.experiment.argv,
            port=self._job.port,
            cold=None,  # what is judged has no page cache in it
            settle_s=_SETTLE_S,
            stop_when=StopWhen.decided(self.experiment.budget),
        )
