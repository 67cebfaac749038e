"""`observe --container`: a container that others started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiling.measuring.events import Silent
from profiling.measuring.sandboxes.containers import images, options
from profiling.measuring.sandboxes.containers.engine import Engine
from profiling.measuring.sandboxes.containers.watched import open_container
from profiling.measuring.watching.watch import WatchPlan, watch
from profiling.values import Outcome
from tests.containers.services import SERVICES, nothing_left
from tests.helpers import MIB, run_cli, wait_until


@contextlib.contextmanager
def container(engine: Engine, *command: str, name: str) -> Iterator[Any]:
    """One that is none of ours: without our label, 128 MiB."""
    images.ensure(engine, SERVICES, lambda text: None)
    made = engine.client.containers.run(
        SERVICES.name,
        list(command),
        entrypoint=[],
        name=name,
        detach=True,
        environment={"PORT": "0", "BALLAST_MIB": "60"},
        mem_limit=128 * MIB,
        memswap_limit=128 * MIB,
        network_mode="none",
        ulimits=options.guarded(engine)["ulimits"],
    )
    try:
        wait_until(lambda: (made.reload(), made.status)[1] == "running")
        yield made
    finally:
        made.remove(force=True, v=True)


def name_of(engine: Engine) -> str:
    return f"somebodys-{engine.name}-{os.getpid()}"


def test_a_container_is_watched_by_its_name(any_engine: Engine, tmp_path: Path) -> None:
    name = name_of(any_engine)
    address = {"CONTAINER_HOST": any_engine.address} if any_engine.name == "podman" else {}
    with nothing_left(any_engine), container(any_engine, "python3", "ballast.py", name=name) as made:
        done = run_cli("observe", "--container", name, "--duration", "2s", "--json", "--out", str(tmp_path), **address)
        document = json.loads(done.stdout)
        made.reload()
        assert made.status == "running"
    run = document["runs"][0]
    assert (done.returncode, run["sandbox"], run["name"]) == (0, any_engine.name, name)
    assert (run["memory_limit_bytes"], run["oom_kills"]) == (128 * MIB, 0)
    assert 55 * MIB < run["peak_unreclaimable_bytes"] < 90 * MIB


def test_a_container_that_is_killed_meanwhile_is_told(docker_engine: Engine, tmp_path: Path) -> None:
    """Its first process is what the kernel kills: whether its count can be read before the cgroup goes is a matter of
    milliseconds, and if not, the engine's word is named as the hint that it is."""
    grows = "import time; time.sleep(3); held = [bytearray(b'x') * 2**20 for _ in range(300)]"
    with (
        container(docker_engine, "python3", "-c", grows, name=name_of(docker_engine)) as made,
        contextlib.closing(open_container(docker_engine, made.id, lambda text: None)) as subject,
    ):
        result = watch(WatchPlan(duration_s=30.0), subject, tmp_path, Silent())
    assert result.outcome in (Outcome.OOM_KILLED, Outcome.CRASHED)
    assert result.exit_status == -signal.SIGKILL
    if result.outcome is Outcome.CRASHED:
        assert (result.kills_certain, result.engine_oom_flag) == (False, True)


@pytest.mark.parametrize("state", ["missing", "ended"])
def test_a_container_that_does_not_run_is_refused(docker_engine: Engine, state: str, tmp_path: Path) -> None:
    name = name_of(docker_engine)
    with contextlib.ExitStack() as stack:
        if state == "ended":
            made = stack.enter_context(container(docker_engine, "sleep", "60", name=name))
            made.kill()
            made.wait()
        done = run_cli("observe", "--container", name, "--engine", "docker", "--out", str(tmp_path))
    assert done.returncode == 4
    assert ("has none of that name" if state == "missing" else "it does not run") in done.stderr
