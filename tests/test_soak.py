"""Long runs as a whole: memory that does not grow with the run, a tool that is killed on the way, a disk that fills up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.soak import SPIKE_BYTES, report, simulate
from profiling.measuring import store
from profiling.units import MIB
from profiling.values import Outcome
from tests.helpers import ROOT, TARGETS, our_cgroups, run_cli, wait_until

CONFIG = f"""
[target]
command = ["{sys.executable}", "leak.py"]
directory = "{TARGETS}"
ready = "/"
memory = "128MiB"

[load]
users = 2
duration = "24h"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "oomproof.toml"
    path.write_text(CONFIG)
    return path


def started(config: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "verify", "--target", str(config), "--out", str(out), "--json"],
        cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def runs(out: Path) -> list[Path]:
    return [path.parent for path in out.glob(f"*/*/{store.RUN_FILE}")]


def under_load(out: Path) -> bool:
    """Whether a run below `out` has its load on, has said so, and was answered."""
    return any(
        store.load(run).result.load_start_ns is not None and len(store.load(run).requests) > 20 for run in runs(out)
    )


def test_an_hour_takes_little_more_memory_to_report_than_two_minutes(tmp_path: Path) -> None:
    short = report(simulate(store.make_directory(tmp_path / "short"), 1 / 30, 100))
    hour = report(simulate(store.make_directory(tmp_path / "hour"), 1, 100))
    (figures,) = hour.document["runs"]  # type: ignore[misc]
    assert (figures["samples"], figures["requests"]) == (360_000, 360_000)
    assert figures["peak_unreclaimable_bytes"] == SPIKE_BYTES, "of one sample"
    # The hour's data are 58 MiB, and twelve curves of it as floats were another 33.
    assert hour.peak_bytes < short.peak_bytes + 40 * MIB


def test_a_tool_that_is_killed_leaves_a_run_that_can_be_reported(config: Path, tmp_path: Path) -> None:
    before, out = our_cgroups(), tmp_path / "runs"
    process = started(config, out)
    try:
        wait_until(lambda: under_load(out), 60)
        time.sleep(1.5)  # the load's last second is not counted
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_until(lambda: our_cgroups() == before)
    (run,) = runs(out)
    wait_until(lambda: _still(run / store.SAMPLES_FILE) and _still(run / store.REQUESTS_FILE))
    done = run_cli("report", str(run.parent), "--json")
    assert done.returncode == 3, done.stderr
    (figures,) = [json.loads(done.stdout)["run"]]
    assert figures["outcome"] == "interrupted"
    assert figures["samples"] == len(store.load(run).samples) > 50
    assert figures["requests"] > 20
    assert figures["rps"] > 0
    assert figures["p95_ms"] > 0
    assert figures["startup_s"] > 0
    assert "interrupted" in (run.parent / "report.html").read_text()
    single = run_cli("report", str(run), "--json")
    assert json.loads(single.stdout)["runs"][0]["outcome"] == "interrupted"


def _still(file: Path) -> bool:
    size = file.stat().st_size
    time.sleep(0.6)
    return file.stat().st_size == size


def test_a_run_whose_data_cannot_fit_is_not_begun(config: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64m") as out:
        done = run_cli("verify", "--target", str(config), "--out", str(out))
    assert done.returncode == 4, done.stderr
    what, hint = done.stderr.strip().splitlines()[-2:]
    assert "has room for 6" in what
    assert "samples 1.03 GiB" in what
    assert "--duration" in hint
    assert "under load" not in done.stderr


def test_a_disk_that_fills_up_ends_the_run_in_good_order(config: Path, tmp_path: Path) -> None:
    before = our_cgroups()
    config.write_text(CONFIG.replace("24h", "6m"))
    with small_disk(tmp_path / "small", "64m") as out:
        process = started(config, out)
        wait_until(lambda: process.poll() is not None or under_load(out), 60)
        (out / "filler").write_bytes(bytes(os.statvfs(out).f_bavail * os.statvfs(out).f_frsize - 5 * MIB))
        text, said = process.communicate(timeout=60)
        assert process.returncode == 3, said
        assert "may fill the disk" in said
        figures = json.loads(text)["run"]
        assert figures["outcome"] == Outcome.STOPPED_EARLY
        assert "the disk is full" in figures["stop_reason"]
        assert figures["requests"] > 0
    assert our_cgroups() == before


class small_disk:
    """A file system of that size at `place`."""

    def __init__(self, place: Path, size: str) -> None:
        self.place, self.size = place, size

    def __enter__(self) -> Path:
        self.place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "none", str(self.place)], check=True)
        return self.place

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.place)], check=True)
