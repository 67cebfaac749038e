"""The service as it is launched: gunicorn in a process of its own, spoken to over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend import knowledge, prepared
from backend.settings import Settings

ROOT = Path(__file__).parents[2]
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "backend/gunicorn.conf.py"]
STARTUP_S = 60
Start = Callable[..., "Server"]


class Server:
    """One gunicorn, its port and its log."""

    def __init__(self, env: dict[str, str], python: str = sys.executable) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = ""
        self.process = subprocess.Popen(
            [python, *GUNICORN[1:]],
            cwd=ROOT,
            env={**os.environ, **env, "PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def read_log_until(self, pattern: str) -> None:
        """Wait for a line of the log; fail if the process ends without it."""
        assert self.process.stderr is not None
        end = time.monotonic() + STARTUP_S
        while not re.search(pattern, self.log):
            assert select.select([self.process.stderr], [], [], end - time.monotonic())[0], self.log
            chunk = os.read(self.process.stderr.fileno(), 65536)
            assert chunk, self.log
            self.log += chunk.decode()

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STARTUP_S)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, query: str) -> tuple[int, bytes]:
        return self.request("POST", "/chat", {"session_id": "s", "query": query})

    def bound(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> int:
        """SIGTERM, the rest of the log, the exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.log += self.process.communicate(timeout=20)[1].decode()
        return self.process.returncode


@pytest.fixture
def start(prepared_settings: Settings) -> Iterator[Start]:
    """Start servers; end those that are left, with their workers, when the test is over."""
    servers: list[Server] = []

    def start_one(**env: str) -> Server:
        servers.append(Server(env))
        return servers[-1]

    yield start_one
    for server in servers:
        if server.process.poll() is None:
            server.stop()


def test_singleton_is_loaded_before_the_port_is_bound(start: Start) -> None:
    server = start(WEB_CONCURRENCY="2")
    server.read_log_until("Loaded the model in")
    server.read_log_until("Server is ready at")
    order = [server.log.index(line) for line in ("Loaded the model", "Listening at", "Server is ready at")]
    assert order == sorted(order)
    assert server.request("GET", "/ready")[0] == 200
    # Nothing that ran in the master started a thread pool, which would not have survived the fork.
    assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) == 1
    answer = knowledge.read().entries[0].answer
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.ask, ["I forgot my password"] * 16))
    assert {status for status, _ in answers} == {200}
    assert {json.loads(body)["response"] for _, body in answers} == {answer}
    assert server.request("POST", "/chat", [])[0] == 400
    assert server.stop() == 0
    assert server.log.count("Loading the model") == 1
    assert "Traceback" not in server.log
    assert "Warning" not in server.log
    assert not server.bound()


def test_without_preload_each_worker_loads_and_is_ready_only_then(start: Start, tmp_path: Path) -> None:
    # The prepared files by link, but weights that are cut off: no load succeeds until the test mends them.
    files = prepared.require(Settings.from_env({}))
    for path in files.embeddings.parent.iterdir():
        (tmp_path / path.name).symlink_to(path)
    weights = tmp_path / files.weights.name
    weights.unlink()
    weights.write_bytes(b"cut off")

    server = start(PRELOAD="0", MODEL_CACHE=str(tmp_path))
    server.read_log_until("Loading the model failed; next attempt")
    assert server.request("GET", "/health")[0] == 200
    status, body = server.request("GET", "/ready")
    assert status == 503
    assert json.loads(body)["error"]["field"] is None
    assert server.ask("I forgot my password")[0] == 503

    weights.unlink()
    weights.symlink_to(files.weights)
    server.read_log_until("Worker is ready")
    assert server.request("GET", "/ready")[0] == 200
    assert server.ask("I forgot my password")[0] == 200
    assert server.log.index("Listening at") < server.log.index("Loading the model")
    assert server.stop() == 0


def test_lazy_loads_once_for_requests_that_arrive_together(start: Start, tmp_path: Path) -> None:
    server = start(MODEL_LIFECYCLE="lazy", HOME=str(tmp_path), MODEL_CACHE=str(Settings.from_env({}).cache_dir))
    server.read_log_until("Server is ready at")
    assert "Loading the model" not in server.log
    assert server.request("GET", "/ready")[0] == 200
    with ThreadPoolExecutor(8) as pool:
        assert {status for status, _ in pool.map(server.ask, ["Is there a free trial?"] * 8)} == {200}
    assert server.stop() == 0
    assert server.log.count("Loading the model") == 1
    assert list(tmp_path.iterdir()) == []  # gunicorn's control socket would be in the home directory


def test_per_request_loads_for_each(start: Start) -> None:
    server = start(MODEL_LIFECYCLE="per-request", MODEL_CHECKPOINT="safetensors", CHAT_RESPONSE="raw")
    server.read_log_until("Server is ready at")
    assert server.request("GET", "/ready")[0] == 200
    answers = [server.ask("I forgot my password") for _ in range(2)]
    assert answers == [(200, knowledge.read().entries[0].answer.encode())] * 2
    assert chunks(server, b"2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert chunks(server, b"zz\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert server.stop() == 0
    assert server.log.count("Loading the model") == 2
    assert "Traceback" not in server.log


def chunks(server: Server, body: bytes) -> bytes:
    """What comes back for a hand-written chunked body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=STARTUP_S) as connection:
        connection.sendall(
            b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body
        )
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("MODEL_LIFECYCLE", "foo", 2),
        ("PORT", "abc", 2),
        ("PRELOAD", "maybe", 2),
        ("WEB_CONCURRENCY", "0", 2),
        ("MODEL_PATH", "/nowhere", 4),
        ("MODEL_CACHE", "/nowhere", 4),
    ],
)
def test_what_is_wrong_is_said_at_once(prepared_settings: Settings, name: str, value: str, code: int) -> None:
    result = subprocess.run(
        GUNICORN,
        cwd=ROOT,
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == code
    assert value in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2
