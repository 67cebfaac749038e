"""The users. Started by the driver, or by hand with Locust's own web page:

locust -f loadtests/locustfile.py --host http://127.0.0.1:8000
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.exception import CatchResponseError, StopUser

# Locust puts this file's folder on the path, not the one that makes `loadtests` a package. First, for
# the time of the import only, so that nothing of ours shadows what a user's locustfile imports.
_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, _ROOT)
try:
    from loadtests import plan, recording
    from loadtests.bodycheck import compile_body_check
    from loadtests.requestlog import RequestOutcome
    from loadtests.sending import Answer, Message, Sender
    from loadtests.session import CONTEXT_KEY, Attempt
    from loadtests.shapes import PlanShape
finally:
    sys.path.remove(_ROOT)

__all__ = ["ChatUser", "PlanShape"]

_DEFAULT_USERS = 8
_FOR_EVER_S = 1e6
_KEPT_MESSAGES = 100

_session = recording.session()
recording.install()
if _session is None:
    _plan = plan.LoadPlan.constant(_DEFAULT_USERS, 60.0)
    _template = plan.RequestTemplate()
else:
    _plan = _session.job.plan
    _template = _session.job.request
_told = _session is None or _session.job.custom_locustfile
"""Whether anybody listens to Locust's events: its own web page, or a locustfile built on this one."""
_queries = _template.queries or plan.read_queries(plan.DEFAULT_QUERIES_PATH)


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

    # These bound a single network operation of Locust's own client, in case somebody who builds upon this one uses it.
    connection_timeout = _plan.request_timeout_s
    network_timeout = _plan.request_timeout_s
    concurrency = 1
    max_redirects = 0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._number = recording.number_user(self)
        self._session_id = plan.session_id(_plan.seed, self._number)
        self._queries = plan.query_sequence(_queries, _plan.seed, self._number)
        self._messages: dict[str, Message] = {}
        self._pause_s = 0.0
        self._leaving = False
        self._sender = Sender(self.client, _template.method, _headers(), _plan.request_timeout_s)

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
        outcome = self._ask(self._message(next(self._queries)), intended_ns)
        failed_to_connect = outcome is RequestOutcome.CONNECTION_ERROR
        self._pause_s = _plan.connection_error_wait_s if failed_to_connect else _plan.think_time_s

    def _message(self, query: str) -> Message:
        message = self._messages.get(query)
        if message is None:
            values = {"session": self._session_id, "query": query}
            body = None
            if _template.json is not None:
                body = json.dumps(plan.substitute(_template.json, **values)).encode()
            message = self._sender.message(plan.substitute_path(_template.path, **values), body)
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

    def _ask(self, message: Message, intended_ns: int | None) -> RequestOutcome:
        attempt = Attempt(self._number, intended_ns)
        if _session is None:
            answer = self._sender.exchange(message)
            attempt.finished_ns = time.monotonic_ns()
            outcome = _judge(answer)
        else:
            _session.sending(attempt)
            try:
                answer = self._sender.exchange(message)
            except gevent.GreenletExit:
                _session.cut(attempt)
                raise
            attempt.finished_ns = time.monotonic_ns()
            outcome = _judge(answer)
            _session.record(attempt, outcome, answer.status_code, len(answer.content))
        if _told:
            self._tell(attempt, answer, outcome)
        return outcome

    def _tell(self, attempt: Attempt, answer: Answer, outcome: RequestOutcome) -> None:
        """As Locust's own client tells whoever listens."""
        took_ns = time.monotonic_ns() - attempt.sent_ns
        self.environment.events.request.fire(
            request_type=_template.method,
            name=_template.path,
            response_time=((attempt.finished_ns or 0) - attempt.sent_ns) / 1e6,
            response_length=len(answer.content),
            response=answer,
            context={**self.context(), CONTEXT_KEY: attempt},
            exception=None if outcome is RequestOutcome.OK else answer.error or CatchResponseError(_problem(answer)),
            start_time=time.time() - took_ns / 1e9,
            url=f"{self.host}{_template.path}",
        )


def _judge(answer: Answer) -> RequestOutcome:
    if answer.failure is not None:
        return answer.failure
    if answer.status_code != _template.expect_status:
        return RequestOutcome.UNEXPECTED_STATUS
    if _check_body is not None:
        try:
            _check_body(answer.content)
        except ValueError:  # JSON, Unicode and schema errors alike
            return RequestOutcome.UNEXPECTED_BODY
    return RequestOutcome.OK


def _problem(answer: Answer) -> str:
    """What is wrong with an answer that came, in words."""
    if answer.status_code != _template.expect_status:
        return f"status {answer.status_code} instead of {_template.expect_status}"
    return "unexpected body"
