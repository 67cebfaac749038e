"""The reference image as an engine runs it: what is in it, how it listens, what it may do, how it ends."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.models.images import Image

from profiling.measuring.readiness import LOOPBACK, free_port, is_ready
from tests.helpers import MIB

pytestmark = pytest.mark.e2e

STARTUP_S = 60.0
Start = Callable[..., "Service"]
QUESTION = {"session_id": "s", "query": "I forgot my password"}

HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "user": "10001",
}
"""As much as a platform may take away, and no tmpfs given in return."""


class Service:
    """One container on the host's network, under the small plan's limit."""

    def __init__(self, engine: docker.DockerClient, image: Image, env: dict[str, str], options: dict[str, Any]) -> None:
        self.port = free_port()
        self.container: Container = engine.containers.create(
            image,
            labels={"oomproof": "test"},
            network_mode="host",
            mem_limit=512 * MIB,
            memswap_limit=512 * MIB,
            environment={"HOST": LOOPBACK, "PORT": str(self.port), **env},
            **options,
        )

    def start(self) -> None:
        self.container.start()
        self.wait_until(lambda: is_ready(LOOPBACK, self.port, "/ready"))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STARTUP_S
        while not condition():
            self.container.reload()
            assert self.container.status == "running", self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return str(self.container.logs().decode())

    def chat(self, document: object) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            connection.request("POST", "/chat", json.dumps(document), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def run(self, *command: str, **env: str) -> tuple[int, str]:
        """A command in the running container, as the service's user: its status and its output."""
        status, output = self.container.exec_run(list(command), environment=env)
        return status, output.decode()

    def workers(self) -> int:
        """gunicorn's children: processes whose parent is process 1, which is gunicorn itself."""
        table = self.container.top(ps_args="-eo pid,ppid,args")["Processes"]
        master = next(pid for pid, parent, _ in table if parent not in {row[0] for row in table})
        return sum(parent == master and "gunicorn" in command for _, parent, command in table)


@pytest.fixture
def start(engine: docker.DockerClient, image: Image) -> Iterator[Start]:
    """Start services until they are ready; all are removed when the test is over."""
    services: list[Service] = []

    def start_one(options: dict[str, Any] | None = None, **env: str) -> Service:
        services.append(Service(engine, image, env, options or {}))
        services[-1].start()
        return services[-1]

    yield start_one
    for service in services:
        service.container.remove(force=True, v=True)


def probe(engine: docker.DockerClient, image: Image, script: str) -> str:
    """What a shell script prints in a new container without a network."""
    labels = {"oomproof": "test"}
    output = engine.containers.run(image, ["bash", "-ec", script], labels=labels, network_mode="none", remove=True)
    return str(output.decode())


