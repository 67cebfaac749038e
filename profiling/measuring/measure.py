"""The orchestrator of one run: cold files, capped service, sampler beside it, load, counters, clean end, all on disk."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

from loadtests import requestlog
from loadtests.driver import LoadError, LoadProcess
from loadtests.plan import LoadPlan, LoadSummary
from profiling.errors import InterruptedRunError, LoadFailedError, OomproofError, SamplerError
from profiling.measuring import environment, kernel_log, page_cache, quality, room, samples, store
from profiling.measuring.events import Note, Observer, RunStarted
from profiling.measuring.inprogress import POLL_S, InProgress, load_problem
from profiling.measuring.interrupts import uninterrupted
from profiling.measuring.openapi.checker import Checker
from profiling.measuring.probing import can_be_probed, probe
from profiling.measuring.readiness import LOOPBACK, listens_everywhere, url
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.stopping import Decision, StopWhen
from profiling.measuring.system import ServiceAtWork, System
from profiling.values import ApiConformance, KernelLog, Limits, Outcome, PageCache, Probe, RunResult, Target, Value

_INTERRUPTED_GRACE_S = 2.0
_DYING_S = 2.0
"""A process whose port has gone may take so long to be gone itself."""
_KILLS_AT_START = 3
"""So many kills before the first `ready`, and the service is not waited for any longer: a supervisor restarts it forever."""
_PACKAGES = ("locust", "memray", "gunicorn", "uvicorn", "flask", "django", "fastapi", "torch", "transformers")


class RunPlan(Value, frozen=True, kw_only=True):
    """Everything that one run needs to know."""

    name: str
    target: Target
    limits: Limits
    load: LoadPlan
    argv: tuple[str, ...] = ()
    port: int | None = None
    """None: a free one."""
    cold: bool | None = True
    """Drop the service's files from the page cache first; None: it does not matter, they are not even looked at."""
    settle_s: float = 1.0
    """How long the service is watched after the load, to see what stays."""
    grace_s: float = 10.0
    """From SIGTERM to SIGKILL at the end."""
    sampler_hz: float = 100.0
    variant: str | None = None
    """What is compared, where several runs share one; the run's own name where it is None."""
    capture: str | None = None
    """File name of the memray capture that the command writes into the run's directory, for the record."""
    capture_cost_bytes: int | None = None
    probe: bool = False
    """After the load, ask by the service's OpenAPI document, and send requests that should be refused."""
    quality: bool = False
    """After the load, ask how good its answers are, where the target has a command for that."""
    stop_when: StopWhen | None = None
    """End the run as soon as this has decided it; None: it goes on to its end."""


def measure(plan: RunPlan, sandbox: Sandbox, directory: Path, observer: Observer) -> RunResult:
    """Make one run; its data is in `directory` when this returns, and also when it raises after the start.

    Raises CannotRunError if it could not be made, InterruptedRunError on KeyboardInterrupt (the run is saved as such).
    An OOM kill is a result, not an error.
    """
    run = _Run(plan, sandbox, directory, observer)
    try:
        run.make()
    except LoadError as error:
        run.failed(error.message)
        raise LoadFailedError(error.message, error.hint) from error
    except OomproofError as error:
        run.failed(error.message)
        raise
    except KeyboardInterrupt:
        run.progress.outcome = Outcome.INTERRUPTED
        run.save_if_possible()
        raise InterruptedRunError(
            f"interrupted during {plan.name!r}; what was measured is in {directory}",
            f"read it with: report {directory}",
        ) from None
    return run.save()


