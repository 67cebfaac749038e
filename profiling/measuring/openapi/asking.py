"""The checker's process: reads its task on standard input, asks the service, says what it finds on standard output.

Everything that is generated follows from the document and a fixed seed. What is sent: requests that are valid by the
document, of the operations that may be asked, to the service alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, BaseSchema, Response
from schemathesis import Case as GenericCase
from schemathesis.checks import CheckFunction, load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Err, Ok
from schemathesis.errors import InvalidSchema, LoaderError, SchemathesisError
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from profiling.measuring.openapi import guard
from profiling.measuring.openapi.choosing import base_path, is_own, refers_elsewhere
from profiling.measuring.openapi.explaining import explain
from profiling.measuring.openapi.messages import Asked, Chosen, Done, Found, Message, Ready, Task, Unusable
from profiling.measuring.readiness import url

_SEED = 20
_DOCUMENTED_AT_MOST = 3
"""So many of an operation's own examples are sent beside what is generated."""
_SHARE_AT_LEAST_S = 0.25
"""So long each operation has, however many there are: better some that are asked than all that are nearly asked."""
_BODY_AT_MOST = 4 << 20
"""So much of an answer is read; a longer one is not compared with its schema."""
_BODY_SHOWN = 120
_CONFIG = {"generation": {"mode": "positive", "with-security-parameters": False}}
"""No credentials are made up: those that the service wants stand in `[request]`."""
_HEADS: tuple[CheckFunction, ...] = (not_a_server_error, status_code_conformance, content_type_conformance)
Say = Callable[[Message], None]
Operation = APIOperation[Any, Any, Any, Any]
Case = GenericCase[Any]


def main() -> None:
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no message

    def say(message: Message) -> None:
        output.write(msgspec.json.encode(message) + b"\n")
        output.flush()

    guard.limit_memory()
    _warm_up()
    try:
        say(Ready())
    except BrokenPipeError:
        os._exit(1)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # nobody needs us
    guard.end_with(sys.stdin.buffer)
    failed = ""
    try:
        ask(msgspec.json.decode(line, type=Task), say)
    except Exception as error:  # its traceback could quote headers
        failed = f"{type(error).__name__}: {_first_line(error)}"
    say(Done(failed=failed))
    os._exit(0)  # nothing here needs to be put away


def ask(task: Task, say: Say) -> None:
    """Ask all that may be asked, as far as the time goes."""
    deadline = time.monotonic() + task.window_s
    guard.connect_only_to(task.host, task.port)
    schema = _load(task, say)
    if schema is None:
        return
    try:
        with guard.at_most(task.window_s):
            chosen, base = _choose(schema, task, say)
            for number, operation in enumerate(chosen):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                share = min(left, max(_SHARE_AT_LEAST_S, left / (len(chosen) - number)))
                _Asker(task, base, say).ask(operation, share)
    except guard.OutOfTime:
        pass


def _warm_up() -> None:
    """Import and build what is imported and built at first use, while nobody waits. Nothing is sent."""
    content = {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": {"type": "string"}}}}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "", "version": ""},
        "paths": {
            "/{x}": {
                "post": {
                    "parameters": [{"name": "x", "in": "path", "required": True, "schema": {"type": "string"}}],
                    "requestBody": content,
                    "responses": {"200": {"description": "", **content}},
                }
            }
        },
    }

    def act(case: Case) -> None:
        kwargs = case.as_transport_kwargs(base_url="http://127.0.0.1")
        response = Response(
            status_code=200,
            headers={"Content-Type": ["application/json"]},
            content=b'{"x": 0}',
            request=requests.Request(kwargs["method"], kwargs["url"], json=kwargs.get("json")).prepare(),
            elapsed=0.0,
            verify=False,
        )
        with contextlib.suppress(FailureGroup):
            case.validate_response(response, checks=[*_HEADS, response_schema_conformance])

    load_all_checks()
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(_CONFIG))
    schema.validate()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        _each(found.ok().as_strategy(), 5, act)


