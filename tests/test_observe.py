"""`observe`: what runs already is watched, judged by its own limit, and left alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from profiling.errors import CannotRunError
from profiling.measuring.readiness import LOOPBACK, free_port, is_ready
from profiling.measuring.sandboxes.base import Running, SampleSource
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.measuring.watching.processes import open_process
from profiling.values import Limits
from tests.helpers import MIB, ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until


@dataclass(frozen=True)
class Started:
    """A service that others started."""

    running: Running
    source: SampleSource
    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@contextlib.contextmanager
def started(script: str, memory_mib: int = 128, **env: str) -> Iterator[Started]:
    """A service of tests/targets in a cgroup of its own, alive after whatever is done inside unless that ends it."""
    port = free_port()
    with contextlib.closing(CgroupSandbox()) as sandbox:
        running = sandbox.run(
            [sys.executable, f"{script}.py"],
            directory=TARGETS,
            env={**os.environ, "PORT": str(port), **env},
            limits=Limits(memory_bytes=memory_mib * MIB),
            log=None,
        )
        try:
            wait_until(lambda: is_ready(LOOPBACK, port, "/"))
            pid = int(Path(running.source.directory, "cgroup.procs").read_text().split()[0])
            yield Started(running, running.source, pid, port)
        finally:
            running.close()


def observed(out: Path, *arguments: str) -> tuple[int, Any]:
    """(exit code, the JSON document)."""
    done = run_cli("observe", *arguments, "--json", "--out", str(out), cwd=out)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def findings(document: Any) -> set[str]:
    return {finding["id"] for finding in document["runs"][0]["findings"]}


def test_a_cgroup_is_watched_against_its_own_limit_and_left_alone(tmp_path: Path) -> None:
    with started("ballast", BALLAST_MIB="60") as service:
        code, document = observed(tmp_path, "--cgroup", service.source.directory, "--duration", "2s")
        assert is_ready(LOOPBACK, service.port, "/")
    run = document["runs"][0]
    assert code == 0, document
    assert_of_schema(document, "observe")
    assert (run["outcome"], run["oom_kills"], run["memory_limit_bytes"]) == ("completed", 0, 128 * MIB)
    assert 60 * MIB < run["peak_unreclaimable_bytes"] < 90 * MIB
    assert run["headroom_bytes"] == 128 * MIB - run["peak_unreclaimable_bytes"]
    assert run["samples"] > 10
    assert (run["requests"], run["availability"], run["ready"], document["candidate"]) == (0, None, None, None)


def test_the_cgroups_path_is_taken_as_proc_shows_it(tmp_path: Path) -> None:
    with started("ballast") as service:
        lines = Path(f"/proc/{service.pid}/cgroup").read_text().splitlines()
        path = next(line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1] or line.startswith("0::"))
        code, document = observed(tmp_path, "--cgroup", path, "--duration", "1s")
    assert (code, document["runs"][0]["memory_limit_bytes"]) == (0, 128 * MIB)


def test_a_process_alone_in_its_cgroup_is_watched_by_it(tmp_path: Path) -> None:
    with started("ballast", BALLAST_MIB="60") as service:
        code, document = observed(tmp_path, "--pid", str(service.pid), "--duration", "1s")
    run = document["runs"][0]
    assert (code, run["oom_kills"], run["memory_limit_bytes"]) == (0, 0, 128 * MIB)
    assert run["sandbox"].startswith("cgroup-v")


@pytest.fixture
def neighbour() -> Iterator[tuple[int, int]]:
    """(process id, port) of a service that shares our own cgroup."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "ballast.py"], cwd=TARGETS, env={**os.environ, "PORT": str(port), "BALLAST_MIB": "60"}
    )
    try:
        wait_until(lambda: is_ready(LOOPBACK, port, "/"))
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def test_a_process_that_shares_its_cgroup_is_read_from_proc_and_judged_by_no_limit(
    neighbour: tuple[int, int], tmp_path: Path
) -> None:
    code, document = observed(tmp_path, "--pid", str(neighbour[0]), "--duration", "2s")
    run = document["runs"][0]
    assert (code, run["sandbox"]) == (3, "processes")
    assert (run["oom_kills"], run["memory_limit_bytes"], run["headroom_bytes"]) == (None, None, None)
    assert 60 * MIB < run["peak_unreclaimable_bytes"] < 90 * MIB
    assert (run["peak_charged_bytes"], run["peak_working_set_bytes"]) == (None, None)
    assert "no-limit" in findings(document)


def test_a_named_limit_is_what_it_is_held_against(neighbour: tuple[int, int], tmp_path: Path) -> None:
    code, document = observed(tmp_path, "--pid", str(neighbour[0]), "--duration", "1s", "--memory", "64MiB")
    assert (code, findings(document)) == (1, {"over-limit"})
    code, document = observed(tmp_path, "--pid", str(neighbour[0]), "--duration", "1s", "--memory", "256MiB")
    assert (code, document["runs"][0]["memory_limit_bytes"]) == (0, 256 * MIB)


def test_a_kill_before_the_watch_is_none_of_it(tmp_path: Path) -> None:
    with started("forked_victim") as service:
        kill_by_request(service)
        code, document = observed(tmp_path, "--cgroup", service.source.directory, "--duration", "1s")
        assert (code, document["runs"][0]["oom_kills"]) == (0, 0), document