def test_it_is_configured_as_a_platform_expects(image: Image) -> None:
    config = image.attrs["Config"]
    assert config["Cmd"] == ["gunicorn", "-c", "backend/gunicorn.conf.py"]  # exec form: gunicorn is process 1
    assert not config["Entrypoint"]
    assert config["User"].split(":")[0].isdigit()  # a name could be root's: Kubernetes' runAsNonRoot wants a number
    assert {"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "HOST=0.0.0.0", "PORT=8000"} <= set(config["Env"])
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_nothing_that_builds_or_tests_is_in_it(engine: docker.DockerClient, image: Image) -> None:
    assert probe(engine, image, "id -u; id -g").split() == ["10001", "10001"]
    found = probe(
        engine,
        image,
        """
        for name in gcc cc g++ c++ clang make ld pip pip3 git; do command -v $name || true; done
        for name in pip setuptools pytest locust gevent memray matplotlib profiling loadtests; do
            python -c "import sys, importlib.util as util; util.find_spec('$name') and print('$name')"
        done
        find /opt -type d -name tests -o -name '*.pyi' -o -name '*.a' -o -name '*.h'
        find / -xdev \\( -path '*/.cache/*' -o -name '*.whl' \\) 2>/dev/null || true
        ls -A /opt
        ls -A /opt/oomproof
        """,
    )
    assert found.split() == ["oomproof", "venv", "backend", "model"]


def test_the_service_can_change_none_of_its_files(engine: docker.DockerClient, image: Image) -> None:
    assert probe(engine, image, "find /opt -writable ! -type l").split() == []


def test_no_bytecode_is_missing(engine: docker.DockerClient, image: Image) -> None:
    """Nothing is written at run time, so what is not compiled would be compiled anew at each start."""
    code = (
        "import sys, importlib.util, pathlib, backend.app, backend.encoder\n"
        "for module in list(sys.modules.values()):\n"
        "    path = getattr(module, '__file__', None) or ''\n"
        "    if path.startswith('/opt') and path.endswith('.py'):\n"
        "        cached = pathlib.Path(importlib.util.cache_from_source(path))\n"
        "        seconds = int.from_bytes(cached.read_bytes()[8:12], 'little') if cached.is_file() else None\n"
        "        if seconds != int(pathlib.Path(path).stat().st_mtime):\n"
        "            print(path)\n"
    )
    assert probe(engine, image, f'python -c "{code}"') == ""


@pytest.mark.parametrize("lifecycle", ["singleton", "per-request"])
@pytest.mark.parametrize("checkpoint", ["pickle", "safetensors"])
def test_it_answers_with_a_read_only_root_and_no_rights(start: Start, lifecycle: str, checkpoint: str) -> None:
    service = start(HARDENED, MODEL_LIFECYCLE=lifecycle, MODEL_CHECKPOINT=checkpoint)
    status, answer = service.chat(QUESTION)
    assert status == 200
    assert list(answer) == ["response"]
    assert "Forgot password?" in answer["response"]
    status, answer = service.chat({"session_id": "s"})
    assert status == 400
    assert answer["error"]["field"] == "query"
    # It was as locked as it was meant to be.
    assert service.run("touch", "/opt/oomproof/x")[0] != 0
    assert service.run("touch", "/tmp/x")[0] != 0
    assert "Traceback" not in service.log()
    assert "Warning" not in service.log()


def test_port_and_workers_come_from_the_environment(start: Start) -> None:
    one, two = start(WEB_CONCURRENCY="1"), start(WEB_CONCURRENCY="2")
    assert one.port != two.port
    one.wait_until(lambda: one.workers() == 1)
    two.wait_until(lambda: two.workers() == 2)
    assert f"Listening at: http://{LOOPBACK}:{two.port}" in two.log()


def test_the_health_check_tells_a_service_from_none(start: Start, image: Image) -> None:
    service = start(HARDENED)
    check = image.attrs["Config"]["Healthcheck"]["Test"][1:]
    assert service.run(*check) == (0, "")
    assert service.run(*check, PORT=str(free_port()))[0] != 0
    # Something listens, answers, and is not the service: 404, and then nothing at all.
    for answer in ("HTTP/1.0 404 Not Found", "HTTP/1.0 500 200", ""):
        port = str(free_port())
        service.container.exec_run(["python", "-c", ONE_ANSWER, port, answer], detach=True)
        service.wait_until(lambda port=port: service.run("bash", "-c", LISTENS.format(int(port)))[0] == 0)
        assert service.run(*check, PORT=port)[0] != 0, answer


ONE_ANSWER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    connection, _ = server.accept()
    connection.recv(1024)
    connection.sendall((sys.argv[2] + "\\r\\n\\r\\n").encode() if sys.argv[2] else b"")
    connection.close()
"""
LISTENS = "grep -qi ' 0100007F:{:04X} 00000000:0000 0A ' /proc/net/tcp"


def test_the_engine_itself_finds_it_healthy(engine: docker.DockerClient, image: Image, start: Start) -> None:
    second = 10**9
    service = start({"healthcheck": {"test": image.attrs["Config"]["Healthcheck"]["Test"], "interval": second}})

    def health() -> str:
        service.container.reload()
        return str(service.container.attrs["State"]["Health"]["Status"])

    service.wait_until(lambda: health() == "healthy")


def test_it_ends_within_ten_seconds_of_sigterm(start: Start) -> None:
    service = start(WEB_CONCURRENCY="2")
    assert service.chat(QUESTION)[0] == 200
    # A client that keeps its connection open must not hold the service.
    idle = http.client.HTTPConnection(LOOPBACK, service.port, timeout=30)
    idle.connect()
    try:
        service.container.kill("SIGTERM")
        result = service.container.wait(timeout=10)
    finally:
        idle.close()
    assert result["StatusCode"] == 0, service.log()
    service.container.reload()
    assert not service.container.attrs["State"]["OOMKilled"]
