"""The runs of a gate: both sides in sandboxes of one kind, and what each run leaves on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from commands import bench
from commands.job import Job
from commands.sandbox import open_sandbox
from loadtests.plan import LoadPlan
from loadtests.workers import Workers
from profiling.experiments import gate_record, record
from profiling.experiments.gate import WARM, GateStep
from profiling.experiments.gate_verdict import policy_of
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.judging.regression import figures
from profiling.measuring import store
from profiling.measuring.events import ExperimentStarted, Note, Observer
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.regressions import BASE, HEAD, Against, GateRecord, GateRun, RunFigures
from profiling.values import Target

_SETTLE_S = 1.0
_WARM_USERS, _WARM_S = 1, 1.0
_TITLES = {
    Against.BASE: "{base} against {head}",
    Against.BASELINE: "{head} against the baseline of {base}",
    Against.BUDGET: "{head} against its budget",
}


@dataclass(frozen=True, slots=True)
class _Side:
    target: Target
    sandbox: Sandbox


@contextlib.contextmanager
def open_sides(
    name: str, base: Target | None, head: Target, observer: Observer, workers: Workers | None = None
) -> Iterator[dict[str, _Side]]:
    """Both in sandboxes of the same kind, prepared: a cgroup of this machine wherever both have a command for it.
    `base`: None where it is not run. `workers`: who sends the load."""
    targets = {HEAD: head} if base is None else {BASE: base, HEAD: head}
    commands = all(service.command for target in targets.values() for service in target.services)
    chosen = "cgroup" if name == "auto" and commands else name
    with contextlib.ExitStack() as stack:
        sides = {}
        for side, target in targets.items():
            sandbox = stack.enter_context(open_sandbox(chosen, target, observer, workers))
            bench.prepare(target, sandbox, observer)
            sides[side] = _Side(target, sandbox)
        yield sides


class Runs:
    """Makes the runs one by one; both records are up to date after each, so that a later failure loses nothing."""

    def __init__(
        self,
        job: Job,
        sides: dict[str, _Side],
        observer: Observer,
        directory: Path,
        experiment: Experiment,
        gated: GateRecord,
    ) -> None:
        self.experiment = experiment
        self.gated = gated
        self._job = job
        self._sides = sides
        self._observer = observer
        self._directory = directory

    def make_all(self) -> None:
        """Whatever the policy asks for. Raises as `measure` does."""
        gate_record.save(self._directory, self.gated)
        for note in self.gated.notes:
            self._observer.notify(Note(text=note))
        base = self.gated.base.label if self.gated.base else ""
        title = _TITLES[self.gated.against].format(base=base, head=self.gated.head.label)
        self._observer.notify(ExperimentStarted(title=f"gate {self._job.target.name}: {title}", runs=()))
        carry_out(policy_of(self.gated), self._make)

    def _make(self, step: Step) -> RunFigures:
        assert isinstance(step, GateStep)
        side, warm = self._sides[step.variant], step.set == WARM
        name = f"{len(self.experiment.runs) + 1}-{step.variant}"
        self.experiment = msgspec.structs.replace(self.experiment, runs=(*self.experiment.runs, name))
        record.save(self._directory, self.experiment)
        place = self._directory / name
        measure(self._plan(step, side.target, warm=warm), side.sandbox, place, self._observer)
        found = figures(record.load_run(place, self.experiment.budget), store.load(place))
        run = GateRun(side=step.variant, set=step.set, directory=name, figures=found)
        self.gated = msgspec.structs.replace(self.gated, runs=(*self.gated.runs, run))
        gate_record.save(self._directory, self.gated)
        return found

    def _plan(self, step: GateStep, target: Target, *, warm: bool) -> RunPlan:
        again = " again" * (step.set - 1)
        return RunPlan(
            name=f"{step.variant}, first start" if warm else f"{step.variant} #{step.repeat}{again}",
            variant=step.variant,
            target=target,
            limits=self._job.limits,
            load=LoadPlan.constant(_WARM_USERS, _WARM_S) if warm else self._job.load,
            argv=self.experiment.argv,
            port=self._job.port,
            cold=None,  # what is judged has no page cache in it
            settle_s=0.0 if warm else _SETTLE_S,
        )
