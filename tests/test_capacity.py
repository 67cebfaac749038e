"""`capacity` on real services: the kernel's own kills, a queue that really forms, a generator that really is too slow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiling.experiments import capacity_record
from tests.helpers import MIB, ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until

HOLD_MIB, WORK_MS = 8, 50
OPTIONS = ("--sandbox", "cgroup", "--json")
SEARCHES = {
    "memory": ("holding", "--duration", "2s", "--max-users", "64"),
    "latency": ("one_by_one", "--duration", "3s", "--max-p95", "450ms", "--max-users", "64"),
    "rate": ("one_by_one", "--duration", "4s", "--rate", "5", "--max-rate", "80"),
    "bound": ("holding", "--duration", "1s", "--max-users", "4"),
}


def config(directory: Path, script: str, **env: str) -> Path:
    path = directory / "oomproof.toml"
    lines = "".join(f"{name} = '{value}'\n" for name, value in env.items())
    path.write_text(
        f"[target]\nname = '{script}'\ncommand = ['python3', '{script}.py']\ndirectory = '{TARGETS}'\nready = '/'\n"
        f"memory = '128MiB'\nstartup_timeout = '30s'\n[target.env]\n{lines}"
    )
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Any]]:
    """All at once, since each mostly waits; by name (exit code, document)."""
    started = {}
    for name, (script, *options) in SEARCHES.items():
        directory = tmp_path_factory.mktemp(name)
        config(directory, script, HOLD_MIB=str(HOLD_MIB), WORK_MS=str(WORK_MS))
        command = [sys.executable, str(ROOT / "cli.py"), "capacity", *OPTIONS, *options]
        started[name] = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    results = {}
    for name, process in started.items():
        out, err = process.communicate(timeout=900)
        assert out, err
        results[name] = (process.returncode, json.loads(out))
    return results


def statuses(document: Any, load: float) -> list[str]:
    return [trial["status"] for trial in document["trials"] if trial["load"] == load]


@pytest.mark.parametrize("name", SEARCHES)
def test_there_is_an_answer_with_both_ends_tried_twice(found: dict[str, Any], name: str) -> None:
    code, document = found[name]
    assert (code, document["verdict"]) == (0, "pass"), document
    assert_of_schema(document, "capacity")
    assert_of_schema(document, "report")
    holds = document["max_rate"] if name == "rate" else document["max_users"]
    assert statuses(document, holds).count("pass") >= 2
    if name != "bound":
        assert holds < document["first_failing"]
        assert statuses(document, document["first_failing"]).count("fail") >= 2


def test_memory_limits_where_the_limit_is_full(found: dict[str, Any]) -> None:
    _, document = found["memory"]
    assert (document["limited_by"], document["by"], document["max_rate"]) == ("oom", "users", None)
    assert 11 <= document["max_users"] <= 16  # 128 MiB, of which Python needs some
    assert "it is OOM-killed (2 of 2)" in document["sentence"]
    assert all(trial["oom_kills"] for trial in document["trials"] if trial["status"] == "fail")


def test_the_memory_of_a_request_is_recovered_within_its_interval(found: dict[str, Any]) -> None:
    line = found["memory"][1]["memory"]
    assert (line["per"], line["is_straight"]) == ("user", True)
    own = 0.25 * MIB  # a thread's stack and page tables come to what is held
    assert line["low"] <= HOLD_MIB * MIB + own, line
    assert line["high"] >= HOLD_MIB * MIB, line
    assert line["low"] <= line["bytes_per"] <= line["high"]
    ten = line["forecasts"][0]
    assert ten["load"] == 10 * found["memory"][1]["max_users"]
    assert ten["low"] <= ten["bytes"] <= ten["high"] <= ten["limit_bytes"]


def test_a_queue_limits_by_latency_and_its_knee_is_named(found: dict[str, Any]) -> None:
    _, document = found["latency"]
    assert document["limited_by"] == "latency"
    # Each waits for all before it, WORK_MS each: some eight fit into the budget, fewer on a busy machine.
    assert 2 <= document["max_users"] <= 9
    assert "over the budget of 450 ms" in document["sentence"]


def test_an_open_loop_finds_the_rate_that_is_kept(found: dict[str, Any]) -> None:
    _, document = found["rate"]
    assert (document["limited_by"], document["by"], document["max_users"]) == ("latency", "rate", None)
    assert document["max_rate"] <= 1.1 * 1000 / WORK_MS  # in a short load a little more than it can is not noticed
    assert document["memory_in_flight"]["per"] == "request in flight"


def test_where_nothing_fails_it_holds_at_least_the_most(found: dict[str, Any]) -> None:
    _, document = found["bound"]
    assert (document["max_users"], document["first_failing"], document["limited_by"]) == (4, None, None)
    assert document["sentence"].startswith("Holds at least 4 users")


@pytest.mark.parametrize("name", ["memory", "rate"])
def test_it_is_judged_again_from_disk(found: dict[str, Any], name: str) -> None:
    code, document = found[name]
    again = run_cli("report", str(Path(document["report"]).parent), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (code, document)
    page = Path(document["report"]).read_text()
    assert "Over the load" in page
    assert "Latency by share of the answers" in page


@pytest.mark.parametrize(
    ("script", "limited_by", "said"),
    [("hog_at_start", "oom", "before it is ready"), ("wrong_answer", "errors", "requests fail")],
)
def test_where_even_the_smallest_load_fails_it_does_not_hold(
    tmp_path: Path, script: str, limited_by: str, said: str
) -> None:
    path = config(tmp_path, script)
    path.write_text(path.read_text() + "[request.expect]\njson_schema = { required = ['response'] }\n")
    done = run_cli("capacity", *OPTIONS, "--users", "4", "--duration", "1s", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"], document["max_users"]) == (1, "fail", None), document
    assert (document["first_failing"], document["limited_by"]) == (1, limited_by)
    assert said in document["sentence"]


BUSY_USERS = """
import time
from locust import FastHttpUser, task

