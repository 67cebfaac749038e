"""The users. Started by the driver, or by hand with Locust's own web page:

locust -f loadtests/locustfile.py --host http://127.0.0.1:8000
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.exception import StopUser

# Locust puts this file's folder on the path, not the one that makes `loadtests` a package. First, for
# the time of the import only, so that nothing of ours shadows what a user's locustfile imports.
_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, _ROOT)
try:
    from loadtests import plan, recording
    from loadtests.bodycheck import compile_body_check
    from loadtests.requestlog import RequestOutcome
    from loadtests.session import Attempt
    from loadtests.shapes import PlanShape
finally:
    sys.path.remove(_ROOT)

__all__ = ["ChatUser", "PlanShape"]

_DEFAULT_USERS = 8
_FOR_EVER_S = 1e6
_KEPT_MESSAGES = 100

logger = logging.getLogger(__name__)

_session = recording.session()
recording.install()
if _session is None:
    _plan = plan.LoadPlan.constant(_DEFAULT_USERS, 60.0)
    _template = plan.RequestTemplate()
else:
    _plan = _session.job.plan
    _template = _session.job.request
_queries = _template.queries or plan.read_queries(plan.DEFAULT_QUERIES_PATH)


class _AnyStatus:
    """Stands in for the client's set of statuses: whether one is right is ours to say.

    Otherwise the client decodes the body of an error answer as UTF-8 for its message, and an answer
    that is not UTF-8 raises instead of being counted.
    """

    def __contains__(self, status: object) -> bool:
        return True


class _QuickCookieJar(CookieJar):
    """Keeps cookies like its base, but costs next to nothing with a service that sets none."""

    def add_cookie_header(self, request: Any) -> None:
        if self._cookies:  # type: ignore[attr-defined]
            super().add_cookie_header(request)

    def extract_cookies(self, response: Any, request: Any) -> None:
        if "set-cookie" in response.headers:
            super().extract_cookies(response, request)


_check_body = None
if _template.expect_json_schema is not None:
    _check_body = compile_body_check(_template.expect_json_schema)


def _headers() -> dict[str, str]:
    given = {name.lower() for name in _template.headers}
    ours = {"Accept": "application/json"}
    if _template.json is not None:
        ours["Content-Type"] = "application/json"
    return {name: value for name, value in ours.items() if name.lower() not in given} | _template.headers


if _session is None:

    def _set_defaults(parser: Any, **_: Any) -> None:
        parser.set_defaults(num_users=_DEFAULT_USERS, spawn_rate=_DEFAULT_USERS, stop_timeout=_plan.stop_timeout_s)

    _listeners: Any = events.init_command_line_parser
    _listeners.add_listener(_set_defaults)


class ChatUser(FastHttpUser):
    """One user with one session, asking one query after the other."""

    # With a locustfile of the user's own, this file only brings the plan and the request log.
    abstract = _session is not None and _session.job.custom_locustfile

    # These bound a single network operation; the whole exchange is bounded below.
    connection_timeout = _plan.request_timeout_s
    network_timeout = _plan.request_timeout_s
    concurrency = 1
    max_redirects = 0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._number = recording.number_user(self)
        self._session_id = plan.session_id(_plan.seed, self._number)
        self._queries = plan.query_sequence(_queries, _plan.seed, self._number)
        self._headers = _headers()
        self._messages: dict[str, tuple[str, bytes | None]] = {}
        self._pause_s = 0.0
        self._leaving = False
        agent: Any = self.client.client
        agent.valid_response_codes = _AnyStatus()
        self.client.cookiejar = agent.cookiejar = _QuickCookieJar()

    def wait_time(self) -> float:
        """Seconds until the next request may be thought of. Locust ends a user that waits at once."""
        return self._pause_s

    def stop(self, force: bool = False) -> bool:
        """Ends this user; True if at once. See Locust's User."""
        # Locust kills a user that waits, but the wait may end before the kill arrives. A request that is
        # sent in between would be cut off for no fault of the service.
        self._leaving = True
        return bool(super().stop(force))

    @task
    def ask(self) -> None:
        """One request, sent when it is due, judged and recorded."""
        intended_ns = None
        if self._leaving:
            raise StopUser
        if _session is not None:
            if _session.ended:
                self._rest(_FOR_EVER_S)
            if _session.schedule is not None:
                intended_ns = self._wait_until_due(_session.schedule)
        path, body = self._message(next(self._queries))
        outcome = self._exchange(path, body, intended_ns)
        failed_to_connect = outcome is RequestOutcome.CONNECTION_ERROR
        self._pause_s = _plan.connection_error_wait_s if failed_to_connect else _plan.think_time_s

    def _message(self, query: str) -> tuple[str, bytes | None]:
        message = self._messages.get(query)
        if message is None:
            values = {"session": self._session_id, "query": query}
            path = plan.substitute_path(_template.path, **values)
            body = None
            if _template.json is not None:
                body = json.dumps(plan.substitute(_template.json, **values)).encode()
            message = path, body
            if len(self._messages) < _KEPT_MESSAGES:
                self._messages[query] = message
        return message

    def _rest(self, seconds: float) -> None:
        self._pause_s = seconds
        wait: Callable[[], None] = self.wait
        wait()

    def _wait_until_due(self, schedule: plan.SendSchedule) -> int:
        due_ns = schedule.take()
        if due_ns is None:
            self._rest(_FOR_EVER_S)
            raise StopUser
        try:
            remaining_s = (due_ns - time.monotonic_ns()) / 1e9
            if remaining_s > 0:
                self._rest(remaining_s)
            if self._leaving:
                raise StopUser
        except (gevent.GreenletExit, StopUser):
            schedule.give_back(due_ns)
            raise
        return due_ns

    def _exchange(self, path: str, body: bytes | None, intended_ns: int | None) -> RequestOutcome:
        attempt = Attempt(self._number, intended_ns, judged=True)
        send: Callable[..., Any] = self.client.request
        limit = gevent.Timeout.start_new(_plan.request_timeout_s)
        try:
            answer = send(
                _template.method,
                path,
                name=_template.path,
                data=body,
                headers=self._headers,
                catch_response=True,
                context=attempt.context,
            )
        except Exception as error:
            # Whatever it is: an answer that the client cannot read; `recording` has written it down.
            logger.debug("unreadable answer: %r", error)
            return RequestOutcome.UNEXPECTED_BODY
        finally:
            limit.close()
        attempt.finished_ns = time.monotonic_ns()
        with answer as response:
            attempt.outcome = _judge(response)
        if attempt.outcome is RequestOutcome.TIMEOUT:
            # A time-out while sending leaves the client's only connection slot taken.
            self.client.client.clientpool.close()
        return attempt.outcome


def _judge(response: Any) -> RequestOutcome:
    error = response.request_meta["exception"]
    if error is not None:
        return recording.classify(error, 0)
    if response.status_code != _template.expect_status:
        response.failure(f"status {response.status_code} instead of {_template.expect_status}")
        return RequestOutcome.UNEXPECTED_STATUS
    if _check_body is not None:
        try:
            _check_body(response.content or b"")
        except ValueError as problem:  # JSON, Unicode and schema errors alike
            response.failure(f"unexpected body: {problem}")
            return RequestOutcome.UNEXPECTED_BODY
    response.success()
    return RequestOutcome.OK
