"""One driven load as the Locust process knows it: its requests under way, its log, its status. Only for that process."""

import itertools
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, Protocol

import gevent
import msgspec
from gevent.event import Event
from gevent.socket import wait_read

from loadtests.plan import LoadJob, LoadStatus, SendSchedule
from loadtests.processor import wanted_s
from loadtests.pruning import prune
from loadtests.requestlog import UNKNOWN_USER, RequestLogWriter, RequestOutcome, pack_fields

CONTEXT_KEY: Final = "oomproof_attempt"
PRUNE_INTERVAL_S: Final = 60.0
_WATCH_INTERVAL_S: Final = 0.2
_OVERDUE_SLACK_S: Final = 30.0  # more than the driver allows: it acts first if it is there

_PARTING_S: Final = 0.1
_NOTHING: Final = 1 << 62  # a place in the schedule after all that is due

logger = logging.getLogger(__name__)


class Attempt:
    """One request under way. Travels to the listener in Locust's request context."""

    __slots__ = ("finished_ns", "intended_ns", "recorded", "sent_ns", "user")

    def __init__(self, user: int, intended_ns: int | None = None) -> None:
        self.user = user
        self.sent_ns = time.monotonic_ns()
        self.intended_ns = self.sent_ns if intended_ns is None else intended_ns
        self.finished_ns: int | None = None
        self.recorded = False


class Sink(Protocol):
    """Takes the records: a file, or the master."""

    def append_packed(self, records: bytes) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Crew(Protocol):
    """A master's workers. See `master`."""

    def gather(self) -> bool: ...
    def begin(self, start_ns: int) -> None: ...
    def look(self) -> None: ...
    def finish(self) -> None: ...


