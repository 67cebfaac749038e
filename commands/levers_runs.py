"""The runs of `levers`, one after the other, and what each leaves on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from commands import bench
from commands.job import Job
from loadtests.plan import LoadPlan
from profiling.advice.applying import applied
from profiling.errors import SetupError
from profiling.experiments import levers_record, record
from profiling.experiments.levers import AS_IS, Levers, LeverStep, chosen
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.judging.savings import figures
from profiling.levers import LeverFigures, LeverRun, LeversRecord, Part
from profiling.measuring import store
from profiling.measuring.events import Note, Observer, RunsAhead
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.stopping import StopWhen
from profiling.units import format_bytes
from profiling.values import Target

_WARM_USERS, _WARM_S = 1, 1.0
_FILES, _BYTECODE = "levers", "bytecode"
_NAME_AT_MOST = 60


class Runs:
    """Makes the runs one by one; both records are up to date after each, so that a later failure loses nothing."""

    def __init__(
        self,
        job: Job,
        target: Target,
        sandbox: Sandbox,
        observer: Observer,
        directory: Path,
        experiment: Experiment,
        asked: LeversRecord,
    ) -> None:
        self.experiment = experiment
        self.asked = asked
        self._job = job
        self._target = target
        self._sandbox = sandbox
        self._observer = observer
        self._directory = directory
        self._policy = Levers(asked)
        self._done: list[tuple[Step, LeverFigures]] = []
        self._prepared: set[tuple[str, ...]] = set()

    def make_all(self) -> None:
        """Whatever the policy asks for. Raises as `measure` does."""
        self._write_files()
        self._say_what_is_ahead()
        carry_out(self._policy, self._make)

    def _write_files(self) -> None:
        files = {name: text for lever in self.asked.levers if not lever.left_out for name, text in lever.files.items()}
        if files:
            (self._directory / _FILES).mkdir(exist_ok=True)
        for name, text in files.items():
            store.write_atomically(self._directory / _FILES / name, text.encode())

    def _say_what_is_ahead(self) -> None:
        ahead = self._policy.ahead(self._done)
        self._observer.notify(RunsAhead(runs=tuple(self._title(step) for step in ahead)))

    def _make(self, step: Step) -> LeverFigures:
        assert isinstance(step, LeverStep)
        self._prepare(step.levers)
        name = f"{len(self.experiment.runs) + 1}-{_directory_name(step)}"
        self.experiment = msgspec.structs.replace(self.experiment, runs=(*self.experiment.runs, name))
        record.save(self._directory, self.experiment)
        place = self._directory / name
        measure(self._plan(step), self._sandbox, place, self._observer)
        found = figures(*record.load_tried(place, self.experiment.budget))
        run = LeverRun(levers=step.levers, part=step.part, limit_bytes=step.limit_bytes, directory=name, figures=found)
        self.asked = msgspec.structs.replace(self.asked, runs=(*self.asked.runs, run))
        levers_record.save(self._directory, self.asked)
        self._done.append((step, found))
        self._say_what_is_ahead()
        return found

    def _prepare(self, levers: tuple[str, ...]) -> None:
        """The target's own set-up as these levers ask for it, before their first run. Where that fails with levers, the service
        will say so by itself; without any it raises SetupError."""
        if levers in self._prepared:
            return
        self._prepared.add(levers)
        try:
            bench.prepare(self._with(levers), self._sandbox, self._observer)
        except SetupError as error:
            if not levers:
                raise
            self._observer.notify(Note(text=f"{' + '.join(levers)}: {error.message}"))

    def _plan(self, step: LeverStep) -> RunPlan:
        warm = step.part is Part.WARM
        budget = self._job.budget
        # What is measured serves to its end, or its peak is not the one that it would have had.
        whole = StopWhen(max_failures=budget.max_failures)
        return RunPlan(
            name=self._title(step),
            variant=step.variant,
            target=self._with(step.levers),
            limits=msgspec.structs.replace(self._job.limits, memory_bytes=step.limit_bytes),
            load=LoadPlan.constant(_WARM_USERS, _WARM_S) if warm else self._job.load,
            argv=self.experiment.argv,
            port=self._job.port,
            cold=None,  # what is judged has no page cache in it
            settle_s=0.0,
            quality=not warm and not self._knows_quality(step.levers),
            stop_when=StopWhen.decided(budget) if step.part is Part.LIMIT else whole,
        )

    def _knows_quality(self, levers: tuple[str, ...]) -> bool:
        """Whether it was asked with these already: it does not change from run to run."""
        return any(run.levers == levers and run.figures.quality is not None for run in self.asked.runs)

    def _title(self, step: LeverStep) -> str:
        if step.part is Part.WARM:
            return f"{step.variant}, first start"
        return f"{step.variant} at {format_bytes(step.limit_bytes)}" if step.part is Part.LIMIT else step.variant

    def _with(self, names: Sequence[str]) -> Target:
        contained = self._sandbox.image is not None
        return applied(
            self._target,
            chosen(names, self._policy.levers),
            place=str((self._directory / _FILES).resolve()),
            bytecode=None if contained else str((self._directory / _BYTECODE).resolve()),
        )


def _directory_name(step: LeverStep) -> str:
    name = "+".join(step.levers) or AS_IS.replace(" ", "-")
    return name if len(name) <= _NAME_AT_MOST else f"{len(step.levers)}-together"
