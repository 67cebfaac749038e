"""Writes what Locust does to the request log, for our own users and for anybody's locustfile.

Only for the Locust subprocess. `session()` is what the rest of this process shares; it is None where
Locust runs alone, without a driver.
"""

import functools
import itertools
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import gevent  # type: ignore[import-untyped]
import msgspec
import requests
from gevent.event import Event  # type: ignore[import-untyped]
from gevent.socket import wait_read  # type: ignore[import-untyped]
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import User
from locust import events as _untyped_events
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession

from loadtests.plan import LoadJob, LoadStatus, SendSchedule
from loadtests.processor import wanted_s
from loadtests.requestlog import UNKNOWN_USER, RequestLogWriter, RequestOutcome, RequestRecord

JOB_VARIABLE: Final = "OOMPROOF_LOAD"
"""Names the file with the `LoadJob`; unset where Locust is started by hand."""

_BROKEN_CONNECTION: Final = (
    ConnectionError,
    HTTPConnectionClosed,
    HTTPParseError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
)
_CONTEXT_KEY: Final = "oomproof_attempt"
_WATCH_INTERVAL_S: Final = 0.2
_OVERDUE_SLACK_S: Final = 30.0  # more than the driver allows: it acts first if it is there

_events: Any = _untyped_events
_numbers = itertools.count()

logger = logging.getLogger(__name__)


class Attempt:
    """One request under way. Travels to the listener in Locust's request context."""

    __slots__ = ("finished_ns", "intended_ns", "judged", "outcome", "recorded", "sent_ns", "user")

    def __init__(self, user: int, intended_ns: int | None = None, *, judged: bool = False) -> None:
        self.user = user
        self.sent_ns = time.monotonic_ns()
        self.intended_ns = self.sent_ns if intended_ns is None else intended_ns
        self.finished_ns: int | None = None
        self.outcome: RequestOutcome | None = None
        # True for our own users, who say themselves what the outcome is and how long they wait after it.
        self.judged = judged
        self.recorded = False

    @property
    def context(self) -> dict[str, Any]:
        """What to pass to the client as `context`."""
        return {_CONTEXT_KEY: self}


class Session:
    """The state of one driven load: the log, the status file, the stop request."""

    def __init__(self, job: LoadJob) -> None:
        self.job = job
        self.schedule: SendSchedule | None = None
        self.stop_requested = Event()
        self._log = RequestLogWriter(Path(job.log_path))
        self._runner: Any = None
        self._in_flight: set[Attempt] = set()
        self._started_ns: int | None = None
        self._cpu_at_start_s = 0.0
        self._status = LoadStatus()

    def attach(self, environment: Any) -> None:
        """Connects to Locust once its runner exists."""
        self._runner = environment.runner
        # The command line knows whole seconds only.
        environment.stop_timeout = self.job.plan.stop_timeout_s
        # Locust's own reaction to SIGINT is a KeyboardInterrupt in whatever code happens to run, and it
        # has no handler for SIGTERM while a shape is active.
        gevent.signal_handler(signal.SIGINT, self.stop_requested.set)
        gevent.signal_handler(signal.SIGTERM, self.stop_requested.set)
        gevent.spawn(self._watch)
        self._report(ready=True)

    @property
    def ended(self) -> bool:
        """True once no new request is to be sent."""
        return self._status.ended_ns is not None

    def wait_for_release(self) -> bool:
        """Blocks until the driver lets the load begin; False if it must not begin any more."""
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
        self._started_ns = now
        self._cpu_at_start_s = wanted_s()
        plan = self.job.plan
        if plan.rate is not None:
            self.schedule = SendSchedule(plan.rate, plan.duration_s, now)
        self._report(started_ns=now)
        return now

    def end(self, *, completed: bool) -> None:
        """No new request is to be sent from now on."""
        now = time.monotonic_ns()
        if self._started_ns is None or self._status.ended_ns is not None:
            return
        elapsed_s = (now - self._started_ns) / 1e9
        cpu_s = wanted_s() - self._cpu_at_start_s
        self._report(ended_ns=now, completed=completed, cpu_share=cpu_s / elapsed_s if elapsed_s > 0 else None)
        while self.schedule is not None and (due := self.schedule.take()) is not None and due < now:
            self._append(RequestRecord(due, now, now, 0, UNKNOWN_USER, self._active(), 0, RequestOutcome.NOT_SENT))

    def close(self) -> None:
        """Writes everything out. Requests that are still under way count as cut."""
        for attempt in list(self._in_flight):
            self.cut(attempt)
        try:
            self._log.close()
        except OSError as error:
            self._report(message=f"the request log could not be written: {error}")

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
            RequestRecord(
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
            self._report()

    def _active(self) -> int:
        return 0 if self._runner is None else int(self._runner.user_count)

    def _append(self, record: RequestRecord) -> None:
        try:
            self._log.append(record)
        except OSError as error:
            self._cannot_write(error)

    def _cannot_write(self, error: OSError) -> None:
        if not self.stop_requested.is_set():
            self._report(message=f"the request log could not be written: {error}")
            self.stop_requested.set()

    def _report(self, **changes: Any) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        path = Path(self.job.status_path)
        fresh = path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(self._status))
            fresh.replace(path)
        except OSError as error:
            logger.error("cannot write %s: %s", path, error)

    def _watch(self) -> None:
        """Keeps the log fresh, and ends this process if the driver is gone or the plan is long over."""
        plan = self.job.plan
        allowed_ns = (plan.duration_s + plan.stop_timeout_s + _OVERDUE_SLACK_S) * 1e9
        while True:
            gevent.sleep(_WATCH_INTERVAL_S)
            try:
                self._log.flush()
            except OSError as error:
                self._cannot_write(error)
            orphaned = os.getppid() != self.job.parent_pid
            started = self._started_ns
            if orphaned or (started is not None and time.monotonic_ns() - started > allowed_ns):
                logger.error("the driver is gone" if orphaned else "the plan is long over")
                self.end(completed=False)
                self.close()
                # Nobody is left to wait for a clean end, and one could hang.
                os._exit(3)


