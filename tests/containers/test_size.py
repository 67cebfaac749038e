"""`size` with containers: each limit that is tried is a container's own, and kills are the kernel's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profiling.measuring.sandboxes.containers.engine import Engine
from tests.containers.services import traces
from tests.helpers import MIB, TARGETS, run_cli

pytestmark = pytest.mark.e2e

CONFIG = f"""[target]
name = "test-services"
dockerfile = "{TARGETS}/Dockerfile"
command = ["python3", "ballast.py"]
directory = "{TARGETS}"
ready = "/"
memory = "160MiB"
startup_timeout = "10s"  # at a limit just below its need a start may hang for long before the kernel kills it
[target.env]
BALLAST_MIB = "60"
"""


def test_both_sides_are_known_in_a_container(docker_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "oomproof.toml").write_text(CONFIG)
    before = traces(docker_engine)
    words = ("size", "--sandbox", "docker", "--json", "--users", "2", "--duration", "1s")
    document: dict[str, Any] = {}
    for _ in range(3):  # a busy machine's load generator may be the bottleneck, which rightly says nothing
        done = run_cli(*words, cwd=tmp_path)
        document = json.loads(done.stdout)
        if "load generator" not in document.get("sentence", ""):
            break
    assert (done.returncode, document["verdict"]) == (0, "sized"), document
    assert {run["sandbox"] for run in document["trials"]} == {"docker"}
    assert 56 * MIB < document["largest_failing_bytes"] < document["smallest_passing_bytes"] < 96 * MIB
    failing = [run for run in document["trials"] if run["memory_limit_bytes"] == document["largest_failing_bytes"]]
    # A kill or another failure: which of them comes first is the kernel's affair.
    assert len(failing) >= 2
    assert all(any(found["level"] == "fail" for found in run["findings"]) for run in failing)
    assert traces(docker_engine) == before