class _Run:
    def __init__(self, plan: RunPlan, sandbox: Sandbox, directory: Path, observer: Observer) -> None:
        self.plan = plan
        self.sandbox = sandbox
        self.directory = store.make_directory(directory)
        self.observer = observer
        self.system = System(plan.target, plan.limits, sandbox, self.directory, plan.port)
        samples = [part.samples for part in self.system.parts]
        self.progress = InProgress(plan.name, self.directory, samples, plan.limits.memory_bytes, observer)
        self.page_cache = PageCache.UNKNOWN
        self.ready_ns: int | None = None
        self.probes: tuple[Probe, ...] = ()
        self.openapi: ApiConformance | None = None
        self.quality: float | None = None
        self.load_summary: LoadSummary | None = None
        self.load_began_ns: int | None = None
        self.sampler_cpu_s: float | None = None
        self.epoch_offset_ns = time.time_ns() - time.monotonic_ns()
        self.kernel_log: KernelLog | None = None
        self.is_decided = False

    def make(self) -> None:
        plan = self.plan
        self.observer.notify(
            RunStarted(
                run=plan.name,
                limits=plan.limits,
                sandbox=self.sandbox.name,
                planned_users=plan.load.peak_users,
                planned_load_s=plan.load.duration_s,
            )
        )
        room.check_room(
            self.directory,
            room.need(plan.load, plan.sampler_hz, len(self.system.parts)),
            lambda text: self.observer.notify(Note(text=f"{plan.name}: {text}")),
        )
        self._save_on_the_way()
        with contextlib.ExitStack() as cleanup:
            # Locust is loaded while the page cache is being dropped, so that it is idle when the service starts.
            load = self._start_load()
            cleanup.callback(load.kill)
            self.progress.gather(load, plan.load)
            with self.progress.phase("drop-caches"):
                reads = None if plan.cold is None else self.sandbox.reads(plan.target)
                if reads is not None:
                    self.page_cache = page_cache.drop(reads) if plan.cold else page_cache.look(reads)
            self.progress.begin()
            cleanup.callback(self._end)
            self.system.start(traced=plan.capture is not None)
            cleanup.push(lambda *error: self._end_sampling(failed=error[1] is not None))
            self.system.sample(plan.sampler_hz)
            with self.progress.phase("start"):
                ready = self._wait_until_ready()
            if ready:
                with self.progress.phase("load"):
                    self._load(load)
                if plan.quality and plan.target.quality and not self.is_decided and self.system.ended() is None:
                    with self.progress.phase("quality"):
                        self.quality = quality.ask(plan.target, url(self.sandbox.host, self.system.front.port))
                # Loaded while nothing is asked and nothing is timed: beside the load it would take its processor away.
                probes = plan.probe and not self.is_decided
                checker = Checker.start() if probes and plan.target.openapi else None
                if checker is not None:
                    cleanup.callback(checker.close)
                with self.progress.phase("settle"):
                    self._settle()
                if checker is not None and self.system.ended() is None:
                    with self.progress.phase("openapi"):
                        self._check_openapi(checker)
                if probes and self._answers() and can_be_probed(plan.target.request):
                    with self.progress.phase("probe"):
                        self._probe()
            with self.progress.phase("stop"):
                self.system.stop(plan.grace_s)

    def _start_load(self) -> LoadProcess:
        target = self.plan.target
        work = self.directory / "load"
        return LoadProcess.start(
            url(self.sandbox.host, self.system.front.port),
            self.plan.load,
            target.request,
            self.directory / store.REQUESTS_FILE,
            work,
            locustfile=Path(target.locustfile) if target.locustfile else None,
            hold=True,
        )

    def _wait_until_ready(self) -> bool:
        start = time.monotonic()
        while not self.system.ask_whether_ready():
            self.progress.tick()
            self.system.look()
            if self._has_ended("before it was ready") or self._killed_once("before it was ready"):
                return False
            for part in self.system.parts:
                kills, waited_s = part.counters.oom_kills, part.service.startup_timeout_s
                if part.ready_ns is None and kills >= _KILLS_AT_START:
                    self.progress.ended(
                        f"{self._whose(part)}killed {kills} times before it was ready", Outcome.OOM_KILLED
                    )
                    return False
                if part.ready_ns is None and time.monotonic() > start + waited_s:
                    instead = "" if part.answered is None else f", but {part.answered}"
                    why = f"{self._whose(part)}no 2xx from {part.service.ready} within {waited_s:g} s{instead}"
                    self.progress.ended(why, Outcome.NEVER_READY)
                    return False
            time.sleep(POLL_S)
        self.ready_ns = max(part.ready_ns or 0 for part in self.system.parts)
        self.progress.wait_for_samples()
        for part in self.system.parts:
            if self.sandbox.host == LOOPBACK and listens_everywhere(part.port):
                text = (
                    f"{self.plan.name}: port {part.port} is open on every address of this machine while it runs;"
                    " bind it to {host}"
                )
                self.observer.notify(Note(text=text))
        return True

    def _has_ended(self, when: str) -> bool:
        """Whether a service has, by what was last seen of it."""
        part = self.system.ended()
        if part is None or part.exit_status is None:
            return False
        self.progress.ended(f"{self._whose(part)}{_how(part.exit_status, self.sandbox)} {when}", Outcome.CRASHED)
        return True

    def _whose(self, part: ServiceAtWork) -> str:
        return f"{part.service.name}: " if len(self.system.parts) > 1 else ""

    def _killed_once(self, when: str) -> bool:
        """Whether a kill has decided the run."""
        stop = self.plan.stop_when
        if stop is None or not stop.oom_kill or not self.system.counters.oom_kills:
            return False
        self.progress.ended(f"stopped after an OOM kill {when}: that decides it", Outcome.OOM_KILLED)
        self.is_decided = True
        return True

    def _load(self, load: LoadProcess) -> None:
        stop = self.plan.stop_when
        decision = Decision(stop, self.plan.load, self.directory) if stop else None

        def over() -> bool:
            if self.load_began_ns is None and (began := load.started_ns) is not None:
                self.load_began_ns = began
                self._save_on_the_way()
            self.system.look()
            if self._has_ended("under load") or self._killed_once("under load"):
                return True
            why = decision.look(load.started_ns, time.monotonic_ns()) if decision else None
            if why is None:
                return False
            self.system.look()  # what failed may have been killed since
            if self._killed_once("under load"):
                return True
            self.progress.ended(f"stopped early: {why}", Outcome.STOPPED_EARLY)
            self.is_decided = True
            return True

        self.load_summary = self.progress.load(load, over)

    def _settle(self) -> None:
        deadline = time.monotonic() + self.plan.settle_s
        while time.monotonic() < deadline and self.system.ended() is None and not self.is_decided:
            self.progress.tick()
            self.system.look()
            if not self._has_ended("after the load"):
                self._killed_once("after the load")
            time.sleep(POLL_S)

    def _check_openapi(self, checker: Checker) -> None:
        def alive() -> bool:
            self.progress.tick()
            self.system.look()
            return self.system.ended() is None

        self.openapi = checker.check(self.plan.target, self.sandbox.host, self.system.front.port, alive=alive)
        checker.close()
        self.system.look()
        self._has_ended("after a request of its OpenAPI document")

    def _answers(self) -> bool:
        """Whether, as far as is known, it still does: of one that hangs already, bad input would tell nothing."""
        return self.system.ended() is None and (self.openapi is None or self.openapi.ready_after)

    def _probe(self) -> None:
        target = self.plan.target
        self.probes = probe(self.sandbox.host, self.system.front.port, target.request, target.service.ready)
        dead = bool(self.probes) and not self.probes[-1].ready_after
        deadline = time.monotonic() + (_DYING_S if dead else 0.0)
        self.system.look()
        while self.system.ended() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
            self.system.look()
        self._has_ended("after bad input")

    def _end(self) -> None:
        """Whatever happened: nothing stays behind, and the counters are read before the cgroups go."""
        with uninterrupted():
            self.system.close(_INTERRUPTED_GRACE_S)
            if self.system.counters.oom_kills:
                self.kernel_log = kernel_log.read(self.system.cgroups, own_pids=self.sandbox.engine is None)

    def _end_sampling(self, *, failed: bool) -> None:
        """`failed`: an error is on its way, which says more than one about the sampler."""
        with uninterrupted():
            try:
                self.sampler_cpu_s = self.system.stop_sampling()
            except SamplerError:
                if not failed:
                    raise

    def failed(self, why: str) -> None:
        """Save what there is; a run that was broken off has not completed."""
        self.progress.ended(why, Outcome.INTERRUPTED)
        self.save_if_possible()

    def _save_on_the_way(self) -> None:
        """So that a run whose tool is killed can be read as far as it came."""
        store.save(self.directory, self._result(Outcome.INTERRUPTED))

    def save_if_possible(self) -> None:
        """For the way out of a run that failed: the error that is on its way says more than one about saving."""
        with contextlib.suppress(OomproofError):
            self.save()

    def save(self) -> RunResult:
        """Write `run.json` as things stand, tell the observer, and answer with it."""
        progress, kills = self.progress, self.system.counters.oom_kills
        if kills and progress.outcome is not Outcome.INTERRUPTED:
            progress.outcome = Outcome.OOM_KILLED
        result = self._result(progress.outcome)
        store.save(self.directory, result)
        progress.tell_end(kills, peak_unreclaimable(self.directory))
        return result

    def _result(self, outcome: Outcome) -> RunResult:
        plan, load, system = self.plan, self.load_summary, self.system
        counters, ended = system.counters, system.ended() or system.front
        now_ns = time.monotonic_ns()
        return RunResult(
            name=plan.name,
            variant=plan.variant or plan.name,
            target=plan.target,
            limits=plan.limits,
            load=plan.load,
            sandbox=self.sandbox.name,
            argv=plan.argv,
            services=tuple(part.result() for part in system.parts) if plan.target.is_system else (),
            started_at=self.progress.started_at,
            outcome=outcome,
            stop_reason=self.progress.stop_reason,
            oom_kills=counters.oom_kills,
            kills_certain=counters.certain,
            engine_oom_flag=counters.engine_flag,
            exit_status=ended.exit_status,
            start_ns=self.progress.start_ns,
            ready_ns=self.ready_ns,
            load_start_ns=load.started_ns if load else self.load_began_ns,
            load_end_ns=load.ended_ns if load else None,
            load_problem=load_problem(load) if load else None,
            load_workers=load.workers if load else (),
            end_ns=now_ns,
            phases=self.progress.phases_until(now_ns),
            kernel_peak_charged_bytes=counters.peak_charged_bytes,
            clean_end=system.clean_end,
            listening_ns=system.front.listening_ns,
            probes=self.probes,
            openapi=self.openapi,
            quality=self.quality,
            page_cache=self.page_cache,
            sampler_hz=plan.sampler_hz,
            sampler_cpu_s=self.sampler_cpu_s,
            environment=environment.describe(self.sandbox, _PACKAGES),
            sample_fields=samples.FIELDS,
            request_fields=tuple(requestlog.FIELDS),
            capture=plan.capture,
            capture_cost_bytes=plan.capture_cost_bytes,
            epoch_offset_ns=self.epoch_offset_ns,
            kernel_log=self.kernel_log,
        )


def _how(status: int, sandbox: Sandbox) -> str:
    if status == 125 and sandbox.image is None:
        return "it could not enter its cgroup"
    return f"ended by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # real-time signals between the first and the last have no name
        return f"signal {number}"


def peak_unreclaimable(directory: Path) -> int | None:
    """Of the samples in a run's directory, in bytes; None where there are none."""
    found = store.load(directory).samples
    return int(found["unreclaimable"].max()) if len(found) else None
