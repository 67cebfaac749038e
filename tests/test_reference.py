"""The README's commands, run for real on the real model: the default comparison, its variations, serve, profile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.browser import needs_chromium, open_chromium
from tests.helpers import ROOT, our_cgroups, run_cli

pytestmark = pytest.mark.e2e

EXAMPLES = {
    "python cli.py compare": "test_the_default_comparison_is_proved",
    "python cli.py compare --users 8 --duration 20s --json": "test_the_default_comparison_is_proved",
    "python cli.py compare --users 64": "test_the_singleton_holds_64_users",
    "python cli.py compare --sandbox docker": "tests/containers/test_commands.py",
    "python cli.py compare --sandbox podman": "tests/containers/test_commands.py",
    "python cli.py compare --checkpoint safetensors": "test_mapped_weights_let_the_baseline_survive_and_it_is_said",
    "python cli.py serve --lifecycle per-request": "test_serve_answers_and_ends_with_ctrl_c",
    "python cli.py profile per-request": "test_profile_blames_the_line_that_loads_the_weights",
    "python cli.py profile --memory 512MiB -- gunicorn app:app --bind {host}:{port}": "tests/test_cli.py",
    "python cli.py verify --memory 512MiB -- gunicorn app:app --bind {host}:{port}": "tests/test_verify.py",
    "python cli.py init": "tests/test_init.py",
    "python cli.py verify": "tests/test_init.py",
    "python cli.py imports": "tests/commands/test_imports.py",
    "python cli.py imports -- gunicorn app:app --bind {host}:{port}": "tests/profiling/measuring/imports/test_recorder.py",
    "python cli.py report runs/*-compare-*": "test_the_default_comparison_is_proved",
    "python cli.py doctor": "tests/test_cli.py",
}
"""Every command that the README shows, and where it is run; tests/test_docs.py holds the README against it."""


WITHOUT_ENGINES = {"DOCKER_HOST": "unix:///nonexistent.sock", "CONTAINER_HOST": "unix:///nonexistent.sock"}
"""So that `auto` means a cgroup here, whatever this machine has; tests/containers/ has the rest."""


def run(*arguments: str) -> tuple[int, str, str]:
    done = run_cli(*arguments, **WITHOUT_ENGINES)
    return done.returncode, done.stdout, done.stderr


def compare(tmp_path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    code, out, err = run("compare", "--json", "--out", str(tmp_path), *options)
    assert out, err
    return code, json.loads(out)


@needs_chromium
def test_the_default_comparison_is_proved(tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = compare(tmp_path, "--users", "8", "--duration", "20s")
    assert (code, document["claim"]) == (0, "proved"), document
    singleton = next(run for run in document["runs"] if run["name"] == "singleton")
    # A run that hung at the limit instead of being killed is followed by another one.
    baselines = [run for run in document["runs"] if run is not singleton]
    assert baselines[-1]["outcome"] == "oom-killed"
    assert baselines[-1]["oom_kills"] >= 1
    assert all(run["availability"] < 0.5 for run in baselines)
    assert singleton["outcome"] == "completed"
    assert singleton["oom_kills"] == singleton["failures"] == singleton["restarts"] == 0
    assert singleton["availability"] == 1.0
    # The page cache may be warm: this test's own process can have torch mapped.
    assert not [finding for finding in singleton["findings"] if finding["level"] != "info"], (
        "flat, with headroom over 10 %"
    )
    killed, alive = document["profiles"]
    assert killed["held_at"] == ("kill" if killed["oom_kills"] else "peak")
    assert killed["held"][0]["frame"]["file"] == "backend/encoder.py"
    if killed["oom_kills"]:
        assert len(killed["held"][0]["by_thread"]) >= 2, "more than one request was loading the model"
    for profile in (killed, alive):
        assert profile["flamegraphs"]
        assert all(Path(path).is_file() for path in profile["flamegraphs"])
    page = Path(document["report"])
    assert page.stat().st_size < 1_000_000
    assert our_cgroups() == before

    code, text, _ = run("report", str(page.parent))
    assert code == 0
    assert text.lstrip().startswith("✓ PROVED")
    assert text.rstrip().endswith(str(page))
    _click_through(page, tmp_path / "chromium")


def _click_through(page: Path, profile: Path) -> None:
    """The page in a real browser: no request to anywhere, the verdict in sight, a flame graph one click away."""
    driver = open_chromium(profile)
    try:
        driver.get(page.as_uri())
        assert "Proved" in driver.find_element("tag name", "h1").text
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        driver.find_element("css selector", "a[href*='flamegraph']").click()
        driver.switch_to.window(driver.window_handles[-1])
        assert "flamegraph" in driver.current_url
        assert "memray" in driver.title.lower() or "all processes" in driver.title.lower()
    finally:
        driver.quit()


def test_the_singleton_holds_64_users(tmp_path: Path) -> None:
    code, document = compare(tmp_path, "singleton", "--users", "64", "--no-profile")
    assert code == 0
    assert document["claim"] == "inconclusive", "one variant alone proves nothing"
    assert document["runs"][0]["oom_kills"] == document["runs"][0]["failures"] == 0


def test_mapped_weights_let_the_baseline_survive_and_it_is_said(tmp_path: Path) -> None:
    code, document = compare(tmp_path, "--checkpoint", "safetensors", "--duration", "10s", "--no-profile")
    assert (code, document["claim"]) == (0, "baseline-survived")
    slow, quick = document["runs"]
    assert slow["p50_ms"] > 3 * quick["p50_ms"]
    _, text, _ = run("report", str(Path(document["report"]).parent))
    assert "per-request survives 8 users at 512 MiB as well" in re.sub(r"\s+", " ", text)


def test_profile_blames_the_line_that_loads_the_weights(tmp_path: Path) -> None:
    code, out, err = run("profile", "per-request", "--duration", "5s", "--json", "--out", str(tmp_path))
    assert code == 1, err
    document = json.loads(out)
    assert document["profile"]["held"][0]["frame"]["file"] == "backend/encoder.py"


def test_serve_answers_and_ends_with_ctrl_c() -> None:
    before = our_cgroups()
    # The signal goes to the whole foreground group in a terminal; here to the tool alone, which must do for the rest.
    process = subprocess.Popen(
        [sys.executable, "cli.py", "serve", "--lifecycle", "lazy"],
        cwd=ROOT,
        env={**os.environ, **WITHOUT_ENGINES},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = None
    for line in process.stderr:
        if match := re.search(r"ready at (http://\S+)", line):
            address = match[1]
            break
    assert address
    request = urllib.request.Request(
        f"{address}/chat",
        data=json.dumps({"session_id": "me", "query": "How do I reset my password?"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert "password" in json.load(response)["response"].lower()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(timeout=30) == 130
    assert "0 OOM kills in all" in said
    assert our_cgroups() == before
