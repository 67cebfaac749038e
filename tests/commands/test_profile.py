"""`profile` as a process of its own, on services that the kernel kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from profiling.measuring.samples import FIELDS
from tests.helpers import MIB, ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until


def config(directory: Path, script: str, **env: str) -> Path:
    lines = [f'{name} = "{value}"' for name, value in env.items()]
    text = f"""
        [target]
        command = [{json.dumps(sys.executable)}, "{script}.py"]
        directory = "{TARGETS}"
        ready = "/"
        memory = "96MiB"
        [target.env]
        {chr(10).join(lines)}
        [load]
        users = 2
        duration = "30s"
    """
    (directory / "oomproof.toml").write_text("\n".join(line.strip() for line in text.splitlines()))
    return directory / "oomproof.toml"


def test_the_autopsy_of_a_planted_allocation(tmp_path: Path) -> None:
    target = config(tmp_path, "overfull", PLANTED_MIB="40")
    done = run_cli("profile", "--target", str(target), "--sandbox", "cgroup", "--out", str(tmp_path), "--json", CI="1")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert_of_schema(document, "profile")
    (kill,) = document["autopsy"]["kills"]
    (planted,) = [held for held in kill["held"] if held["frame"]["function"] == "plant"]
    assert planted["bytes"] == pytest.approx(40 * MIB, rel=0.02)
    assert Path(kill["capture"]).is_file()
    page = Path(document["report"]).with_name("autopsy.html")
    assert "overfull.py" in page.read_text()
    source = "kept.append"
    assert source in (TARGETS / "overfull.py").read_text()
    assert source not in page.read_text()
    assert source not in Path(document["report"]).read_text()
    for graph in document["flamegraphs"]:
        assert source not in Path(graph).read_text(), "CI is set"
    # From disk alone, the single run too, whose lines its experiment knows.
    for path in (page.parent, *page.parent.glob("1-memray-*")):
        again = run_cli("report", str(path))
        assert again.returncode == 1, again.stderr
        assert "overfull.py:" in again.stdout


def test_a_pass_that_was_interrupted_after_a_kill(tmp_path: Path) -> None:
    target = config(tmp_path, "respawning")
    before = our_cgroups()
    process = subprocess.Popen(
        [sys.executable, "cli.py", "profile", "--target", str(target), "--sandbox", "cgroup", "--out", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def was_killed() -> bool:
        assert process.poll() is None, process.communicate()
        for path in tmp_path.glob("*/1-memray-*/samples.bin"):
            size = np.dtype(list(FIELDS)).itemsize
            rows = np.frombuffer(path.read_bytes()[: path.stat().st_size // size * size], list(FIELDS))
            return len(rows) > 0 and bool(rows["oom_kills"][-1])
        return False

    wait_until(was_killed, 60.0)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert our_cgroups() == before
    (run,) = tmp_path.glob("*/1-memray-*")
    again = run_cli("report", str(run))
    assert "Why it was killed" in again.stdout
    assert "respawning.py:" in again.stdout
