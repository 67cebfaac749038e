"""Runs on a real engine whose cgroups and processes are not ours to see: it has namespaces of its own, and another clock."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from profiling.errors import CommandNotFoundError, EngineError, ImageError, NoLimitError, OomproofError, SamplerError
from profiling.judging.analysis import analyse
from profiling.judging.findings import with_findings
from profiling.measuring import store
from profiling.measuring.events import Event, Silent, Tick
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.memray_pass import record_pass
from profiling.measuring.sandboxes.containers import engine as engines
from profiling.measuring.sandboxes.containers import images, options
from profiling.measuring.sandboxes.containers.engine import Engine, connect
from profiling.measuring.sandboxes.containers.remote_eyes import DEFAULT_IMAGE
from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
from profiling.measuring.sandboxes.containers.watched import open_container
from profiling.measuring.watching.watch import WatchPlan, watch
from profiling.profiles import Profile
from profiling.values import Budget, Outcome, PageCache, RunResult, Target
from tests.containers.remote_engine import RemoteEngine, remote_engine, require
from tests.containers.services import SERVICES, contained
from tests.helpers import MIB, ROOT, Recorder, plan

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

BALLAST = {"BALLAST_MIB": "100"}
EMPTY = "oomproof-test-empty"


@pytest.fixture(scope="module")
def base(docker_engine: Engine) -> list[bytes]:
    """The base image, which another machine's engine need not be able to pull."""
    require()
    images.ensure(docker_engine, SERVICES, lambda text: None)
    name = os.environ.get("PYTHON_IMAGE") or DEFAULT_IMAGE
    return list(docker_engine.client.images.get(name).save(named=True))


