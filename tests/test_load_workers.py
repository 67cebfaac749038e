"""Loads that several processes or machines send, through the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli import oomproof
from loadtests.workers import Workers
from profiling.measuring import store
from tests.helpers import ROOT, assert_of_schema, our_cgroups, run_cli, wait_until
from tests.loadtests.networks import Elsewhere, ended, machines
from tests.loadtests.servers import free_port

SERVICE = """\
[target]
command = ["{python}", "{script}", "{{host}}"]
ready = "/"
memory = "128MiB"
[request]
method = "GET"
path = "/"
"""
SCRIPT = """\
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer((sys.argv[1], int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def two() -> Iterator[list[Elsewhere]]:
    with machines(2) as found:
        yield found


@pytest.fixture
def here(tmp_path: Path) -> Path:
    script = tmp_path / "service.py"
    script.write_text(SCRIPT)
    (tmp_path / "oomproof.toml").write_text(SERVICE.format(python=sys.executable, script=script))
    return tmp_path


def only_run(document: dict[str, Any]) -> store.StoredRun:
    return store.load(Path(document["run"]["run_dir"]))


def test_verify_with_processes(here: Path) -> None:
    done = run_cli("verify", "--users", "4", "--duration", "2s", "--load-processes", "2", "--json", cwd=here)
    document = json.loads(done.stdout)
    assert_of_schema(document, "verify")
    run = only_run(document)
    assert done.returncode in (0, 3), done.stderr
    assert run.result.load is not None
    assert run.result.load.workers == Workers(processes=2)
    assert sum(worker.records for worker in run.result.load_workers) == len(run.requests) == document["run"]["requests"]
    assert set(run.requests["user"].tolist()) == {0, 1, 2, 3}
    assert run.result.phases[0].name == "workers", "the service does not wait for its load"
    page = Path(document["report"]).read_text()
    assert "sent by 2 workers" in page
    assert not our_cgroups()


def killing_a_worker(directory: Path) -> Callable[[], bool]:
    """Kills one of the workers of the run that is going on below `directory`; True once that is done."""

    def look() -> bool:
        for status in directory.glob("runs/*/*/load/load-status.json"):
            if json.loads(status.read_bytes())["started_ns"] and (status.parents[1] / "requests.bin").stat().st_size:
                job = str(status.with_name("load-job.json")).encode()
                ours = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/environ") if job in _read(p)]
                os.kill(max(ours), signal.SIGKILL)  # the master came first
                return True
        return False

    return look


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def start_cli(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_that_dies_makes_a_run_inconclusive(here: Path) -> None:
    tool = start_cli("verify", "--users", "4", "--duration", "8s", "--load-processes", "2", "--json", cwd=here)
    try:
        wait_until(killing_a_worker(here), 60)
        stdout, stderr = tool.communicate(timeout=120)
    finally:
        tool.kill()
    document = json.loads(stdout)
    assert tool.returncode == 3, stderr
    assert document["verdict"] == "inconclusive"
    said = next(finding for finding in document["run"]["findings"] if finding["id"] == "load-generator")
    assert "1 of 2 load workers was lost, and 2 users with it" in said["message"]
    assert "was ended by signal 9" in said["message"]


def test_verify_with_workers_elsewhere(two: list[Elsewhere], here: Path) -> None:
    """The service listens where they reach it."""
    bind = f"{two[0].here}:{free_port()}"
    port = int(bind.rpartition(":")[2])
    workers = [machine.join(port, "--loads", "1", host=two[0].here) for machine in two]
    options = ("--users", "4", "--duration", "2s", "--load-workers", "2", "--bind", bind, "--load-workers-wait", "40s")
    with ended(*workers):
        done = run_cli("verify", *options, "--json", cwd=here)
    document = json.loads(done.stdout)
    assert done.returncode in (0, 3), done.stderr
    assert f"start each with: oomproof load-worker {bind}" in done.stderr
    run = only_run(document)
    assert all(worker.records and worker.lost is None for worker in run.result.load_workers)
    assert document["run"]["failures"] == 0
    assert len(run.requests) == document["run"]["requests"] > 0


def test_observe_with_workers_elsewhere(two: list[Elsewhere], here: Path) -> None:
    """A service on any machine that they reach, watched by its process here."""
    service_port, port = free_port(), free_port()
    service = subprocess.Popen(
        [sys.executable, str(here / "service.py"), two[0].here],
        env={**os.environ, "PORT": str(service_port)},
        text=True,
    )
    worker = two[1].join(port, "--loads", "1", host=two[0].here)
    with ended(worker):
        try:
            done = run_cli(
                *("observe", "--pid", str(service.pid), "--url", f"http://{two[0].here}:{service_port}/"),
                *("--users", "2", "--duration", "2s", "--load-workers", "1", "--bind", f"0.0.0.0:{port}", "--json"),
                cwd=here,
            )
        finally:
            service.kill()
            service.wait()
    assert done.returncode in (0, 3), done.stderr
    run = store.load(next(here.glob("runs/*/1-watch")))
    assert run.result.load_workers[0].records == len(run.requests) > 0
    assert set(run.requests["status"].tolist()) == {200}
    assert f"oomproof load-worker THIS-MACHINE:{port}" in done.stderr


def test_too_few_workers_are_an_error_before_anything_is_started(two: list[Elsewhere], here: Path) -> None:
    bind = f"{two[0].here}:{free_port()}"
    done = run_cli("verify", "--load-workers", "2", "--bind", bind, "--load-workers-wait", "3s", "--json", cwd=here)
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert error["message"] == f"0 of 2 load workers came to {bind} within 3 s"
    assert error["hint"] == f"start each with: oomproof load-worker {bind}"
    assert not our_cgroups()


def test_interrupted_while_it_waits_for_workers(two: list[Elsewhere], here: Path) -> None:
    bind = f"{two[0].here}:{free_port()}"
    tool = start_cli("verify", "--load-workers", "1", "--bind", bind, cwd=here)
    try:
        wait_until(lambda: list(here.glob("runs/*/*/load/load-output.log")), 30)
        time.sleep(1.0)
        tool.send_signal(signal.SIGINT)
        _, stderr = tool.communicate(timeout=30)
    finally:
        tool.kill()
    assert tool.returncode == 130, stderr
    assert not our_cgroups()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--load-workers", "2"), "--load-workers: the workers need somewhere to connect to"),
        (("--bind", "10.0.0.5:5557"), "--bind is for workers on other machines"),
        (("--load-workers-wait", "3s"), "--load-workers-wait is for workers on other machines"),
        (("--load-workers", "2", "--load-processes", "2", "--bind", "10.0.0.5:1"), "are both given"),
        (("--load-workers", "2", "--bind", "10.0.0.5"), "no address and port"),
        (("--load-workers", "2", "--bind", "fd00::5:5557"), "no address and port"),
        (("--load-workers", "2", "--bind", "10.0.0.5:0"), "no address and port"),
        (("--load-workers", "2", "--bind", "0.0.0.0:5557"), "the service listens there, too"),
        (("--load-workers", "2", "--bind", "127.0.0.1:5557"), "the service listens there, too"),
        (("--load-processes", "0"), "--load-processes"),
        (("--load-processes", "9"), "9 load processes for 8 users: some would send nothing"),
        (("--load-workers", "9", "--bind", "10.0.0.5:5557"), "9 remote workers for 8 users"),
    ],
)
def test_what_cannot_be_meant_is_refused(here: Path, options: tuple[str, ...], said: str) -> None:
    done = run_cli("verify", *options, "--json", cwd=here)
    assert done.returncode == 2
    assert said in json.loads(done.stdout)["error"]["message"]


def test_load_worker_refuses_nonsense() -> None:
    for wrong in ("", "nowhere", "host:port", "host:99999"):
        done = run_cli("load-worker", wrong)
        assert done.returncode == 2
        assert "address and port" in done.stderr


def test_load_worker_ends_at_once_on_ctrl_c(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "load-worker", f"127.0.0.1:{free_port()}"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: list(tmp_path.glob("oomproof-load-worker-*/locust.log")))
        time.sleep(1.0)
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=30)
    finally:
        worker.kill()
    assert worker.returncode == 130
    assert not list(tmp_path.iterdir()), "nothing stays, what it fetched least of all"


