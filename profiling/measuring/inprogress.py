"""A run that is on: its phases, how it stands, how it ended. Shared by all that is measured, whether we started it or not."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from loadtests.driver import LoadProcess
from loadtests.plan import LoadEnd, LoadPlan, LoadSummary
from loadtests.workers import WorkerSummary
from profiling.errors import LoadFailedError
from profiling.measuring import room
from profiling.measuring.events import Note, Observer, PhaseStarted, RunFinished, Tick
from profiling.measuring.watch import Watch
from profiling.units import format_bytes
from profiling.values import Outcome, Phase

POLL_S = 0.05
_TICK_S = 0.25
_ROOM_EVERY_S = 2.0
_FIRST_SAMPLE_S = 3.0
"""The sampler is waited for so long; that nothing was sampled is said by the judgement."""
_WORKERS_ALLOWANCE_S = 45.0
"""Beyond the time that workers are waited for, Locust may take so long to start and to get to know them."""
_BUSY_GENERATOR = 0.9
"""From this share of a core on, one Locust process (one thread) may be what limits the figures."""


class InProgress:
    """Where a run stands, told to its observer as it goes."""

    def __init__(
        self,
        name: str,
        directory: Path,
        samples: Sequence[Path],
        limit_bytes: int | None,
        observer: Observer,
        *,
        kills_before: int | None = 0,
        loaded: bool = True,
    ) -> None:
        """`samples`: the files of the services' samples, in `directory`. `kills_before`: what the kernel had counted when
        the run began; None: nothing counts kills there. `loaded`: requests are sent in it."""
        self.name = name
        self.outcome = Outcome.COMPLETED
        self.stop_reason: str | None = None
        self.phases: list[Phase] = []
        self.started_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self.start_ns = time.monotonic_ns()
        self._loaded = loaded
        self._directory = directory
        self._samples = samples
        self._limit_bytes = limit_bytes
        self._observer = observer
        self._watch = Watch(directory, samples, kills_before)
        self._phase = ""
        self._phase_on = False
        self._phase_start_ns = self.start_ns
        self._last_tick_ns = 0
        self._next_room_s = 0.0
        self._full = False

    def begin(self) -> None:
        """What is measured starts now, and the run's clock with it."""
        self.start_ns = time.monotonic_ns()

    def ended(self, reason: str, outcome: Outcome) -> None:
        """The first reason is the one that counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.outcome = outcome

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._phase, self._phase_start_ns = name, time.monotonic_ns()
        self._phase_on = True
        self._observer.notify(PhaseStarted(run=self.name, phase=name))
        try:
            yield
        finally:
            self._phase_on = False
            self.phases.append(Phase(name=name, start_ns=self._phase_start_ns, end_ns=time.monotonic_ns()))

    def phases_until(self, now_ns: int) -> tuple[Phase, ...]:
        """Those that are over, and the one that is on as if it ended now."""
        if self._phase_on:
            return (*self.phases, Phase(name=self._phase, start_ns=self._phase_start_ns, end_ns=now_ns))
        return tuple(self.phases)

    def tick(self) -> None:
        """Tell how it stands, a few times a second however often this is called."""
        now = time.monotonic_ns()
        if now - self._last_tick_ns < _TICK_S * 1e9:
            return
        self._last_tick_ns = now
        watch = self._watch
        watch.look(now)
        self._observer.notify(
            Tick(
                run=self.name,
                phase=self._phase,
                elapsed_s=(now - self.start_ns) / 1e9,
                phase_elapsed_s=(now - self._phase_start_ns) / 1e9,
                unreclaimable_bytes=watch.unreclaimable_bytes,
                charged_bytes=watch.charged_bytes,
                limit_bytes=self._limit_bytes,
                oom_kills=watch.oom_kills,
                users=watch.users,
                requests=watch.requests,
                failures=watch.failures,
                rps=watch.rps,
            )
        )

    def disk_is_full(self) -> bool:
        """Whether the run must end before its data fills the disk, which it then has as its reason."""
        now = time.monotonic()
        if now >= self._next_room_s:
            self._next_room_s = now + _ROOM_EVERY_S
            free = room.free_bytes(self._directory)
            self._full = free < room.LEAST_FREE_BYTES
            if self._full:
                self.ended(f"the disk is full: {format_bytes(free)} were left on it", Outcome.STOPPED_EARLY)
        return self._full

    def wait_for_samples(self) -> None:
        """A service may be ready before the sampler's interpreter is: no load before somebody looks."""
        deadline = time.monotonic() + _FIRST_SAMPLE_S
        while not all(path.exists() and path.stat().st_size for path in self._samples):
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_S)

    def gather(self, load: LoadProcess, plan: LoadPlan) -> None:
        """Wait until all workers that share the load are there: before the service starts, so that it does not wait for them.

        Raises LoadFailedError, and LoadError where too few came.
        """
        workers = plan.workers
        if workers is None or not plan.expected_workers:
            return
        if workers.remote:
            here = f"waiting for {workers} at {workers.address}, at most {workers.max_wait_s:g} s"
            self._observer.notify(Note(text=f"{here}; start each with: {workers.command}"))
        deadline = time.monotonic() + workers.max_wait_s + _WORKERS_ALLOWANCE_S
        with self.phase("workers"):
            while not load.ready:
                if load.poll() is not None or time.monotonic() > deadline:
                    raise LoadFailedError(
                        "the load workers did not get ready", f"see their output in {self._directory / 'load'}"
                    )
                self.tick()
                time.sleep(POLL_S)

    def load(self, load: LoadProcess, over: Callable[[], bool]) -> LoadSummary:
        """Have the load carried out, to its end or until `over` says that there is nothing left to load.

        Raises LoadFailedError.
        """
        load.release()
        while load.poll() is None:
            self.tick()
            if over() or self.disk_is_full():
                load.stop()
                break
            time.sleep(POLL_S)
        summary = load.wait()
        if summary.ended is LoadEnd.FAILED:
            raise LoadFailedError(
                f"the load generator failed: {summary.message}", f"its output is in {self._directory / 'load'}"
            )
        if summary.ended is LoadEnd.OVERDUE:
            self.ended("the load did not end in time", Outcome.TIMED_OUT)
        return summary

    def tell_end(self, oom_kills: int | None, peak_unreclaimable_bytes: int | None) -> None:
        self._watch.look(time.monotonic_ns())
        self._observer.notify(
            RunFinished(
                run=self.name,
                outcome=self.outcome,
                oom_kills=oom_kills,
                peak_unreclaimable_bytes=peak_unreclaimable_bytes,
                limit_bytes=self._limit_bytes,
                requests=self._watch.requests if self._loaded else None,
                failures=self._watch.failures,
                reason=self.stop_reason,
            )
        )


def load_problem(load: LoadSummary) -> str | None:
    """Why the load generator is not to be trusted in a run, if so."""
    if load.nothing_sent:
        return "the load generator sent nothing"
    if lost := [worker for worker in load.workers if worker.lost]:
        return _lost(lost, load)
    if load.task_errors:
        return f"the load's own code raised {load.task_errors} times: {load.message}"
    if load.cpu_share is not None and load.cpu_share > _BUSY_GENERATOR:
        return f"the load generator needed {load.cpu_share:.0%} of a core: it, not the service, may be the bottleneck"
    return None


def _lost(lost: list[WorkerSummary], load: LoadSummary) -> str:
    """Who went, when, and how much of the load with them."""
    first = min(lost, key=lambda worker: worker.lost_ns or 0)
    after = ((first.lost_ns or 0) - (load.started_ns or 0)) / 1e9
    users = sum(worker.lost_users for worker in lost)
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return (
        f"{len(lost)} of {len(load.workers)} load workers {'was' if len(lost) == 1 else 'were'} lost, and {users} users with"
        f" {'it' if len(lost) == 1 else 'them'}: the one on {first.host} (process {first.pid}) {first.lost}, {after:.1f} s into"
        f" the load{more}"
    )