@contextlib.contextmanager
def led_to(machine: RemoteEngine, base: list[bytes], **environ: str) -> Iterator[Engine]:
    """An engine that DOCKER_HOST leads to, for us and what we start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
            patch.delenv(name, raising=False)
        for name, value in (environ or machine.environ).items():
            patch.setenv(name, value)
        found = connect("docker")
        found.client.images.load(b"".join(base))
        yield found


@pytest.fixture(scope="module")
def machine(base: list[bytes]) -> Iterator[RemoteEngine]:
    with remote_engine(tls=True) as made:
        yield made


@pytest.fixture(scope="module")
def remote(machine: RemoteEngine, base: list[bytes]) -> Iterator[Engine]:
    with led_to(machine, base) as found:
        yield found


@pytest.fixture
def sandbox(remote: Engine, machine: RemoteEngine) -> Iterator[ContainerSandbox]:
    """One after which nothing is left on the engine: no service, no observer, no cgroup."""
    with contextlib.closing(ContainerSandbox(remote, [SERVICES], "a test", lambda text: None)) as made:
        yield made
    assert machine.leftovers(remote) == []


def run_plan(target: Target, **more: object) -> RunPlan:
    """Python as first process of a container has no SIGTERM handler: no grace."""
    return plan(target, settle_s=0.2, grace_s=0.1, **more)  # type: ignore[arg-type]


def stored(sandbox: ContainerSandbox, made: RunPlan, directory: Path) -> store.StoredRun:
    measure(made, sandbox, directory, Silent())
    return store.load(directory)


def test_a_ballast_is_measured_on_our_clock_and_as_here(
    sandbox: ContainerSandbox, docker_engine: Engine, tmp_path: Path
) -> None:
    ballast = run_plan(contained("ballast", **BALLAST), memory_mib=200)
    there = stored(sandbox, ballast, tmp_path / "there")
    result, times = there.result, there.samples["t_ns"]
    assert (result.outcome, result.oom_kills, result.kills_certain) == (Outcome.COMPLETED, 0, True)
    assert result.page_cache is PageCache.UNKNOWN
    assert result.sampler_cpu_s
    assert result.start_ns < times[0] and times[-1] < result.end_ns
    assert (np.diff(times) > 0).all()
    assert len(times) > 0.5 * result.sampler_hz * (times[-1] - times[0]) / 1e9
    sent, finished = there.requests["sent_ns"], there.requests["finished_ns"]
    assert times[0] < sent.min() and finished.max() < times[-1]
    # Another user's processes may be looked into.
    assert (there.samples["rss"] > 100 * MIB).any() and (there.samples["pss"] > 0).any()
    with contextlib.closing(ContainerSandbox(docker_engine, [SERVICES], "a test", lambda text: None)) as local:
        here = stored(local, ballast, tmp_path / "here")
    assert there.samples["unreclaimable"].max() == pytest.approx(here.samples["unreclaimable"].max(), rel=0.03)


def test_a_killed_child_is_counted_while_its_parent_answers(sandbox: ContainerSandbox, tmp_path: Path) -> None:
    run = stored(sandbox, run_plan(contained("forked_victim")), tmp_path)
    assert (run.result.outcome, run.result.exit_status) == (Outcome.OOM_KILLED, None)
    assert run.result.oom_kills == 1 and run.result.kills_certain
    assert run.samples["oom_kills"][-1] == 1
    assert run.requests["finished_ns"].max() > run.samples["t_ns"][run.samples["oom_kills"] == 0].max()


@pytest.mark.parametrize("again", range(5))
def test_a_kill_of_the_first_process_is_counted_or_said_to_be_lost(
    sandbox: ContainerSandbox, tmp_path: Path, again: int
) -> None:
    run = stored(sandbox, run_plan(contained("per_request")), tmp_path)
    assert run.result.exit_status == -9
    assert len(run.samples)
    if run.result.oom_kills:
        assert run.result.outcome is Outcome.OOM_KILLED
        return
    judged = with_findings(analyse(run), run, Budget())
    assert run.result.outcome is Outcome.CRASHED
    assert "kill-counter-lost" in [finding.id for finding in judged.summary.findings]


def test_an_exit_is_told_from_a_kill(sandbox: ContainerSandbox, tmp_path: Path) -> None:
    run = stored(sandbox, run_plan(contained("crash")), tmp_path)
    assert (run.result.outcome, run.result.exit_status, run.result.oom_kills) == (Outcome.CRASHED, 7, 0)


def test_a_limit_that_the_kernel_has_not_is_refused(
    sandbox: ContainerSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_asked = options.limited
    monkeypatch.setattr(options, "limited", lambda limits: as_asked(limits) | dict.fromkeys(_LIMITS, 64 * MIB))
    with pytest.raises(NoLimitError, match=r"asked for a memory limit of 128 MiB, the kernel has 64 MiB"):
        measure(run_plan(contained("ballast")), sandbox, tmp_path, Silent())
    assert store.load(tmp_path).result.outcome is Outcome.INTERRUPTED


_LIMITS = ("mem_limit", "memswap_limit")


def test_a_command_that_is_not_there_is_the_services_own(sandbox: ContainerSandbox, tmp_path: Path) -> None:
    with pytest.raises(CommandNotFoundError):
        measure(run_plan(contained("ballast", "no-such-command")), sandbox, tmp_path, Silent())


def test_memray_is_skipped_with_the_reason(sandbox: ContainerSandbox, tmp_path: Path) -> None:
    watched = Recorder()
    said = record_pass(run_plan(contained("ballast")), sandbox, tmp_path, watched)
    assert isinstance(said, Profile)
    assert said.status == "skipped" and "on another machine" in said.reason
    assert watched.events


def test_an_observer_without_python_is_said_to_be_useless(
    sandbox: ContainerSandbox, remote: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    remote.client.api.import_image_from_data(archive.getvalue(), repository=EMPTY)
    monkeypatch.setenv("PYTHON_IMAGE", EMPTY)
    with pytest.raises(ImageError, match=f"does not start from {EMPTY}: .*python3") as caught:
        measure(run_plan(contained("ballast")), sandbox, tmp_path, Silent())
    assert "PYTHON_IMAGE" in caught.value.hint


class When:
    """Does something once, in the middle of the run: when there are samples."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action
        self.at = 0.0

    def notify(self, event: Event, /) -> None:
        if isinstance(event, Tick) and event.unreclaimable_bytes and self._action:
            action, self._action = self._action, None
            action()
            self.at = time.monotonic()


