"""The runs of a search for capacity, one after the other, and what each leaves on disk."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from commands.job import Job
from loadtests.plan import LoadPlan
from loadtests.workers import Workers
from profiling.capacities import By, CapacityRecord, LoadTrial, TrialPlace
from profiling.experiments import capacity_record, record
from profiling.experiments.capacity import LoadStep, load_of, policy_of
from profiling.experiments.capacity_verdict import named
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.measuring.events import ExperimentStarted, Observer
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.stopping import StopWhen
from profiling.units import format_bytes
from profiling.values import Target

_SETTLE_S = 0.5
_PATIENCE_S, _SLOWER = 1.0, 4
"""Open loop: so many users that answers may take so long, or so many times as long as they did, before a due request finds
nobody free to send it. No more: each of them keeps a connection open, which is the service's memory."""
_FEWEST, _MOST = 16, 1000
"""Of users in an open loop; more cost the generator time at the start."""


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
        searched: CapacityRecord,
        in_flight: int | None,
        workers: Workers | None,
    ) -> None:
        """`in_flight`: the most requests at once in an open loop; None: as many as its rate asks for. `workers`: who sends
        the load."""
        self.experiment = experiment
        self.searched = searched
        self._job = job
        self._target = target
        self._sandbox = sandbox
        self._observer = observer
        self._directory = directory
        self._in_flight = in_flight
        self._workers = workers
        self._slowest_s = 0.0

    def make_all(self) -> None:
        """Whatever the policy asks for. Raises as `measure` does."""
        capacity_record.save(self._directory, self.searched)
        limit = format_bytes(self._job.limits.memory_bytes)
        most = named(self.searched.by, load_of(self.searched, self.searched.highest))
        title = f"capacity {self.experiment.candidate}: the largest load at {limit}, up to {most}"
        self._observer.notify(ExperimentStarted(title=title, runs=()))
        carry_out(policy_of(self.searched), self._make)

    def _make(self, step: Step) -> LoadTrial:
        assert isinstance(step, LoadStep)
        load = load_of(self.searched, step.steps)
        directory = f"{len(self.experiment.runs) + 1}-{load:g}-{self.searched.by.value}"
        self.experiment = msgspec.structs.replace(self.experiment, runs=(*self.experiment.runs, directory))
        record.save(self._directory, self.experiment)
        measure(self._plan(step, load), self._sandbox, self._directory / directory, self._observer)
        place = TrialPlace(steps=step.steps, directory=directory)
        self.searched = msgspec.structs.replace(self.searched, trials=(*self.searched.trials, place))
        capacity_record.save(self._directory, self.searched)
        found = capacity_record.judge(self._directory / directory, self.searched, self.experiment.budget)
        if found.status == "pass" and found.latencies:
            self._slowest_s = max(self._slowest_s, found.latencies[-1].ms / 1000)
        return found

    def _plan(self, step: LoadStep, load: float) -> RunPlan:
        again = f" #{step.repeat}" if step.repeat > 1 else ""
        budget = self.experiment.budget
        return RunPlan(
            name=f"{named(self.searched.by, load)}{again}",
            variant=named(self.searched.by, load),
            target=self._target,
            limits=self._job.limits,
            load=self._load(load),
            argv=self.experiment.argv,
            port=self._job.port,
            cold=None,  # what is judged has no page cache in it
            settle_s=_SETTLE_S,
            stop_when=StopWhen(max_failures=budget.max_failures, max_p95_ms=budget.max_p95_ms),
        )

    def _load(self, load: float) -> LoadPlan:
        """The plan of one trial. Whatever is under way at its end may take as long as at any other moment: an answer that
        comes late is no failed one."""
        seconds = self._job.load.duration_s
        patience_s = self._job.load.request_timeout_s
        users, rate = (round(load), None) if self.searched.by is By.USERS else (self._users_for(load), load)
        plan = LoadPlan.constant(users, seconds, rate=rate, stop_timeout_s=patience_s)
        return msgspec.structs.replace(plan, workers=self._workers)

    def _users_for(self, rate: float) -> int:
        """As many as may have to wait for an answer at once."""
        if self._in_flight is not None:
            return self._in_flight
        allowed_s = max(_PATIENCE_S, _SLOWER * self._slowest_s)
        fewest = max(_FEWEST, self._workers.remote if self._workers else 0)
        return max(fewest, min(_MOST, math.ceil(rate * allowed_s)))
