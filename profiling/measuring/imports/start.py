"""One start of a program under the recorder, in a sandbox: until it is ready, has imported what was asked for, or time is up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from profiling.errors import OutputError
from profiling.import_costs import COLD, ImportStart
from profiling.manifests.secrets import redacted_words
from profiling.measuring import page_cache, store
from profiling.measuring.capture import python_program
from profiling.measuring.events import Observer, PhaseStarted
from profiling.measuring.imports.command import Recording, importing, recording, tidy
from profiling.measuring.interrupts import uninterrupted
from profiling.measuring.readiness import claim_port, free_port, is_ready
from profiling.measuring.sandboxes.base import Launch, Running, Sandbox
from profiling.values import Limits, Outcome, PageCache, Service, Target, Value

LOG_FILE = "service.log"
_POLL_S = 0.02
_GRACE_S = 2.0
_TAIL_BYTES = 4096
_LINE_LENGTH = 300


class ImportPlan(Value, frozen=True, kw_only=True):
    """What is started, and when a start is over."""

    name: str
    target: Target
    modules: tuple[str, ...] = ()
    """Import these in the place of the target's own command; empty: start that, until it is ready."""
    limits: Limits
    timeout_s: float
    port: int | None = None
    """None: a free one."""
    walk: bool = False
    """The kernel's counters lag, so page tables are to be walked."""


class Starter:
    """Makes starts of one program. `open_starter` makes one of these."""

    def __init__(
        self, plan: ImportPlan, sandbox: Sandbox, recording: Recording, target: Target, directory: str
    ) -> None:
        self._plan = plan
        self._sandbox = sandbox
        self._recording = recording
        self._target = target
        """The plan's, with a command that can be seen through to its interpreter."""
        self.directory = directory
        """Where the program runs."""
        self._has_started = False

    @property
    def interpreter(self) -> str:
        return self._recording.program.interpreter

    @property
    def command(self) -> tuple[str, ...]:
        """What is run, without the recorder."""
        program = self._recording.program
        return (program.interpreter, *program.options, *program.arguments)

    def make(self, directory: Path, kind: str, lazy: str | None, observer: Observer) -> ImportStart:
        """One start, recorded into `directory`. Raises CannotRunError if it could not be made, KeyboardInterrupt."""
        plan, title = self._plan, f"{kind} start" if lazy is None else f"{lazy} put off"
        store.make_directory(directory)
        cache = self._page_cache(kind, title, observer)
        observer.notify(PhaseStarted(run=title, phase="imports"))
        interior = self._sandbox.interior(self._target.service, directory.resolve())
        port = claim_port(plan.port) if plan.port else free_port()
        try:
            command = self._recording.command(interior, directory.resolve(), lazy=lazy, walk=plan.walk)
            service = with_command(self._target.service, command, interior.directory)
            began = time.monotonic()
            with self._started(service, port, directory) as running:
                outcome, reason = self._wait(running, port, began + plan.timeout_s)
                elapsed_s = time.monotonic() - began
        finally:
            with uninterrupted(), contextlib.suppress(OutputError):  # as it was written it can be read as well
                tidy(directory)
        kills = running.counters().oom_kills
        if kills:
            outcome, reason = Outcome.OOM_KILLED, "killed at the limit of the recording"
        return ImportStart(
            directory=directory.name,
            kind=kind,
            lazy=lazy,
            outcome=outcome,
            stop_reason=reason,
            said=_last_line(directory / LOG_FILE) if outcome is Outcome.CRASHED else None,
            oom_kills=kills,
            page_cache=cache,
            elapsed_s=elapsed_s,
        )

    def _page_cache(self, kind: str, title: str, observer: Observer) -> PageCache:
        """Dropped for a cold start; for another one warm, if an earlier start has read what there is to read."""
        before, self._has_started = self._has_started, True
        reads = self._sandbox.reads(self._target) if kind == COLD else None
        if reads is None:
            return PageCache.WARM if before and kind != COLD else PageCache.UNKNOWN
        observer.notify(PhaseStarted(run=title, phase="drop-caches"))
        return page_cache.drop(reads)

    @contextlib.contextmanager
    def _started(self, service: Service, port: int, directory: Path) -> Iterator[Running]:
        running = self._sandbox.start(
            Launch(
                service=service,
                limits=self._plan.limits,
                port=port,
                directory=str(directory.resolve()),
                log=str(directory / LOG_FILE),
                traced=True,
            )
        )
        try:
            yield running
        finally:
            with uninterrupted():
                running.stop(_GRACE_S)
                running.close()

    def _wait(self, running: Running, port: int, deadline: float) -> tuple[Outcome, str | None]:
        plan = self._plan
        while True:
            status = running.exit_status()
            if status is not None:
                if status:
                    return Outcome.CRASHED, _how(status)
                return Outcome.COMPLETED, None if plan.modules else "it ended by itself before it was ready"
            if running.counters().oom_kills:
                return Outcome.OOM_KILLED, None
            if not plan.modules and is_ready(self._sandbox.host, port, self._target.service.ready, timeout_s=1.0):
                return Outcome.COMPLETED, None
            if time.monotonic() > deadline:
                what = "not all was imported" if plan.modules else "not ready"
                return Outcome.NEVER_READY, f"{what} within {plan.timeout_s:g} s"
            time.sleep(_POLL_S)


def open_starter(plan: ImportPlan, sandbox: Sandbox, scratch: Path) -> Starter:
    """Look through the plan's command to its interpreter and prepare the recorder for that, about 0.1 s.

    `scratch`: a directory of ours. Raises `CannotTrackError` with the reason why the program cannot be entered.
    """
    target = plan.target
    interior = sandbox.interior(target.service, scratch.resolve())
    if plan.modules:
        program = python_program(interior)
        command = (program.interpreter, *program.options, "-c", importing(plan.modules))
        service = with_command(target.service, command, target.service.directory)
        target = msgspec.structs.replace(target, services=(service,))
        interior = sandbox.interior(service, scratch.resolve())
    return Starter(plan, sandbox, recording(interior), target, interior.directory)


def with_command(service: Service, command: tuple[str, ...], directory: str) -> Service:
    """The service with `command` in the place of its own, for whichever sandbox it runs in."""
    return msgspec.structs.replace(
        service,
        command=command,
        image=msgspec.structs.replace(service.image, command=command) if service.image else None,
        directory=directory,
    )


def _how(status: int) -> str:
    return f"it was ended by signal {-status}" if status < 0 else f"it ended with exit status {status}"


def _last_line(log: Path) -> str | None:
    """The last line that the program printed, of a traceback what it was about; without what looks like a secret."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return None
    return " ".join(redacted_words(lines[-1].split()))[:_LINE_LENGTH] if lines else None