class Session:
    """The state of one driven load in one process: alone, as the master, or as a worker."""

    def __init__(self, job: LoadJob) -> None:
        self.job = job
        self.schedule: SendSchedule | None = None
        self.stop_requested = Event()
        self.crew: Crew | None = None
        self._sink: Sink | None = None
        self._runner: Any = None
        self._in_flight: set[Attempt] = set()
        self._started_ns: int | None = None
        self._cpu_at_start_s = 0.0
        self._status = LoadStatus()
        self._numbers = itertools.count()
        self._rank, self._of = 0, 1
        self._reports = True

    def attach(self, environment: Any, sink: Sink | None = None, crew: Crew | None = None) -> None:
        """Connects to Locust once its runner exists. `sink`: a worker's way to its master; else the log is written here."""
        self._runner = environment.runner
        self._sink = sink or RequestLogWriter(Path(self.job.log_path))
        self.crew = crew
        self._reports = sink is None  # a worker tells its master instead, at the end
        # The command line knows whole seconds only.
        environment.stop_timeout = self.job.plan.stop_timeout_s
        # Locust's own reaction to SIGINT is a KeyboardInterrupt in whatever code happens to run, and it
        # has no handler for SIGTERM while a shape is active.
        gevent.signal_handler(signal.SIGINT, self.stop_requested.set)
        gevent.signal_handler(signal.SIGTERM, self.stop_requested.set)
        if sink is None:
            gevent.spawn(self._watch)
            self.report(ready=crew is None)

    @property
    def log(self) -> RequestLogWriter:
        """The log's file, of a process that writes it."""
        assert isinstance(self._sink, RequestLogWriter)
        return self._sink

    @property
    def status(self) -> LoadStatus:
        """How it stands."""
        return self._status

    @property
    def ended(self) -> bool:
        """True once no new request is to be sent."""
        return self._status.ended_ns is not None

    def next_number(self) -> int:
        """The number of one more user: from 0 in the order of their start, and of several workers none has another's."""
        return next(self._numbers) * self._of + self._rank

    def wait_for_release(self) -> bool:
        """Blocks until the driver lets the load begin; False if it must not begin any more."""
        if self.crew is not None:
            if not self.crew.gather():
                return False
            self.report(ready=True)
        descriptor = self.job.release_fd
        if descriptor is None:
            return not self.stop_requested.is_set()
        waiter = gevent.spawn(wait_read, descriptor)
        gevent.wait([waiter, self.stop_requested], count=1)
        waiter.kill()
        if self.stop_requested.is_set():
            return False
        # End of file without a byte: the driver is gone.
        return os.read(descriptor, 1) != b""

    def begin(self) -> int:
        """The plan starts now. Returns the start in ns of CLOCK_MONOTONIC."""
        now = time.monotonic_ns()
        self.begin_at(now)
        self.report(started_ns=now)
        if self.crew is not None:
            self.crew.begin(now)
        return now

    def begin_at(self, start_ns: int, rank: int = 0, of: int = 1) -> None:
        """The plan starts, or has started, at `start_ns`. A worker, from 0 the `rank`-th of `of`, has a share of it."""
        plan = self.job.plan
        self._started_ns = start_ns
        self._cpu_at_start_s = wanted_s()
        self._rank, self._of = rank, of
        if plan.rate is not None:
            # A worker without a user would send nothing of its share.
            sharing = min(of, *(stage.users for stage in plan.stages))
            first = rank if rank < sharing else _NOTHING
            self.schedule = SendSchedule(plan.rate, plan.duration_s, start_ns, first, sharing)

    def end(self, *, completed: bool) -> None:
        """No new request is to be sent from now on."""
        now = time.monotonic_ns()
        if self._started_ns is None or self.ended:
            return
        elapsed_s = (now - self._started_ns) / 1e9
        cpu_s = wanted_s() - self._cpu_at_start_s
        share = cpu_s / elapsed_s if elapsed_s > 0 else None
        self.report(ended_ns=now, cpu_share=share, completed=completed and self.crew is None)
        if self.crew is not None:
            self.crew.finish()
            self.report(completed=completed)
            return
        while self.schedule is not None and (due := self.schedule.take()) is not None and due < now:
            self._append(pack_fields(due, now, now, 0, UNKNOWN_USER, self._active(), 0, RequestOutcome.NOT_SENT))

    def cut_all(self) -> None:
        """Requests that are still under way count as cut."""
        for attempt in list(self._in_flight):
            self.cut(attempt)

    def close(self) -> None:
        """Writes everything out."""
        self.cut_all()
        try:
            if self._sink is not None:
                self._sink.close()
        except OSError as error:
            self.report(message=f"the request log could not be written: {error}")

    def leave(self) -> None:
        """Ends a master whose workers have reported; any other process ends as Locust does.

        Locust's master sleeps for two seconds in all on its way out, for reports that have all come.
        """
        if self.crew is None or self.job.custom_locustfile:
            return
        self.close()
        gevent.sleep(_PARTING_S)  # the workers' word to go is still on its way
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def sending(self, attempt: Attempt) -> None:
        """A request goes out."""
        self._in_flight.add(attempt)

    def cut(self, attempt: Attempt) -> None:
        """A request is given up because its user has to go."""
        attempt.finished_ns = time.monotonic_ns()
        self.record(attempt, RequestOutcome.CUT_AT_END, 0, 0)

    def record(self, attempt: Attempt, outcome: RequestOutcome, status: int, response_bytes: int) -> None:
        """Writes one request to the log, once."""
        if attempt.recorded:
            return
        attempt.recorded = True
        self._in_flight.discard(attempt)
        finished_ns = attempt.finished_ns if attempt.finished_ns is not None else time.monotonic_ns()
        self._append(
            pack_fields(
                attempt.intended_ns,
                attempt.sent_ns,
                finished_ns,
                response_bytes,
                attempt.user,
                self._active(),
                status,
                outcome,
            )
        )

    def count_task_error(self, error: BaseException) -> None:
        """A user's own code raised."""
        first = self._status.message is None
        message = f"{type(error).__name__}: {error}" if first else self._status.message
        self._status = msgspec.structs.replace(self._status, task_errors=self._status.task_errors + 1, message=message)
        if first:
            self.report()

    def report(self, **changes: Any) -> None:
        """Notes how it stands, where the driver sees it."""
        self._status = msgspec.structs.replace(self._status, **changes)
        if not self._reports:
            return
        path = Path(self.job.status_path)
        fresh = path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(self._status))
            fresh.replace(path)
        except OSError as error:
            logger.error("cannot write %s: %s", path, error)

    def cannot_write(self, error: OSError) -> None:
        """The log's disk is full, for one: there is no point in going on."""
        if not self.stop_requested.is_set():
            self.report(message=f"the request log could not be written: {error}")
            self.stop_requested.set()

    def _active(self) -> int:
        return 0 if self._runner is None else int(self._runner.user_count)

    def _append(self, record: bytes) -> None:
        assert self._sink is not None
        try:
            self._sink.append_packed(record)
        except OSError as error:
            self.cannot_write(error)

    def _watch(self) -> None:
        """Keeps the log fresh, and ends this process if the driver is gone or the plan is long over."""
        plan = self.job.plan
        allowed_ns = (plan.duration_s + plan.stop_timeout_s + _OVERDUE_SLACK_S) * 1e9
        pruned_at = time.monotonic()
        while True:
            gevent.sleep(_WATCH_INTERVAL_S)
            if time.monotonic() - pruned_at > PRUNE_INTERVAL_S:
                prune(self._runner.stats)
                pruned_at = time.monotonic()
            if self.crew is not None:
                self.crew.look()
            try:
                self.log.flush()
            except OSError as error:
                self.cannot_write(error)
            orphaned = os.getppid() != self.job.parent_pid
            started = self._started_ns
            if orphaned or (started is not None and time.monotonic_ns() - started > allowed_ns):
                logger.error("the driver is gone" if orphaned else "the plan is long over")
                self.crew = None  # nobody waits for the workers any more; they notice by themselves
                self.end(completed=False)
                self.close()
                # Nobody is left to wait for a clean end, and one could hang.
                os._exit(3)
