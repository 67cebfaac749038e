"""Several services measured as one system: an API in front of a worker, each under a limit of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import MIB, TARGETS, our_cgroups, run_cli

CONFIG = """
[services.worker]
command = ['{python}', '{worker}.py']
directory = '{targets}'
ready = '/'
memory = '{memory}MiB'
[services.worker.env]
BALLAST_MIB = '60'
LEAK_KIB = '20'
[services.api]
command = ['{python}', 'relay.py']
directory = '{targets}'
ready = '/'
memory = '96MiB'
[services.api.env]
WORKER_URL = '{{worker.url}}'
[request]
service = "api"
[request.expect]
json_schema = {{ type = 'object', required = ['response'] }}
[load]
users = 4
duration = "{duration}"
"""


def run(
    directory: Path, *arguments: str, worker: str = "ballast", memory: int = 128, duration: str = "3s"
) -> tuple[int, Any]:
    """(exit code, the JSON document)."""
    (directory / "oomproof.toml").write_text(
        CONFIG.format(python=sys.executable, worker=worker, targets=TARGETS, memory=memory, duration=duration)
    )
    done = run_cli(*arguments, "--json", "--sandbox", "cgroup", cwd=directory)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def failing(document: dict[str, Any]) -> set[tuple[str | None, str]]:
    return {(check["service"], check["id"]) for check in document["checks"] if check["status"] == "fail"}


def test_a_healthy_system_is_verified(tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = run(tmp_path, "verify")
    assert (code, document["verdict"]) == (0, "pass"), document
    summary = document["run"]
    api, worker = summary["services"]
    assert (api["name"], worker["name"]) == ("api", "worker"), "the load goes to the first"
    assert (api["memory_limit_bytes"], worker["memory_limit_bytes"]) == (96 * MIB, 128 * MIB)
    assert summary["memory_limit_bytes"] == 224 * MIB
    assert 60 * MIB < worker["peak_unreclaimable_bytes"] < 90 * MIB
    assert api["peak_unreclaimable_bytes"] < 50 * MIB
    together = api["peak_unreclaimable_bytes"] + worker["peak_unreclaimable_bytes"]
    assert 0.9 * together < summary["peak_unreclaimable_bytes"] <= together
    assert summary["headroom_bytes"] == min(api["headroom_bytes"], worker["headroom_bytes"])
    assert summary["failures"] == 0
    points = [(check["id"], check["service"]) for check in document["checks"]]
    assert ("oom", "api") in points
    assert ("oom", "worker") in points
    assert ("contract", None) in points
    page = Path(document["report"]).read_text()
    assert "worker: no OOM kill before it was ready" in page
    assert our_cgroups() == before


def test_a_kill_in_one_service_is_that_services(tmp_path: Path) -> None:
    code, document = run(tmp_path, "verify", worker="per_request", memory=80)
    assert (code, document["verdict"], document["run"]["outcome"]) == (1, "fail", "oom-killed")
    assert {("worker", "oom"), ("worker", "alive"), ("worker", "headroom"), (None, "timeouts")} <= failing(document)
    assert not {key for key in failing(document) if key[0] == "api"}
    assert document["run"]["stop_reason"].startswith("worker: ended by signal 9")
    api, worker = document["run"]["services"]
    assert (api["oom_kills"], worker["oom_kills"], document["run"]["oom_kills"]) == (0, 1, 1)
    again = run_cli("report", document["run"]["run_dir"], cwd=tmp_path)
    assert "worker: OOM-killed once at the limit of 80 MiB" in " ".join(again.stdout.split())


def test_only_the_service_that_ended_the_run_is_blamed(tmp_path: Path) -> None:
    code, document = run(tmp_path, "verify", worker="crash", duration="2s")
    assert code == 1
    assert {service for service, _ in failing(document)} == {"worker"}, failing(document)
    start = next(check for check in document["checks"] if (check["service"], check["id"]) == ("worker", "start"))
    assert start["message"].startswith("worker: the service ended by itself: ended with exit status")


def test_the_imports_of_the_service_that_was_starved_are_named(tmp_path: Path) -> None:
    code, document = run(tmp_path, "verify", worker="hog_at_start", duration="2s")
    assert code == 1
    assert {service for service, _ in failing(document)} == {"worker"}, failing(document)
    check = next(
        check for check in document["checks"] if (check["service"], check["id"]) == ("worker", "startup-memory")
    )
    assert check["message"].startswith("worker: OOM-killed once before it was ready")
    assert "its imports hold" in check["message"]
    (recorded,) = Path(document["run"]["run_dir"]).parent.glob("2-imports-*/imports.json")
    assert "hog_at_start.py" in recorded.read_text()
    assert "worker: OOM-killed" in "".join(finding["message"] for finding in document["run"]["findings"])


def test_a_leak_behind_the_api_is_found_in_the_worker(tmp_path: Path) -> None:
    code, document = run(tmp_path, "verify", worker="leak", duration="8s")
    assert code == 1
    assert failing(document) == {("worker", "growth")}


def test_variants_of_a_system_are_compared(tmp_path: Path) -> None:
    variants = "\n".join(
        f"[variants.{name}.env]\nBALLAST_MIB = '{size}'" for name, size in (("big", 200), ("small", 9))
    )
    (tmp_path / "mine.toml").write_text(
        CONFIG.format(python=sys.executable, worker="ballast", targets=TARGETS, memory=80, duration="2s") + variants
    )
    done = run_cli("compare", "--json", "--no-profile", "--target", "mine.toml", "--sandbox", "cgroup", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["claim"]) == (0, "proved"), document
    assert [entry["services"][1]["oom_kills"] > 0 for entry in document["runs"]] == [True, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("memory = '96MiB'", ""), "services.api.memory is not set"),
        (("[services.api]", "[target]"), "both given"),
        (('service = "api"', 'service = "apo"'), "there is no service 'apo'; name one of worker, api"),
        (("{{worker.url}}", "{{wroker.url}}"), "services.api.env: {wroker.url}: there is no service 'wroker'"),
        (("ready = '/'", "name = 'x'"), "a service has the name of its table"),
        (("[services.worker]", "[services.'wor.ker']"), "has a dot"),
        (("memory = '96MiB'", "memroy = '96MiB'"), "unknown key 'services.api.memroy'"),
    ],
)
def test_a_system_that_makes_no_sense_is_a_config_error(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    text = CONFIG.replace(change[0], change[1], 1)
    (tmp_path / "oomproof.toml").write_text(
        text.format(python=sys.executable, worker="ballast", targets=TARGETS, memory=80, duration="2s")
    )
    done = run_cli("verify", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_limits_of_a_system_stand_in_its_file(tmp_path: Path) -> None:
    run_in = CONFIG.format(python=sys.executable, worker="ballast", targets=TARGETS, memory=80, duration="2s")
    (tmp_path / "oomproof.toml").write_text(run_in)
    done = run_cli("verify", "--memory", "512MiB", cwd=tmp_path)
    assert done.returncode == 2
    assert "2 services, each with limits of its own" in done.stderr