def _each(strategy: SearchStrategy[Case], count: int, act: Callable[[Case], object]) -> None:
    """Call `act` with up to `count` cases, always the same ones. Raises Unsatisfiable if there is none."""

    @seed(_SEED)
    @settings(
        database=None,
        deadline=None,
        derandomize=False,
        max_examples=count,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(strategy)
    def each(case: Case) -> None:
        act(case)

    each()


def _load(task: Task, say: Say) -> BaseSchema | None:
    try:
        schema = schemathesis.openapi.from_file(task.document, config=schemathesis.Config.from_dict(_CONFIG))
        elsewhere = refers_elsewhere(schema.raw_schema, local=task.file is not None)
    except LoaderError as error:
        say(Unusable(reason="; ".join([_first_line(error), *error.extras[:1]])))
        return None
    except Exception as error:  # made of anything at all, it may be wrong in any way
        say(Unusable(reason=f"it cannot be read ({type(error).__name__})"))
        return None
    if elsewhere is not None:
        say(Unusable(reason=f"it refers to {elsewhere}, which is not read: bundle it into one document"))
        return None
    schema.location = task.file
    return schema


def _fault(schema: BaseSchema) -> str | None:
    """What is wrong with the document as such, if something is."""
    try:
        schema.validate()
    except Exception as error:
        path = getattr(error, "instance_path", None)
        return f"{'/'.join(str(step) for step in path)}: {_first_line(error)}" if path else _first_line(error)
    return None


def _choose(schema: BaseSchema, task: Task, say: Say) -> tuple[Sequence[Operation], str]:
    """The operations to ask, the load's own one first, and the base path of all."""
    operations: list[Operation] = []
    count, fault = 0, _fault(schema)
    try:
        for found in schema.get_all_operations():
            count += 1
            if isinstance(found, Err):
                say(_invalid(found.err()))
            else:
                operations.append(found.ok())
    except Exception as error:
        say(Unusable(reason=fault or f"its operations cannot be read ({_first_line(error)})"))
        return [], ""
    if fault is not None:
        say(Found(operation="", kind="document", example=fault))
    base = base_path(schema.declared_base_path(), (operation.path for operation in operations), task.own)
    own = [one for one in operations if is_own(task.own, one.method.upper(), base + one.path)]
    others = [one for one in operations if one.method.upper() in task.methods and one not in own]
    say(Chosen(operations=count, chosen=len(own) + len(others)))
    return [*own, *others], base


def _invalid(error: Exception, operation: str = "") -> Found:
    label = error.label if isinstance(error, InvalidSchema) else ""
    return Found(operation=operation or label.strip("-"), kind="document", example=_first_line(error))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class _NoAnswer(BaseException):
    """Asking the same again would only take time. No Exception: Hypothesis would try it again."""


class _Asker:
    """Asks the operations of one service, one request at a time."""

    def __init__(self, task: Task, base: str, say: Say) -> None:
        self._task = task
        self._origin = url(task.host, task.port)
        self._base_url = self._origin + base
        self._say = say
        self._over = False

    def ask(self, operation: Operation, seconds: float) -> None:
        """Send the operation's own examples, then generated requests, for at most `seconds`."""
        self._over, deadline = False, time.monotonic() + seconds
        try:
            with guard.at_most(seconds):
                for strategy in operation.get_strategies_from_examples()[:_DOCUMENTED_AT_MOST]:
                    _each(strategy, 1, self._send)
                _each(operation.as_strategy(), self._task.examples, self._send)
        except (guard.OutOfTime, _NoAnswer):
            pass
        except Exception as error:  # nothing can be generated, or something in it that nobody has thought of
            # Hypothesis, broken off in the middle of a draw, takes that for a fault of what is generated.
            if not self._over and time.monotonic() < deadline:
                self._say(_invalid(error, operation.label))

    def _send(self, case: Case) -> None:
        sent, answer, over = "", None, False
        try:
            with guard.at_most(self._task.timeout_s):
                kwargs = case.as_transport_kwargs(base_url=self._base_url, headers=self._task.headers)
                sent = _sent(kwargs, self._origin)
                self._say(Asked(operation=case.operation.label))
                answer = _request(kwargs)
        except guard.OutOfTime:
            over = True
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError):
            return  # HTTP cannot say it
        except requests.exceptions.RequestException as error:
            self._no_answer(case, f"no whole answer ({type(error).__name__})", sent)
        if answer is None:
            self._no_answer(case, f"no answer within {self._task.timeout_s:g} s", sent)
        else:
            self._judge(case, *answer, sent)
        if over:
            raise guard.OutOfTime  # the operation's own time, which stood still meanwhile

    def _no_answer(self, case: Case, example: str, sent: str) -> NoReturn:
        self._say(Found(operation=case.operation.label, kind="no-answer", example=example, sent=sent))
        self._over = True
        raise _NoAnswer

    def _judge(self, case: Case, response: Response, whole: bool, sent: str) -> None:
        checks = [*_HEADS, response_schema_conformance] if whole else list(_HEADS)
        if response.status_code >= 500:
            checks = [not_a_server_error]  # that it is not documented says nothing more
        label = case.operation.label
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            kinds = dict(explain(failure) for failure in reversed(group.exceptions))
            for kind, example in kinds.items():
                self._say(Found(operation=label, kind=kind, status=response.status_code, example=example, sent=sent))
        except SchemathesisError as error:
            self._say(_invalid(error, label))


def _sent(kwargs: dict[str, Any], origin: str) -> str:
    """The request in a line: method, path and query, and a JSON body's beginning. No headers."""
    prepared = requests.Request(kwargs["method"], kwargs["url"], params=kwargs.get("params")).prepare()
    text = f"{prepared.method} {str(prepared.url).removeprefix(origin)}"
    return f"{text} {json.dumps(kwargs['json'])[:_BODY_SHOWN]}" if "json" in kwargs else text


def _request(kwargs: dict[str, Any]) -> tuple[Response, bool]:
    """The answer, and whether its body is whole. A connection for each: one that was kept may be closed just then."""
    began = time.monotonic()
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor a .netrc
        answer = session.request(**kwargs, allow_redirects=False, stream=True)
        body, whole = b"", not answer.headers.get("Content-Type", "").startswith("text/event-stream")  # has no end
        for chunk in answer.iter_content(1 << 16) if whole else ():
            body += chunk
            if len(body) > _BODY_AT_MOST:
                whole = False
                break
        headers = {name: answer.raw.headers.getlist(name) for name in answer.raw.headers}
        response = Response(
            status_code=answer.status_code,
            headers=headers,
            content=body,
            request=answer.request,
            elapsed=time.monotonic() - began,
            verify=False,
            message=answer.reason or "",
            encoding=answer.encoding,
        )
    return response, whole


if __name__ == "__main__":
    main()