def broken_off(
    sandbox: ContainerSandbox, directory: Path, action: Callable[[], object]
) -> tuple[OomproofError, RunResult]:
    """The error of a long run in which `action` was done, and what was saved of it."""
    when = When(action)
    with pytest.raises(OomproofError) as caught:
        measure(run_plan(contained("ballast"), duration_s=60.0), sandbox, directory, when)
    assert time.monotonic() - when.at < 20
    run = store.load(directory)
    assert len(run.samples)
    assert run.result.outcome is Outcome.INTERRUPTED
    assert run.result.stop_reason == caught.value.message
    return caught.value, run.result


def test_a_lost_observer_ends_the_run(sandbox: ContainerSandbox, remote: Engine, tmp_path: Path) -> None:
    def end_observer() -> None:
        for container in remote.client.containers.list():
            if container.name.endswith("-observer"):
                container.kill()

    error, _ = broken_off(sandbox, tmp_path, end_observer)
    assert isinstance(error, SamplerError)


def test_a_killed_tool_leaves_nothing_there(remote: Engine, machine: RemoteEngine, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.containers.one_remote_run", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        assert tool.stdout.readline().strip() == "measuring"
        assert len(machine.leftovers(remote)) > 2
        tool.kill()
    assert store.load(tmp_path).result.outcome is Outcome.INTERRUPTED
    deadline = time.monotonic() + 15
    while left := machine.leftovers(remote):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["killed", "cut off", "killed here"])
def test_an_engine_that_goes_away_ends_the_run(
    base: list[bytes], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`killed here`: an engine of this machine, by its socket."""
    soon = [(level, option, 1) for level, option, _ in engines.KEEPALIVE]
    monkeypatch.setattr(engines, "KEEPALIVE", soon)
    with remote_engine(tls=False) as machine:
        environ = {"DOCKER_HOST": f"unix://{machine.socket}"} if how == "killed here" else {}
        with led_to(machine, base, **environ) as engine:
            assert engine.local == (how == "killed here")
            with contextlib.closing(ContainerSandbox(engine, [SERVICES], "a test", lambda text: None)) as sandbox:
                error, _ = broken_off(sandbox, tmp_path, machine.cut if how == "cut off" else machine.kill)
    assert isinstance(error, EngineError)
    assert "went away during the run" in error.message and engine.host in error.message


def test_a_refused_connection_is_an_error_with_a_hint(machine: RemoteEngine) -> None:
    with pytest.raises(EngineError) as caught:
        connect("docker", {"DOCKER_HOST": f"tcp://{machine.address}:1"})
    assert "DOCKER_HOST" in caught.value.hint


def test_what_runs_there_already_is_watched_through_an_observer(
    remote: Engine, machine: RemoteEngine, tmp_path: Path
) -> None:
    images.ensure(remote, SERVICES, lambda text: None)
    settings = {"mem_limit": 128 * MIB, "memswap_limit": 128 * MIB, "network_mode": "none"}
    made = remote.client.containers.run(
        SERVICES.name, name="somebodys", detach=True, environment={**BALLAST, "PORT": "8000"}, **settings
    )
    try:
        with contextlib.closing(open_container(remote, "somebodys", lambda text: None)) as subject:
            result = watch(WatchPlan(duration_s=3.0), subject, tmp_path, Silent())
        made.reload()
        assert made.status == "running"
    finally:
        made.remove(force=True, v=True)
    assert machine.leftovers(remote) == []
    summary = analyse(store.load(tmp_path)).summary
    assert (result.outcome, summary.oom_kills, summary.memory_limit_bytes) == (Outcome.COMPLETED, 0, 128 * MIB)
    assert summary.peak_unreclaimable_bytes is not None
    assert 95 * MIB < summary.peak_unreclaimable_bytes < 128 * MIB
    assert summary.samples > 20
