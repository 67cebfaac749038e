"""One watch: the sampler beside what runs already, load at its address where that is asked for, and all of it on disk."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from loadtests import requestlog
from loadtests.driver import LoadError, LoadProcess
from loadtests.plan import LoadPlan, LoadSummary, RequestTemplate
from profiling.errors import InterruptedRunError, LoadFailedError, OomproofError, SamplerError
from profiling.measuring import environment, room, samples, store
from profiling.measuring.events import Note, Observer, RunStarted
from profiling.measuring.inprogress import POLL_S, InProgress, load_problem
from profiling.measuring.interrupts import uninterrupted
from profiling.measuring.measure import peak_unreclaimable
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.watching.subject import Subject
from profiling.values import Limits, Outcome, RunResult, Service, Target, Value, Watched

_CGROUP_HZ = 10.0
_PROCESSES_HZ = 2.0
"""Each reading walks the page tables of every process."""
_SETTLE_S = 1.0


class WatchPlan(Value, frozen=True, kw_only=True):
    """How something is to be watched."""

    duration_s: float | None = None
    """None: until somebody ends it, or the load is over."""
    load: LoadPlan | None = None
    url: str | None = None
    """Scheme and address that the load goes to."""
    request: RequestTemplate = RequestTemplate(method="GET", path="/", json=None)
    locustfile: str | None = None
    against_bytes: int | None = None
    """Held against this size instead of the limit that it has."""
    argv: tuple[str, ...] = ()


def watch(plan: WatchPlan, subject: Subject, directory: Path, observer: Observer) -> RunResult:
    """Watch `subject` until the time or the load is over, it is gone, or somebody interrupts: that, too, is an end, and the
    result is what was seen until then.

    The data is in `directory` when this returns, and also when it raises. Raises CannotRunError, and InterruptedRunError on
    KeyboardInterrupt before there was anything to see, or while the results are saved.
    """
    run = _Run(plan, subject, directory, observer)
    try:
        run.make()
        return run.save()
    except LoadError as error:
        run.failed(error.message)
        raise LoadFailedError(error.message, error.hint) from error
    except OomproofError as error:
        run.failed(error.message)
        raise
    except KeyboardInterrupt:
        run.failed("interrupted")
        raise InterruptedRunError(
            f"interrupted; what was seen of {subject.nature.what} is in {directory}",
            f"read it with: report {directory}",
        ) from None


class _Run:
    def __init__(self, plan: WatchPlan, subject: Subject, directory: Path, observer: Observer) -> None:
        self.plan = plan
        self.subject = subject
        self.directory = store.make_directory(directory)
        self.observer = observer
        self.samples = self.directory / store.SAMPLES_FILE
        self.before = subject.counters()
        kills = self.before.oom_kills if self.before else None
        limit = self._limit_bytes()
        self.progress = InProgress(
            subject.nature.name,
            self.directory,
            [self.samples],
            limit,
            observer,
            kills_before=kills,
            loaded=plan.load is not None,
        )
        self.hz = _PROCESSES_HZ if subject.nature.sandbox == "processes" else _CGROUP_HZ
        self.counters = self.before
        self.exit_status: int | None = None
        self.load_summary: LoadSummary | None = None
        self.load_began_ns: int | None = None
        self.sampler_cpu_s: float | None = None

    def make(self) -> None:
        plan, progress, nature = self.plan, self.progress, self.subject.nature
        self.observer.notify(
            RunStarted(
                run=nature.name,
                limits=self._limits(),
                sandbox=nature.sandbox,
                planned_users=plan.load.peak_users if plan.load else 0,
                planned_load_s=plan.load.duration_s if plan.load else 0.0,
            )
        )
        seconds = plan.load.duration_s if plan.load else plan.duration_s or 0.0
        room.check_room(
            self.directory,
            room.need(plan.load, self.hz, seconds=seconds),
            lambda text: self.observer.notify(Note(text=text)),
        )
        self._save_on_the_way()
        with contextlib.ExitStack() as cleanup:
            load = self._start_load()
            if load is not None:
                cleanup.callback(load.kill)
                assert plan.load is not None
                progress.gather(load, plan.load)
            sampling = self.subject.sample(self.samples, self.hz)
            cleanup.push(lambda *error: self._end_sampling(sampling, failed=error[1] is not None))
            progress.begin()
            with contextlib.suppress(KeyboardInterrupt):  # whoever watches ends it so
                self._watch(load)
            if load is not None and self.load_summary is None:
                self.load_summary = load.stop()

    def _watch(self, load: LoadProcess | None) -> None:
        self.progress.wait_for_samples()
        if load is None:
            with self.progress.phase("watch"):
                self._save_on_the_way()
                self._look_on(self.plan.duration_s)
            return

        def over() -> bool:
            if self.load_began_ns is None and (began := load.started_ns) is not None:
                self.load_began_ns = began
                self._save_on_the_way()
            return self._is_gone("under load")

        with self.progress.phase("load"):
            self.load_summary = self.progress.load(load, over)
        with self.progress.phase("settle"):
            self._look_on(_SETTLE_S)

    def save(self) -> RunResult:
        """Write `run.json` as things stand, tell the observer, and answer with it."""
        progress = self.progress
        kills = self._kills()
        if kills and progress.outcome is not Outcome.INTERRUPTED:
            progress.outcome = Outcome.OOM_KILLED
        result = self._result(progress.outcome)
        store.save(self.directory, result)
        progress.tell_end(kills, peak_unreclaimable(self.directory))
        return result

    def _save_on_the_way(self) -> None:
        """So that a watch whose tool is killed can be read as far as it came."""
        store.save(self.directory, self._result(Outcome.INTERRUPTED))

    def failed(self, why: str) -> None:
        """Save what there is: the error that is on its way says more than one about saving."""
        self.progress.ended(why, Outcome.INTERRUPTED)
        with contextlib.suppress(OomproofError):
            self.save()

    def _start_load(self) -> LoadProcess | None:
        plan = self.plan
        if plan.load is None or plan.url is None:
            return None
        return LoadProcess.start(
            plan.url,
            plan.load,
            plan.request,
            self.directory / store.REQUESTS_FILE,
            self.directory / "load",
            locustfile=Path(plan.locustfile) if plan.locustfile else None,
            hold=True,
        )

    def _look_on(self, seconds: float | None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while (deadline is None or time.monotonic() < deadline) and not (
            self._is_gone("while it was watched") or self.progress.disk_is_full()
        ):
            self.progress.tick()
            time.sleep(POLL_S)

    def _is_gone(self, when: str) -> bool:
        gone = self.subject.gone()
        self.counters = self.subject.counters()
        if gone is None:
            return False
        self.exit_status = self.subject.exit_status
        status = "" if self.exit_status is None else f" with status {self.exit_status}"
        self.progress.ended(f"{gone}{status} {when}", Outcome.CRASHED)
        return True

    def _end_sampling(self, sampling: Sampling, *, failed: bool) -> None:
        """`failed`: an error is on its way, which says more than one about the sampler."""
        with uninterrupted():
            self.counters = self.subject.counters()
            try:
                self.sampler_cpu_s = float(sampling.stop()["cpu_s"])
            except SamplerError:
                if not failed:
                    raise

    def _kills(self) -> int | None:
        if self.counters is None or self.before is None:
            return None
        return self.counters.oom_kills - self.before.oom_kills

    def _kernel_peak(self) -> int | None:
        """The high-water mark is that of its whole life: it says something of the watch only if it rose meanwhile."""
        before, after = _peak(self.before), _peak(self.counters)
        return after if after is not None and before is not None and after > before else None

    def _limit_bytes(self) -> int | None:
        return self.plan.against_bytes or self.subject.nature.limit_bytes

    def _limits(self) -> Limits | None:
        limit = self._limit_bytes()
        return None if limit is None else Limits(memory_bytes=limit)

    def _result(self, outcome: Outcome) -> RunResult:
        plan, load, nature, progress = self.plan, self.load_summary, self.subject.nature, self.progress
        now_ns = time.monotonic_ns()
        service = Service(name=nature.name, directory="", ready="/")
        return RunResult(
            name=nature.name,
            variant=nature.name,
            target=Target(name=nature.name, services=(service,), request=plan.request, openapi=None),
            limits=self._limits(),
            load=plan.load,
            sandbox=nature.sandbox,
            watched=Watched(
                what=nature.what,
                kind=nature.kind,
                limit_bytes=self._limit_bytes(),
                assumed=plan.against_bytes is not None,
                kills_before=self.before.oom_kills if self.before else None,
                url=plan.url,
            ),
            argv=plan.argv,
            started_at=progress.started_at,
            outcome=outcome,
            stop_reason=progress.stop_reason,
            oom_kills=self._kills(),
            kills_certain=self.counters.certain if self.counters else True,
            engine_oom_flag=self.counters.engine_flag if self.counters else None,
            exit_status=self.exit_status,
            start_ns=progress.start_ns,
            load_start_ns=load.started_ns if load else self.load_began_ns,
            load_end_ns=load.ended_ns if load else None,
            load_problem=load_problem(load) if load else None,
            load_workers=load.workers if load else (),
            end_ns=now_ns,
            phases=progress.phases_until(now_ns),
            kernel_peak_charged_bytes=self._kernel_peak(),
            sampler_hz=self.hz,
            sampler_cpu_s=self.sampler_cpu_s,
            environment=environment.describe(nature, ()),
            sample_fields=samples.FIELDS,
            request_fields=tuple(requestlog.FIELDS),
        )


def _peak(counters: Counters | None) -> int | None:
    return None if counters is None else counters.peak_charged_bytes
