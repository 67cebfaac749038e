"""Our locustfile with Locust alone, as somebody would start it by hand."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from loadtests import driver
from loadtests.plan import (
    session_id,
)
from tests.loadtests.bench import PATIENCE_S, Bench, until
from tests.loadtests.servers import Server, free_port, serving


@contextlib.contextmanager
def locust_alone(directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Locust as somebody would start it by hand."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(driver.LOCUSTFILE), *options],
        cwd=directory,
        env=environment | {"HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def asked_by_hand(server: Server) -> set[str]:
    return {received.json["session_id"] for received in server.received}


def test_alone_with_locusts_own_web_page(bench: Bench) -> None:
    """No shape may force anything: the users are those of the page."""
    port = free_port()

    def page(path: str, form: bytes | None = None) -> bytes:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            method = "GET" if form is None else "POST"
            head = f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n"
            if form is not None:
                head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
            connection.settimeout(PATIENCE_S)
            connection.sendall(head.encode() + b"\r\n" + (form or b""))
            return b"".join(iter(lambda: connection.recv(65536), b""))
        return b""

    options = ("--host", "{url}", "--web-host", "127.0.0.1", "--web-port", str(port))
    with (
        serving() as server,
        locust_alone(bench.directory, *[o.format(url=server.url) for o in options]) as locust,
    ):
        until(lambda: b"200 OK" in page("/"))
        assert not server.received
        assert b"200 OK" in page("/swarm", b"user_count=3&spawn_rate=3")
        until(lambda: len(asked_by_hand(server)) == 3)
        until(lambda: json.loads(page("/stats/requests").partition(b"\r\n\r\n")[2])["user_count"] == 3)
        page("/stop")
        locust.send_signal(signal.SIGINT)
        assert locust.wait(PATIENCE_S) == 0
    assert len(asked_by_hand(server)) == 3


def test_alone_without_the_page_there_are_eight_users(bench: Bench) -> None:
    with (
        serving() as server,
        locust_alone(bench.directory, "--headless", "--host", server.url) as locust,
    ):
        until(lambda: len(asked_by_hand(server)) == 8)
        locust.send_signal(signal.SIGINT)
        assert locust.wait(PATIENCE_S) == 0
    assert asked_by_hand(server) == {session_id(1, user) for user in range(8)}
