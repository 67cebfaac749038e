"""The checker's process against services of this process: what it sends, and how it ends."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from loadtests.plan import RequestTemplate
from profiling.measuring.openapi.checker import Checker
from profiling.values import ApiConformance, ApiDocument, Service, Target
from tests.helpers import wait_until

Answer = tuple[int, dict[str, str], bytes]
TEXT = {"type": "string"}


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths, **more}


def get(
    schema: dict[str, Any] | None = None, parameters: tuple[dict[str, Any], ...] = (), **more: Any
) -> dict[str, Any]:
    good = {"description": "", "content": {"application/json": {"schema": schema or {}}}}
    return {"get": {"parameters": list(parameters), "responses": {"200": good}, **more}}


class Served:
    """A service that answers as it is told and remembers what it was asked."""

    def __init__(self, api: Any, answer: Callable[[str, str], Answer]) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if self.path == "/openapi.json":
                    status, headers, data = 200, {}, json.dumps(api).encode()
                elif self.path == "/health":
                    status, headers, data = 200, {}, b"{}"
                else:
                    served.asked.append((self.command, self.path, body))
                    served.headers.append(dict(self.headers))
                    status, headers, data = answer(self.command, self.path)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    if value:
                        self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_one

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    opened: list[Served] = []

    def open_one(api: Any, answer: Callable[[str, str], Answer] = lambda method, path: (200, {}, b"{}")) -> Served:
        opened.append(Served(api, answer))
        return opened[-1]

    yield open_one
    for served in opened:
        served.close()


def check(served: Served, *, window_s: float = 30.0, timeout_s: float = 20.0, **changes: Any) -> ApiConformance:
    """Not judged by the clock: the bounds are wide unless a test is about them."""
    fields: dict[str, Any] = {
        "request": RequestTemplate(method="GET", path="/nothing"),
        "openapi": ApiDocument(),
        **changes,
    }
    target = Target(name="t", services=(Service(directory="/"),), **fields)
    with closing(Checker.start()) as checker:
        return checker.check(
            target, "127.0.0.1", served.port, alive=lambda: True, window_s=window_s, timeout_s=timeout_s
        )


ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
Q = {"name": "q", "in": "query", "schema": TEXT}


def test_the_same_requests_are_sent_each_time(serve: Serve) -> None:
    api = document({"/items/{id}": get(parameters=(ID, Q)), "/find": get(parameters=(Q,))})
    first, second = serve(api), serve(api)
    assert check(first).problems == check(second).problems == ()
    assert first.asked == second.asked
    assert len(set(first.asked)) > 10


def test_headers_of_the_request_go_along_and_no_credentials_are_made_up(serve: Serve) -> None:
    security = {
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}, "security": [{"token": []}],
    }  # fmt: skip
    served = serve(document({"/a": get()}, **security))
    headers = {"X-Tenant": "seven", "Content-Type": "text/weird"}
    check(served, request=RequestTemplate(method="GET", path="/a", headers=headers))
    assert served.headers
    for sent in served.headers:
        assert sent["X-Tenant"] == "seven"
        assert "Authorization" not in sent
        assert "Content-Type" not in sent


def test_the_loads_own_operation_is_asked_below_the_declared_base_path(serve: Serve) -> None:
    body = {
        "content": {"application/json": {"schema": {"type": "object", "required": ["q"], "properties": {"q": TEXT}}}}
    }
    post = {"post": {"requestBody": {"required": True, **body}, "responses": get()["get"]["responses"]}}
    served = serve(
        document({"/ask": post, "/other": post, "/x": get()}, servers=[{"url": "https://api.example.com/v2"}])
    )
    result = check(served, request=RequestTemplate(method="POST", path="/v2/ask"))
    assert {(method, path) for method, path, _ in served.asked} == {("POST", "/v2/ask"), ("GET", "/v2/x")}
    assert all("q" in json.loads(body) for method, _, body in served.asked if method == "POST")
    assert (result.operations, result.chosen, result.asked) == (3, 2, 2)


def test_a_locustfile_names_no_operation(serve: Serve) -> None:
    served = serve(document({"/chat": {"post": {"responses": get()["get"]["responses"]}}}))
    result = check(served, request=RequestTemplate(), locustfile="/mine.py")
    assert served.asked == []
    assert (result.state, result.chosen) == ("checked", 0)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((500, {}, b"{}"), "server-error", "status 500 to a valid request"),
        ((302, {"Location": "http://192.0.2.1:9/"}, b""), "status", "status 302; documented: 200"),
        ((200, {"Content-Type": "text/html"}, b"<p>"), "content-type", "Content-Type text/html; documented: application/json"),
        ((200, {"Content-Type": ""}, b"{}"), "content-type", "no Content-Type; documented: application/json"),
        ((200, {}, b"{"), "schema", "the body is no JSON"),
        ((200, {}, b"[]"), "schema", "the body is a list of 0; documented: object"),
        ((200, {"Content-Length": "50"}, b"{}"), "no-answer", "no answer within 3 s"),
        ((200, {"Content-Length": "50", "Connection": "close"}, b"{}"), "no-answer", "no whole answer"),
        ((200, {"Content-Encoding": "gzip"}, b"{}"), "no-answer", "no whole answer"),
    ],
)  # fmt: skip
def test_each_kind_of_fault(serve: Serve, answer: Answer, kind: str, said: str) -> None:
    served = serve(document({"/a": get({"type": "object"})}), lambda method, path: answer)
    problems = check(served, timeout_s=3.0).problems
    found = {problem.kind: problem for problem in problems}
    assert kind in found, problems
    assert said in found[kind].example
    assert found[kind].sent == "GET /a"


def test_an_answer_without_end_is_left_alone(serve: Serve) -> None:
    """A stream of events by its head, and what is too long by its status."""

    def answer(method: str, path: str) -> Answer:
        if path == "/events":
            return 200, {"Content-Type": "text/event-stream", "Content-Length": "1000000"}, b"data: x\n\n"
        return 200, {}, b'["' + b"x" * (5 << 20) + b'"]'

    events = {"200": {"description": "", "content": {"text/event-stream": {"schema": TEXT}}}}
    api = document({"/events": {"get": {"responses": events}}, "/long": get({"type": "object"})})
    result = check(serve(api, answer))
    assert (result.asked, result.problems) == (2, ())


def test_what_drips_is_no_answer_in_time(serve: Serve) -> None:
    released = threading.Event()

    def answer(method: str, path: str) -> Answer:
        released.wait(60)
        return 200, {}, b"{}"

    served = serve(document({"/a": get(), "/b": get()}), answer)
    result = check(served, window_s=1.0, timeout_s=1.0)
    released.set()
    assert [problem.kind for problem in result.problems] == ["no-answer"] * len(result.problems)
    assert result.problems[0].example == "no answer within 1 s"
    assert result.ready_after


def test_of_many_operations_as_many_are_asked_as_the_time_allows(serve: Serve) -> None:
    def answer(method: str, path: str) -> Answer:
        time.sleep(0.1)
        return 200, {}, b"{}"

    served = serve(document({f"/{number}": get(parameters=(Q,)) for number in range(200)}), answer)
    result = check(served, window_s=2.0)
    assert result.state == "checked"
    assert result.chosen == 200
    assert 1 <= result.asked < 200
    assert result.problems == ()


def test_an_operation_that_cannot_be_understood_does_not_spoil_the_others(serve: Serve) -> None:
    broken = {**ID, "schema": {"$ref": "#/components/nowhere"}}
    result = check(serve(document({"/broken/{id}": get(parameters=(broken,)), "/a": get()})))
    assert result.asked == 1
    assert {(problem.operation, problem.kind) for problem in result.problems} >= {("GET /broken/{id}", "document")}
    assert {problem.kind for problem in result.problems} == {"document"}


@pytest.mark.parametrize(
    ("api", "said"),
    [
        ({"openapi": "4.0.0", "paths": {}}, "uses Open API 4.0.0"),
        ({"openapi": 3}, "cannot be read"),
        ({"openapi": "3.1.0", "info": {"title": "", "version": ""}, "paths": 7}, "paths: 7 is not of type"),
        ({"openapi": "3.1.0", "paths": {"/a": {"$ref": "http://192.0.2.1:9/x.json"}}}, "it refers to http://192.0.2.1:9/x.json"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_said_to_be_none(serve: Serve, api: Any, said: str) -> None:
    served = serve(api)
    result = check(served)
    assert result.state == "unusable", result
    assert said in result.reason
    assert served.asked == []


def test_a_checker_that_is_killed_is_told_with_what_it_found(serve: Serve) -> None:
    served = serve(document({"/a": get(parameters=(Q,))}), lambda method, path: (time.sleep(0.05), (500, {}, b""))[1])
    target = Target(
        name="t", services=(Service(directory="/"),), request=RequestTemplate(method="GET", path="/a"), openapi=ApiDocument()
    )  # fmt: skip
    with closing(Checker.start()) as checker:
        assert checker._process is not None
        process = checker._process.pid

        def alive() -> bool:
            if len(served.asked) >= 3:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return True

        result = checker.check(target, "127.0.0.1", served.port, alive=alive)
    assert (result.state, result.reason) == ("broken-off", "the checker ended by signal 9")
    assert result.problems[0].kind == "server-error"


def test_a_service_that_is_gone_ends_the_check(serve: Serve) -> None:
    served = serve(document({"/a": get(parameters=(Q,))}), lambda method, path: (time.sleep(0.2), (200, {}, b"{}"))[1])
    target = Target(name="t", services=(Service(directory="/"),), request=RequestTemplate(), openapi=ApiDocument())
    with closing(Checker.start()) as checker:
        result = checker.check(target, "127.0.0.1", served.port, alive=lambda: len(served.asked) < 2)
        assert not result.ready_after
        assert checker._process is not None
        pid = checker._process.pid
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
