"""Writes what Locust does to the request log, for our own users and for anybody's locustfile.

Only for the Locust subprocess. `session()` is what the rest of this process shares; it is None where
Locust runs alone, without a driver.
"""

import functools
import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import gevent
import msgspec
import requests
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import User
from locust import events as _untyped_events
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.runners import MasterRunner, WorkerRunner

from loadtests import handed
from loadtests.master import Master
from loadtests.plan import LoadJob
from loadtests.requestlog import UNKNOWN_USER, RequestOutcome
from loadtests.session import CONTEXT_KEY, Attempt, Session
from loadtests.worker import Worker

JOB_VARIABLE: Final = "OOMPROOF_LOAD"
"""Names the file with the `LoadJob`; unset where Locust is started by hand."""

_BROKEN_CONNECTION: Final = (
    ConnectionError,
    HTTPConnectionClosed,
    HTTPParseError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
)
_events: Any = _untyped_events
_by_hand = itertools.count()


def _load_job() -> LoadJob | None:
    path = os.environ.get(JOB_VARIABLE)
    if path is None:
        return handed.job
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
    attempt = (context or {}).get(CONTEXT_KEY)
    if attempt is not None and attempt.recorded:  # our own users record for themselves
        return
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
    outcome = classify(exception, status)
    current.record(attempt, outcome, status, int(response_length or 0))
    if outcome is RequestOutcome.CONNECTION_ERROR:
        gevent.sleep(current.job.plan.connection_error_wait_s)


def _on_user_error(exception: BaseException, **_: Any) -> None:
    current = session()
    if current is not None:
        current.count_task_error(exception)


def _on_init(environment: Any, **_: Any) -> None:
    # gevent counts timers from the start of its loop's current round, which here is before the imports: without this
    # Locust's `--run-time 2s` lasts for one.
    gevent.get_hub().loop.update_now()
    current, runner = session(), environment.runner
    if isinstance(runner, WorkerRunner) and (current is not None or handed.refused):
        Worker(current, environment)
    elif current is not None:
        crew = Master(current, environment) if isinstance(runner, MasterRunner) else None
        current.attach(environment, crew=crew)


def _on_quitting(**_: Any) -> None:
    current = session()
    if current is not None:
        current.end(completed=False)


def _on_quit(exit_code: int, **_: Any) -> None:
    current = session()
    if current is None:
        return
    current.close()
    if not current.job.custom_locustfile or current.crew is not None:
        # Nothing is left to do, and tearing down the interpreter takes as long as a short stage.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def number_user(user: Any) -> int:
    """The number of a Locust user, from 0 in the order in which they were first seen."""
    number = getattr(user, "_oomproof_number", None)
    if number is None:
        current = session()
        number = next(_by_hand) if current is None else current.next_number()
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
        user = getattr(self, "user", None)
        attempt = Attempt(_current_user() if user is None else number_user(user))
        current.sending(attempt)
        try:
            return original(self, *args, context={**(context or {}), CONTEXT_KEY: attempt}, **kwargs)
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