def test_a_kill_during_the_watch_is_counted(tmp_path: Path) -> None:
    with started("forked_victim") as service:
        tool = tool_at_work(tmp_path, "--cgroup", service.source.directory)
        kill_by_request(service)
        tool.send_signal(signal.SIGINT)
        said, _ = tool.communicate(timeout=60)
    run = json.loads(said)["runs"][0]
    assert (tool.returncode, run["outcome"], run["oom_kills"]) == (1, "oom-killed", 1)


def kill_by_request(service: Started) -> None:
    request = urllib.request.Request(service.url, json.dumps({"session_id": "a", "query": "b"}).encode(), method="POST")
    urllib.request.urlopen(request, timeout=20).close()
    wait_until(lambda: service.running.counters().oom_kills == 1)


def tool_at_work(out: Path, *arguments: str) -> subprocess.Popen[str]:
    """The tool, watching: its first samples are there."""
    tool = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "observe", *arguments, "--json", "--out", str(out)],
        cwd=out,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: any(path.stat().st_size for path in out.glob("*-observe-*/1-watch/samples.bin")))
    return tool


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_watches_ends_it_and_gets_the_report(tmp_path: Path, number: signal.Signals) -> None:
    with started("ballast") as service:
        tool = tool_at_work(tmp_path, "--cgroup", service.source.directory)
        tool.send_signal(number)
        said, _ = tool.communicate(timeout=60)
    document = json.loads(said)
    assert (tool.returncode, document["runs"][0]["outcome"]) == (0, "completed"), document
    assert Path(document["report"]).stat().st_size > 10_000


def test_a_killed_tool_leaves_a_readable_run_and_its_subject_alone(tmp_path: Path) -> None:
    with started("ballast") as service:
        tool = tool_at_work(tmp_path, "--cgroup", service.source.directory)
        tool.kill()
        tool.wait()
        assert is_ready(LOOPBACK, service.port, "/")
        directory = next(tmp_path.glob("*-observe-*"))
        wait_until(lambda: not samplers_of(directory))
        done = run_cli("report", str(directory), "--json")
    run = json.loads(done.stdout)["runs"][0]
    assert (done.returncode, run["outcome"]) == (3, "interrupted")
    assert run["samples"] > 0


def samplers_of(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if str(directory).encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
    return found


def test_what_ends_meanwhile_is_told(tmp_path: Path) -> None:
    with started("ballast") as service:
        tool = tool_at_work(tmp_path, "--pid", str(service.pid))
        before = time.monotonic()
        service.running.close()
        said, _ = tool.communicate(timeout=60)
        assert time.monotonic() - before < 40
    run = json.loads(said)["runs"][0]
    assert (tool.returncode, run["outcome"]) == (1, "crashed")
    assert run["stop_reason"].endswith("while it was watched")


def test_load_at_an_address_is_part_of_the_picture(tmp_path: Path) -> None:
    with started("leak", LEAK_KIB="100") as service:
        (tmp_path / "oomproof.toml").write_text(
            "[target]\ncommand = ['x']\nmemory = '128MiB'\n[request.expect]\njson_schema = {required = ['response']}\n"
            "[load]\nusers = 4\nduration = '8s'\n"
        )
        code, document = observed(tmp_path, "--cgroup", service.source.directory, "--url", service.url)
    run = document["runs"][0]
    assert run["requests"] > 100
    assert run["failures"] == 0
    assert run["growth_low"] > 90 * 1024
    assert (code, "growth" in findings(document)) == (1, True)


def test_a_path_in_the_address_is_asked_by_get(tmp_path: Path) -> None:
    with started("ballast") as service:
        code, document = observed(
            tmp_path, "--pid", str(service.pid), "--url", f"{service.url}/any?a=b", "--duration", "2s", "--rate", "20"
        )
    run = document["runs"][0]
    assert (code, run["failures"]) == (0, 0), document
    assert 30 < run["requests"] < 60


def test_watching_starts_nothing_that_stays(tmp_path: Path) -> None:
    before = our_cgroups()
    with started("ballast") as service:
        inside = Path(service.source.directory, "cgroup.procs").read_text()
        observed(tmp_path, "--cgroup", service.source.directory, "--duration", "1s")
        assert Path(service.source.directory, "cgroup.procs").read_text() == inside
    assert our_cgroups() == before
    assert not samplers_of(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "one of --container, --cgroup and --pid"),
        (["--pid", "1", "--cgroup", "/"], 2, "one of --container, --cgroup and --pid"),
        (["--pid", "1", "--users", "3"], 2, "--url"),
        (["--pid", "1", "--url", "ftp://x"], 2, "no address that load can be sent to"),
        (["--pid", "1", "--url", "http://x:99999"], 2, "no address that load can be sent to"),
        (["--pid", "1", "--url", "http://me:pw@x/"], 2, "a user's name or password"),
        (["--pid", "99999999"], 4, "there is no such process"),
        (["--cgroup", "/there/is/none"], 4, "there is no such memory cgroup"),
        (["--cgroup", "../../../etc"], 4, "there is no such memory cgroup"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_one_line(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = run_cli("observe", *arguments, "--out", str(tmp_path), "--duration", "1s", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_another_users_process_is_refused_with_what_to_do() -> None:
    """As an ordinary user, of a process of root's."""
    if os.geteuid() != 0:
        pytest.skip("not root: no other user can be taken")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            open_process(os.getppid())
        except CannotRunError as error:
            os.write(write, f"{error.message} / {error.hint}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert b"may not be read / run it as its user, or as root" in os.read(read, 1000)
    os.close(read)
