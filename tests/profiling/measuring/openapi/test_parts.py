"""The parts of the OpenAPI check that need no service of a sandbox: choosing, adding up, fetching, explaining, guarding."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema_rs
import pytest
from schemathesis.openapi.checks import JsonSchemaError

from profiling.measuring.openapi.choosing import base_path, is_own, refers_elsewhere
from profiling.measuring.openapi.document import NoDocumentError, fetch
from profiling.measuring.openapi.explaining import explain
from profiling.measuring.openapi.messages import Asked, Chosen, Done, Found, Unusable
from profiling.measuring.openapi.tally import Tally
from profiling.values import ApiDocument
from tests.helpers import ROOT

TOKEN = "kT9x2mQp7LwZ4vR8sB1n"


@pytest.mark.parametrize(
    ("own", "method", "path", "expected"),
    [
        (("POST", "/chat"), "POST", "/chat", True),
        (("POST", "/chat"), "GET", "/chat", False),
        (("POST", "/chat"), "POST", "/chat/{id}", False),
        (("GET", "/items/{session}?q={query}"), "GET", "/items/{item_id}", True),
        (("GET", "/items/7/parts"), "GET", "/items/{item_id}", False),
        (("GET", "/a.b"), "GET", "/axb", False),
        (None, "POST", "/chat", False),
    ],
)
def test_the_loads_own_operation(own: tuple[str, str] | None, method: str, path: str, expected: bool) -> None:
    assert is_own(own, method, path) is expected


@pytest.mark.parametrize(
    ("declared", "own", "expected"),
    [
        ("/", ("GET", "/items"), ""),
        ("/v1/", ("GET", "/v1/items"), "/v1"),
        ("/v1", ("GET", "/items"), ""),  # what a proxy takes away
        ("/v1", ("GET", "/elsewhere"), "/v1"),
        ("/v1", None, "/v1"),
    ],
)
def test_the_path_below_which_the_service_answers(declared: str, own: tuple[str, str] | None, expected: str) -> None:
    assert base_path(declared, ("/items", "/users/{id}"), own) == expected


@pytest.mark.parametrize(
    ("place", "sent", "local"),
    [
        ("#/components/schemas/Item", None, None),
        ("parts.yaml#/Item", "parts.yaml#/Item", None),
        ("http://192.0.2.1/x.json", "http://192.0.2.1/x.json", "http://192.0.2.1/x.json"),
        ("file:///etc/passwd", "file:///etc/passwd", "file:///etc/passwd"),
    ],
)
def test_what_a_document_refers_to_outside(place: str, sent: str | None, local: str | None) -> None:
    document = {"paths": {"/": [{"$ref": place}]}}
    assert refers_elsewhere(document, local=False) == sent
    assert refers_elsewhere(document, local=True) == local


def test_faults_are_added_up_by_operation_and_kind_with_the_first_as_example() -> None:
    tally = Tally(ApiDocument(), {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"})
    tally.add(Chosen(operations=3, chosen=2))
    for number in range(3):
        tally.add(Asked(operation="GET /a"))
        tally.add(
            Found(operation="GET /a", kind="status", status=400 + number, example=f"first {number}\x1b[2J {TOKEN}")
        )
    tally.add(Asked(operation="GET /b"))
    tally.add(Found(operation="GET /b", kind="schema", status=200, example="x" * 1000))
    assert not tally.over
    tally.add(Done())
    result = tally.result(broken_off=None, ready_after=True)
    assert (result.state, result.operations, result.chosen, result.asked, result.requests) == ("checked", 3, 2, 2, 4)
    first, second = result.problems
    assert (first.operation, first.kind, first.count, first.status) == ("GET /a", "status", 3, 400)
    assert first.example == "first 0 [2J (secret, not shown)"
    assert len(second.example) < 300
    assert tally.over


def test_a_document_that_cannot_be_used_is_told_as_such() -> None:
    tally = Tally(ApiDocument(place="/srv/api.yaml", local=True), {})
    tally.add(Unusable(reason="it is none"))
    result = tally.result(broken_off="ended", ready_after=True)
    assert (result.place, result.state, result.reason) == ("api.yaml", "unusable", "it is none")


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], int]]:
    """A function that listens for one connection, answers it with the bytes given and holds it open; gives the port."""
    opened: list[socket.socket] = []

    def listen(data: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)

        def answer() -> None:
            connection, _ = listener.accept()
            opened.append(connection)
            connection.recv(65536)
            with contextlib.suppress(OSError):  # it may have heard enough
                connection.sendall(data)

        threading.Thread(target=answer, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield listen
    for each in opened:
        each.close()


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("data", "said", "unusable"),
    [
        (http(b"", 404), "GET is answered with 404", False),
        (http(b"", 307), "a redirect, which is not followed", False),
        (http(b"\xff\xfe"), "it is not UTF-8", True),
        (http(b"x" * (9 << 20)), "it is larger than 8 MiB", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "no answer within 1 s", False),
        (b"", "no answer within 1 s", False),
        (b"nonsense\r\n\r\n", "no answer: BadStatusLine", False),
    ],
)
def test_a_document_that_cannot_be_had(
    answering: Callable[[bytes], int], data: bytes, said: str, unusable: bool
) -> None:
    with pytest.raises(NoDocumentError) as raised:
        fetch(ApiDocument(named=True), "127.0.0.1", answering(data), {}, 1.0)
    assert said in str(raised.value)
    assert raised.value.unusable is unusable


@pytest.mark.parametrize(
    ("body", "named", "found"),
    [
        (b'{"openapi": "3.1.0"}', False, True),
        (b'\xef\xbb\xbf{"openapi": "3.1.0"}', False, True),
        (b'{"status": "ok"}', False, False),
        (b'["openapi"]', False, False),
        (b"openapi: 3.1.0", False, False),
        (b"openapi: 3.1.0", True, True),
        (b"[" * 100_000, False, False),
    ],
)
def test_what_is_taken_for_a_document(answering: Callable[[bytes], int], body: bytes, named: bool, found: bool) -> None:
    document = ApiDocument(named=named)
    if found:
        assert "openapi" in fetch(document, "127.0.0.1", answering(http(body)), {}, 5.0)
    else:
        with pytest.raises(NoDocumentError, match="no OpenAPI document"):
            fetch(document, "127.0.0.1", answering(http(body)), {}, 5.0)


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"type": "number"}, TOKEN, "the body is text of 20 characters; documented: number"),
        ({"type": ["integer", "null"]}, 1.5, "the body is 1.5; documented: integer or null"),
        ({"required": ["a", "b"]}, {"a": TOKEN}, 'the body lacks "b"'),
        ({"items": {"minimum": 0}}, [1, -2], "/1 is -2; documented: minimum 0"),
        ({"enum": ["red"]}, [TOKEN], 'the body is a list of 1; documented: enum ["red"]'),
        ({"additionalProperties": False}, {TOKEN: 1}, "the body has a key that is not documented"),
        ({"properties": {"a": {"maxLength": 1}}}, {"a": TOKEN}, "/a is text of 20 characters; documented: maxLength 1"),
    ],
)
def test_a_broken_schema_is_told_without_quoting_the_answer(
    schema: dict[str, object], value: object, said: str
) -> None:
    error = next(iter(jsonschema_rs.validator_for(schema).iter_errors(value)))
    failure = JsonSchemaError.from_exception(operation="GET /", exc=error, root_schema=schema)
    assert explain(failure) == ("schema", said)


GUARDED = """
import json, socket, sys, time
from profiling.measuring.openapi import guard
guard.connect_only_to("127.0.0.1", int(sys.argv[1]))
said = []
for place in (("127.0.0.1", int(sys.argv[1])), ("127.0.0.1", int(sys.argv[2])), ("localhost", int(sys.argv[2]))):
    try:
        socket.create_connection(place, timeout=5).close()
        said.append("connected")
    except OSError as error:
        said.append(type(error).__name__)
for outer, inner in ((0.05, 60), (60, 0.05)):
    try:
        with guard.at_most(outer):
            with guard.at_most(inner):
                time.sleep(0.2)
                said.append("the inner clock counts")
            time.sleep(30)
    except guard.OutOfTime:
        said.append("out of time")
print(json.dumps(said))
"""


def test_the_checker_reaches_the_service_alone_and_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as service, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [str(each.getsockname()[1]) for each in (service, other)]
        done = subprocess.run(
            [sys.executable, "-c", GUARDED, *ports],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=25, check=True,
        )  # fmt: skip
        reached, clocks = json.loads(done.stdout)[:3], json.loads(done.stdout)[3:]
        assert reached == ["connected", "PermissionError", "PermissionError"]
        assert clocks == ["the inner clock counts", "out of time", "out of time"]
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_a_local_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "api.yaml"
    path.write_text("openapi: 3.1.0")
    document = ApiDocument(place=str(path), local=True, named=True)
    assert fetch(document, "127.0.0.1", 1, {}, 1.0) == "openapi: 3.1.0"
    path.unlink()
    with pytest.raises(NoDocumentError, match="no such file"):
        fetch(document, "127.0.0.1", 1, {}, 1.0)