def _load_job() -> LoadJob | None:
    path = os.environ.get(JOB_VARIABLE)
    if path is None:
        return None
    return msgspec.json.decode(Path(path).read_bytes(), type=LoadJob)


_job = _load_job()
_session = None if _job is None else Session(_job)


def session() -> Session | None:
    """The driven load that this process carries out; None where Locust was started by hand."""
    return _session


def classify(error: BaseException | None, status: int) -> RequestOutcome:
    """The outcome of a request that ended with this exception (None: success) and HTTP status (0: none)."""
    if error is None:
        return RequestOutcome.OK
    # geventhttpclient wraps a time-out of a POST as "retries exceeded", urllib3 wraps it in several layers.
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if any("Timeout" in base.__name__ for base in type(cause).__mro__):
            return RequestOutcome.TIMEOUT
        inner = getattr(cause, "original", None) or getattr(cause, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in cause.args if isinstance(arg, BaseException)), None)
        cause = inner or cause.__cause__ or cause.__context__
    if status == 0 or isinstance(error, _BROKEN_CONNECTION):
        return RequestOutcome.CONNECTION_ERROR
    if status >= 400:
        return RequestOutcome.UNEXPECTED_STATUS
    return RequestOutcome.UNEXPECTED_BODY


def _on_request(
    *,
    response_time: float,
    response_length: int,
    exception: BaseException | None = None,
    context: dict[str, Any] | None = None,
    response: Any = None,
    start_time: float | None = None,
    **_: Any,
) -> None:
    current = session()
    if current is None:
        return
    attempt = (context or {}).get(_CONTEXT_KEY)
    if attempt is None:
        # Some other client fired the event: all that is known is how long it took, on the wall clock.
        attempt = Attempt(UNKNOWN_USER)
        began_ago_s = (response_time or 0.0) / 1e3
        if start_time is not None:
            began_ago_s = max(began_ago_s, time.time() - start_time)
        attempt.sent_ns = attempt.intended_ns = time.monotonic_ns() - int(began_ago_s * 1e9)
    if attempt.finished_ns is None and response_time is not None:
        # A user may look at the answer for a while before the event is fired.
        attempt.finished_ns = attempt.sent_ns + int(response_time * 1e6)
    status = int(getattr(response, "status_code", 0) or 0)
    outcome = attempt.outcome if attempt.outcome is not None else classify(exception, status)
    current.record(attempt, outcome, status, int(response_length or 0))
    if outcome is RequestOutcome.CONNECTION_ERROR and not attempt.judged:
        gevent.sleep(current.job.plan.connection_error_wait_s)


def _on_user_error(exception: BaseException, **_: Any) -> None:
    current = session()
    if current is not None:
        current.count_task_error(exception)


def _on_init(environment: Any, **_: Any) -> None:
    # gevent counts timers from the start of its loop's current round, which here is before the imports: without this
    # Locust's `--run-time 2s` lasts for one.
    gevent.get_hub().loop.update_now()
    current = session()
    if current is not None:
        current.attach(environment)


def _on_quitting(**_: Any) -> None:
    current = session()
    if current is not None:
        current.end(completed=False)


def _on_quit(exit_code: int, **_: Any) -> None:
    current = session()
    if current is None:
        return
    current.close()
    if not current.job.custom_locustfile:
        # Nothing is left to do, and tearing down the interpreter takes as long as a short stage.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def number_user(user: Any) -> int:
    """The number of a Locust user, from 0 in the order in which they were first seen."""
    number = getattr(user, "_oomproof_number", None)
    if number is None:
        number = next(_numbers)
        user._oomproof_number = number
    return int(number)


def _current_user() -> int:
    """The number of the Locust user whose greenlet this is."""
    arguments = getattr(gevent.getcurrent(), "args", None)
    if arguments and isinstance(arguments[0], User):
        return number_user(arguments[0])
    return UNKNOWN_USER


def _observe(client: type) -> None:
    """Makes a Locust HTTP client note when a request goes out.

    The request event alone is not enough: it is never fired for a request that is in flight when its
    user is stopped, nor for an answer that the client fails to read.
    """
    original = client.request  # type: ignore[attr-defined]

    @functools.wraps(original)
    def request(self: Any, *args: Any, context: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        current = session()
        if current is None:
            return original(self, *args, context=context or {}, **kwargs)
        attempt = (context or {}).get(_CONTEXT_KEY) or Attempt(_current_user())
        current.sending(attempt)
        try:
            return original(self, *args, context={**(context or {}), **attempt.context}, **kwargs)
        except gevent.GreenletExit:
            current.cut(attempt)
            raise
        except Exception:
            attempt.finished_ns = time.monotonic_ns()
            current.record(attempt, RequestOutcome.UNEXPECTED_BODY, 0, 0)
            raise

    client.request = request  # type: ignore[attr-defined]


def install() -> None:
    """Registers the listeners; the second time does nothing. Without a driver there is nothing to record."""
    if getattr(sys, "_oomproof_recording", False):
        return
    sys._oomproof_recording = True  # type: ignore[attr-defined]
    _events.init.add_listener(_on_init)
    if _session is None:
        return
    _events.request.add_listener(_on_request)
    _events.user_error.add_listener(_on_user_error)
    _events.quitting.add_listener(_on_quitting)
    _events.quit.add_listener(_on_quit)
    _observe(FastHttpSession)
    _observe(HttpSession)