class Busy(FastHttpUser):
    @task
    def ask(self):
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until:
            pass
        self.client.post("/chat", json={"session_id": "1", "query": "1"})
"""


def test_a_generator_that_is_too_slow_is_no_answer(tmp_path: Path) -> None:
    """Its users keep a processor busy by themselves; on a machine that gives them none it is said of the first load alike."""
    path = config(tmp_path, "ballast")
    (tmp_path / "busy.py").write_text(BUSY_USERS)
    path.write_text(path.read_text() + "[request]\nlocustfile = 'busy.py'\n")
    done = run_cli("capacity", *OPTIONS, "--users", "4", "--duration", "2s", "--max-users", "16", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"]) == (3, "inconclusive"), document
    assert (document["first_failing"], document["limited_by"]) == (None, "load-generator")
    assert len(document["trials"]) == 2
    refused = run_cli("capacity", *OPTIONS, "--rate", "4", cwd=tmp_path)
    assert refused.returncode == 2
    assert "a rate cannot be kept" in json.loads(refused.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--users", "300"), "raise --max-users"),
        (("--rate", "50", "--max-rate", "20"), "raise --max-rate"),
        (("--rate", "0.04"), "the smallest rate"),
        (("--by", "users", "--rate", "5"), "leave one of them out"),
        (("--by", "requests"), "'requests' is not one of"),
        (("--max-trials", "1"), "--max-trials"),
        (("--max-p95", "0s"), "more than 0"),
        (("--max-users", "-1"), "--max-users"),
        (("no-such-variant",), "has no variants"),
    ],
)
def test_what_makes_no_sense_is_exit_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    config(tmp_path, "ballast")
    done = run_cli("capacity", *OPTIONS, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in json.loads(done.stdout)["error"]["message"]
    assert not (tmp_path / "runs").exists(), "nothing was begun"


def test_interrupted_it_keeps_what_was_measured(tmp_path: Path) -> None:
    before = our_cgroups()
    config(tmp_path, "ballast")
    command = [sys.executable, str(ROOT / "cli.py"), "capacity", *OPTIONS, "--duration", "1s"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ)
    )
    wait_until(lambda: list(tmp_path.glob("runs/*/3-*/run.json")), 60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted")
    wait_until(lambda: our_cgroups() == before)
    place = next(tmp_path.glob("runs/*"))
    assert json.loads((place / "experiment.json").read_text())["interrupted"] is True
    assert len(capacity_record.load(place).trials) == 2
    again = run_cli("report", str(place), "--json")
    document = json.loads(again.stdout)
    assert (again.returncode, document["verdict"], document["max_users"]) == (3, "inconclusive", 2)
    assert "ended early" in document["sentence"]


def test_a_command_can_stand_behind_the_options(tmp_path: Path) -> None:
    command = ("--", sys.executable, str(TARGETS / "ballast.py"))
    done = run_cli("capacity", "--memory", "2MiB", "--duration", "1s", *OPTIONS, *command, cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"]) == (1, "fail"), document