def words_of(manifest: str) -> list[list[str]]:
    """The tool's command lines in a manifest of docs/load."""
    found = []
    for document in yaml.safe_load_all((ROOT / "docs" / "load" / manifest).read_text()):
        if "services" in document:
            found += [service["command"] for service in document["services"].values() if "command" in service]
        elif "template" in document["spec"]:
            found += [container["args"] for container in document["spec"]["template"]["spec"]["containers"]]
    return found


@pytest.mark.parametrize("manifest", ["compose.yaml", "kubernetes.yaml"])
def test_manifests_call_the_commands_as_they_are(manifest: str) -> None:
    context = click.Context(oomproof)
    addresses, asked = set(), {}
    for name, *arguments in words_of(manifest):
        command = oomproof.get_command(context, name)
        assert command is not None
        parsed = command.make_context(name, arguments).params
        if name == "load-worker":
            addresses.add(parsed["address"])
        else:
            asked = parsed
    assert {port for _, port in addresses} == {asked["bind"][1]}
    documents = list(yaml.safe_load_all((ROOT / "docs" / "load" / manifest).read_text()))
    if manifest == "compose.yaml":
        services = documents[0]["services"]
        assert {host for host, _ in addresses} == {"measure"} <= set(services)
        assert services["worker"]["deploy"]["replicas"] == asked["load_workers"]
    else:
        by_kind = {document["kind"]: document for document in documents}
        service = by_kind["Service"]
        assert {host for host, _ in addresses} == {service["metadata"]["name"]}
        assert service["spec"]["selector"] == by_kind["Job"]["spec"]["template"]["metadata"]["labels"]
        assert by_kind["Deployment"]["spec"]["replicas"] == asked["load_workers"]
