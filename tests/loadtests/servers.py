"""Small HTTP servers on 127.0.0.1 that behave as badly as a test asks for."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Received(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[socket.socket, Received, threading.Event], bool]
"""Answers on the socket; False closes the connection. The event is set when the server closes."""


def answer(
    connection: socket.socket,
    status: int,
    body: bytes,
    content_type: str = "application/json",
    more: str = "",
) -> None:
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def ok(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
    answer(connection, 200, b'{"response": "hello"}')
    return True


def hang(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
    closing.wait()
    return False


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server and everything that it was asked."""

    def __init__(self, behaviour: Behaviour, host: str = "127.0.0.1") -> None:
        self.behaviour = behaviour
        self.received: list[Received] = []
        self.arrived = threading.Event()
        self.closing = threading.Event()
        self._listener = socket.create_server((host, 0), backlog=128)
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        with connection, stream, contextlib.suppress(OSError):
            while (received := _read(stream)) is not None:
                self.received.append(received)
                self.arrived.set()
                if not self.behaviour(connection, received, self.closing):
                    return

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def _read(stream: Any) -> Received | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Received(first[0], first[1], headers, body)


@contextlib.contextmanager
def serving(behaviour: Behaviour = ok, host: str = "127.0.0.1") -> Iterator[Server]:
    server = Server(behaviour, host)
    try:
        yield server
    finally:
        server.close()
