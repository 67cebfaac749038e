"""Answers to bad input that have no end are cut: the status is what counts, and the time is bounded."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from loadtests.plan import RequestTemplate
from profiling.measuring import probing
from profiling.measuring.readiness import LOOPBACK


@contextlib.contextmanager
def answering(first: bytes, then: bytes, every_s: float) -> Iterator[int]:
    """A server whose answer to a POST is `first` and then `then` for ever; any GET is well. Yields its port."""

    def serve(taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError):
            asked = taken.recv(1 << 16)
            taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if asked.startswith(b"GET") else first)
            while not asked.startswith(b"GET") and then:
                taken.sendall(then)
                time.sleep(every_s)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server((LOOPBACK, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def probe(port: int) -> list[tuple[int | None, str]]:
    request = RequestTemplate(method="POST", path="/", json=["a list"])
    return [(found.status, found.problem) for found in probing.probe(LOOPBACK, port, request, "/")]


def test_a_body_without_an_end_is_cut() -> None:
    with answering(b"HTTP/1.1 400 Bad\r\n\r\n", b"x" * 65536, 0.0) as port:
        assert probe(port) == [(400, "")] * 3


def test_a_body_that_drips_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_TIMEOUT_S", 0.5)
    with answering(b"HTTP/1.1 400 Bad\r\nContent-Length: 99999\r\n\r\n", b"x", 0.1) as port:
        assert probe(port) == [(None, "no answer within 0.5 s")] * 3


def test_garbage_is_told_on_one_line() -> None:
    with answering(b"\x01 garbage\r\n\r\n", b"", 0.0) as port:
        assert {problem for _, problem in probe(port)} == {"BadStatusLine: \x01 garbage"}
