"""`size` on small services with real limits and real kills: both sides of the answer, what has none, and how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import MIB, ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until

OPTIONS = ("--sandbox", "cgroup", "--json", "--users", "2", "--duration", "1s")


def config(directory: Path, script: str, *, memory: str | None = "192MiB", more: str = "", **env: str) -> Path:
    """A directory with the config file of a service of tests/targets."""
    limit = f"memory = '{memory}'\n" if memory else ""
    variables = "".join(f"{key} = '{value}'\n" for key, value in env.items())
    (directory / "oomproof.toml").write_text(
        f"[target]\nname = 'shop'\ncommand = [{json.dumps(sys.executable)}, '{script}.py']\ndirectory = '{TARGETS}'\n"
        f"ready = '/'\nstartup_timeout = '20s'\n{limit}[target.env]\n{variables}{more}"
    )
    return directory


TRIES = 3
"""On a machine that others keep busy the load generator may be the bottleneck, which rightly says nothing."""


def size(directory: Path, *arguments: str) -> tuple[int, Any]:
    for _ in range(TRIES):
        done = run_cli("size", *OPTIONS, *arguments, cwd=directory)
        assert done.stdout, done.stderr
        document = json.loads(done.stdout)
        if "load generator" not in document.get("sentence", ""):
            break
    assert_of_schema(document, "error" if done.returncode == 2 else "size")
    return done.returncode, document


@pytest.fixture(scope="module")
def ballast(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any]:
    """A ballast of 60 MiB, sized with a plan of its own in the config file."""
    plans = "[plans.acme.tiny]\nmemory = '128MiB'\nusd_per_month = 3\n"
    directory = config(tmp_path_factory.mktemp("ballast"), "ballast", more=plans, BALLAST_MIB="60")
    before = our_cgroups()
    found = size(directory)
    assert our_cgroups() == before
    return found


def test_both_sides_of_the_answer_are_real(ballast: tuple[int, Any]) -> None:
    code, document = ballast
    assert (code, document["verdict"]) == (0, "sized"), document["sentence"]
    passing, failing = document["smallest_passing_bytes"], document["largest_failing_bytes"]
    assert 60 * MIB < failing < passing < 90 * MIB
    assert passing - failing <= 8 * MIB
    assert document["largest_killed_bytes"] == failing
    at_end = [run for run in document["trials"] if run["memory_limit_bytes"] == passing]
    assert [run["outcome"] for run in at_end] == ["completed"] * len(at_end)
    killed = [run for run in document["trials"] if run["memory_limit_bytes"] == failing]
    assert [run["outcome"] for run in killed] == ["oom-killed"] * len(killed)
    assert all(run["oom_kills"] for run in killed)
    assert min(len(at_end), len(killed)) >= 2
    assert document["trials"][0]["memory_limit_bytes"] == 192 * MIB
    assert len(document["trials"]) <= 8


def test_plans_are_the_smallest_that_hold_it_and_no_price_is_invented(ballast: tuple[int, Any]) -> None:
    _, document = ballast
    plans = {plan["provider"]: plan for plan in document["plans"]}
    assert (plans["acme"]["name"], plans["acme"]["usd_per_month"]) == ("tiny", 3)
    assert plans["acme"]["headroom"] == pytest.approx(1 - document["need_bytes"] / (128 * MIB))
    assert (plans["fly"]["name"], plans["fly"]["usd_per_month"]) == ("shared-cpu-1x", None)
    assert document["headroom"] == 0.1


def test_it_is_rendered_again_from_disk(ballast: tuple[int, Any]) -> None:
    _, document = ballast
    page = Path(document["report"])
    text = page.read_text()
    assert "Latency and kills against the limit" in text
    assert "acme tiny" in text
    again = run_cli("report", str(page.parent), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, document)
    words = run_cli("report", str(page.parent)).stdout
    assert "✓ SIZED" in words
    assert "Limits tried" in words
    assert words.rstrip().splitlines()[-1].split() == ["report", str(page)]


def test_without_a_limit_it_starts_generously_and_a_command_is_enough() -> None:
    words = ("size", *OPTIONS, "--", sys.executable, "ballast.py")
    done = run_cli(*words, cwd=TARGETS, BALLAST_MIB="30")
    document = json.loads(done.stdout)
    try:
        assert (done.returncode, document["verdict"]) == (0, "sized"), done.stderr
        assert document["trials"][0]["memory_limit_bytes"] >= 256 * MIB
        assert 30 * MIB < document["smallest_passing_bytes"] < 60 * MIB
    finally:
        shutil.rmtree(Path(document["report"]).parents[1])


def test_what_grows_under_load_is_killed_under_load_on_the_other_side(tmp_path: Path) -> None:
    """80 MiB at the first request: starting is not what decides."""
    code, document = size(config(tmp_path, "first_request", FIRST_MIB="80"), "--memory", "64MiB")
    assert (code, document["verdict"]) == (0, "sized"), document["sentence"]
    assert document["trials"][0]["outcome"] == "oom-killed", "the first limit was too small, and was doubled"
    killed = [run for run in document["trials"] if run["memory_limit_bytes"] == document["largest_killed_bytes"]]
    assert all(run["ready"] for run in killed)
    assert all("stopped after an OOM kill" in run["stop_reason"] or "signal 9" in run["stop_reason"] for run in killed)


def test_what_memory_does_not_mend_passes_at_no_limit(tmp_path: Path) -> None:
    code, document = size(config(tmp_path, "ballast", more="[request.expect]\nstatus = 201\n"))
    assert (code, document["verdict"]) == (1, "never-passes"), document
    limits = [run["memory_limit_bytes"] for run in document["trials"]]
    assert len(limits) == 3
    assert limits[0] < limits[1] == limits[2]
    assert {run["outcome"] for run in document["trials"]} == {"stopped-early"}
    assert document["plans"] == []
    assert document["smallest_passing_bytes"] is None


def test_a_budget_for_headroom_is_part_of_passing(tmp_path: Path) -> None:
    directory = config(tmp_path, "ballast", more="[budget]\nmin_headroom = '40%'\n", BALLAST_MIB="60")
    code, document = size(directory)
    assert (code, document["verdict"]) == (0, "sized"), document["sentence"]
    assert "too little headroom at" in document["sentence"]
    assert document["smallest_passing_bytes"] >= document["need_bytes"] / 0.6
    assert document["headroom"] == 0.4
    assert document["largest_killed_bytes"] < document["need_bytes"], "the kernel was asked as well"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--headroom", "100%"), "it must be less than 100%"),
        (("--headroom", "much"), "is no percentage"),
        (("--memory", "512M"), "is ambiguous"),
        (("--duration", "0s"), "must be more than 0"),
        (("nobody",), "unknown variant 'nobody'"),
    ],
)
def test_nonsense_is_refused_at_once(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    more = "[variants.one.env]\nA = '1'\n"
    code, document = size(config(tmp_path, "ballast", more=more), *arguments)
    assert code == 2
    assert said in document["error"]["message"]
    assert not (tmp_path / "runs").exists()


def test_a_system_of_several_services_is_refused(tmp_path: Path) -> None:
    service = f"command = ['python3', 'ballast.py']\ndirectory = '{TARGETS}'\nmemory = '64MiB'\n"
    (tmp_path / "oomproof.toml").write_text(f"[services.api]\n{service}[services.work]\n{service}")
    code, document = size(tmp_path)
    assert code == 2
    assert "has 2 services" in document["error"]["message"]


def test_a_command_that_does_not_exist_is_exit_4(tmp_path: Path) -> None:
    done = run_cli("size", *OPTIONS, "--", "no-such-command", cwd=tmp_path)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["kind"] == "command-not-found"


def test_ctrl_c_saves_what_was_measured_and_leaves_nothing(tmp_path: Path) -> None:
    directory = config(tmp_path, "ballast", BALLAST_MIB="60")
    before = our_cgroups()
    command = [sys.executable, str(ROOT / "cli.py"), "size", *OPTIONS, "--duration", "20s"]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: list(directory.glob("runs/*/1-192MiB/samples.bin")), 60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted")
    assert our_cgroups() == before
    place = next(directory.glob("runs/*"))
    assert json.loads((place / "experiment.json").read_text())["interrupted"] is True
    done = run_cli("report", str(place), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"]) == (3, "inconclusive")
    assert document["trials"][0]["outcome"] == "interrupted"
