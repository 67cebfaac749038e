"""Whole runs of small real services: each ends with the outcome that it earned, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadtests.plan import RequestTemplate
from profiling.errors import PortTakenError
from profiling.judging.analysis import analyse
from profiling.measuring import store
from profiling.measuring.events import PhaseStarted, RunFinished, Tick
from profiling.measuring.measure import measure
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Outcome, PageCache, RunResult, Service, Target
from tests.helpers import MIB, ROOT, Recorder, our_cgroups, plan, target


@pytest.fixture
def sandbox() -> Iterator[CgroupSandbox]:
    before = our_cgroups()
    sandbox = CgroupSandbox()
    yield sandbox
    sandbox.close()
    assert our_cgroups() == before


def test_a_steady_service_completes_with_everything_answered(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    recorder = Recorder()
    result = measure(plan(target("ballast", BALLAST_MIB="40")), sandbox, tmp_path, recorder)
    summary = analyse(store.load(tmp_path)).summary
    assert result.outcome is Outcome.COMPLETED
    assert result.clean_end
    assert summary.oom_kills == summary.failures == summary.restarts == 0
    assert summary.requests > 50
    assert summary.availability == 1.0
    assert summary.peak_unreclaimable_bytes is not None
    assert 40 * MIB < summary.peak_unreclaimable_bytes < 80 * MIB
    assert summary.headroom_bytes == 128 * MIB - summary.peak_unreclaimable_bytes
    phases = [event.phase for event in recorder.events if isinstance(event, PhaseStarted)]
    assert phases == ["drop-caches", "start", "load", "settle", "stop"]
    ticks = [event for event in recorder.events if isinstance(event, Tick)]
    assert any(tick.requests for tick in ticks)
    assert isinstance(recorder.events[-1], RunFinished)


def test_the_sampled_peak_agrees_with_the_kernels_own(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("ballast", BALLAST_MIB="40")), sandbox, tmp_path, Recorder())
    sampled = int(store.load(tmp_path).samples["charged"].max())
    assert result.kernel_peak_charged_bytes is not None
    assert 0 <= result.kernel_peak_charged_bytes - sampled <= 0.02 * result.kernel_peak_charged_bytes


def test_samples_and_requests_share_a_clock_and_cover_the_run(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("ballast")), sandbox, tmp_path, Recorder())
    run = store.load(tmp_path)
    assert result.load_start_ns is not None
    assert result.ready_ns is not None
    assert (np.diff(run.samples["t_ns"]) > 0).all()
    assert result.ready_ns < result.load_start_ns <= run.requests["sent_ns"].min()
    assert run.samples["t_ns"][0] < result.load_start_ns, "somebody looks before the load begins"
    assert run.requests["finished_ns"].max() < run.samples["t_ns"][-1] < result.end_ns


def test_a_service_that_outgrows_the_limit_is_oom_killed(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("per_request"), users=4), sandbox, tmp_path, Recorder())
    run = analyse(store.load(tmp_path))
    assert result.outcome is Outcome.OOM_KILLED
    assert result.oom_kills == len(run.kills_s) == 1
    assert result.exit_status == -signal.SIGKILL
    assert result.kernel_peak_charged_bytes == 128 * MIB
    assert result.stop_reason == "ended by signal 9 (SIGKILL) under load"


def test_a_killed_child_counts_though_its_parent_answers_everything(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("forked_victim")), sandbox, tmp_path, Recorder())
    assert result.outcome is Outcome.OOM_KILLED
    assert result.exit_status is None, "the parent lived on"
    assert analyse(store.load(tmp_path)).summary.requests > 0


def test_a_limit_smaller_than_the_interpreter_kills_before_ready(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("ballast"), memory_mib=2), sandbox, tmp_path, Recorder())
    assert result.outcome is Outcome.OOM_KILLED
    assert result.ready_ns is None
    assert analyse(store.load(tmp_path)).summary.availability is None


@pytest.mark.parametrize(("at", "said"), [("start", "before it was ready"), ("request", "under load")])
def test_a_crash_is_no_kill(sandbox: CgroupSandbox, tmp_path: Path, at: str, said: str) -> None:
    result = measure(plan(target("crash", CRASH_AT=at)), sandbox, tmp_path, Recorder())
    assert result.outcome is Outcome.CRASHED
    assert result.exit_status == 7
    assert result.oom_kills == 0
    assert result.stop_reason == f"ended with exit status 7 {said}"


def test_a_service_that_listens_nowhere_is_never_ready(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("never_ready", startup_timeout_s=0.5)), sandbox, tmp_path, Recorder())
    assert result.outcome is Outcome.NEVER_READY


def test_a_service_that_answers_its_ready_path_with_an_error_is_said_to(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    """As Django does with a 400 where ALLOWED_HOSTS does not know the address, or any service where the path is wrong."""
    command = (sys.executable, "-m", "http.server", "{port}", "--bind", "{host}")
    service = Service(command=command, directory=str(tmp_path), ready="/nowhere", startup_timeout_s=4.0)
    wrong = Target(name="wrong", services=(service,), request=RequestTemplate())
    result = measure(plan(wrong), sandbox, tmp_path / "run", Recorder())
    assert result.outcome is Outcome.NEVER_READY
    assert result.stop_reason == "no 2xx from /nowhere within 4 s, but 404"


def test_a_port_that_is_open_while_the_service_still_loads_is_no_readiness(
    sandbox: CgroupSandbox, tmp_path: Path
) -> None:
    """As gunicorn's is: whoever asks is let in, and waits."""
    command = (sys.executable, "-c", _SLOW, "{port}")
    service = Service(command=command, directory=str(tmp_path), ready="/", startup_timeout_s=20.0)
    slow = Target(name="slow", services=(service,), request=RequestTemplate(method="GET", path="/", json=None))
    result = measure(plan(slow, duration_s=0.5), sandbox, tmp_path / "run", Recorder())
    assert result.ready_ns is not None
    assert result.listening_ns is not None
    assert result.ready_ns - result.listening_ns > 0.8e9


_SLOW = """
import http.server, sys, time
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
time.sleep(1)
server.serve_forever()
"""


def test_what_ignores_sigterm_is_killed_and_told(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    result = measure(plan(target("deaf"), duration_s=1.0, grace_s=0.5), sandbox, tmp_path, Recorder())
    assert result.clean_end is False
    assert result.outcome is Outcome.COMPLETED


def test_a_port_that_is_taken_is_refused_before_anything_starts(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortTakenError, match=str(taken.getsockname()[1])):
            measure(plan(target("ballast"), port=taken.getsockname()[1]), sandbox, tmp_path, Recorder())


def test_the_page_cache_is_told_cold_after_it_was_dropped(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    """Its files are its own: what this process or another has mapped, such as torch's libraries, cannot be dropped."""
    interpreter = tmp_path / "bin" / "python3"
    interpreter.parent.mkdir()
    shutil.copyfile(os.path.realpath(sys.executable), interpreter)
    interpreter.chmod(0o755)
    model = tmp_path / "model.bin"
    model.write_bytes(b"x" * (64 * MIB))
    service = target("ballast", PYTHONHOME=sys.base_prefix)
    service = msgspec.structs.replace(
        service,
        services=(msgspec.structs.replace(service.service, command=(str(interpreter), "ballast.py")),),
        reads=(str(model),),
    )
    assert sandbox.reads(service) == [str(model), str(interpreter)]
    warm = measure(plan(service, duration_s=0.5), sandbox, tmp_path / "warm", Recorder())
    assert warm.page_cache is PageCache.WARM
    cold = measure(plan(service, duration_s=0.5, cold=True), sandbox, tmp_path / "cold", Recorder())
    assert cold.page_cache is PageCache.COLD


def _interrupted(signal_number: int, tmp_path: Path, phase: str) -> tuple[int, RunResult]:
    """Start a run as a process of its own, signal it in `phase`, and answer with its exit code and what it saved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.profiling.measuring.one_run", str(tmp_path), phase],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == phase
    process.send_signal(signal_number)
    code = process.wait(timeout=30)
    return code, store.load(tmp_path).result


@pytest.mark.parametrize("phase", ["drop-caches", "start", "load", "settle", "stop"])
def test_ctrl_c_in_any_phase_saves_what_was_measured_and_leaves_nothing(tmp_path: Path, phase: str) -> None:
    before = our_cgroups()
    code, result = _interrupted(signal.SIGINT, tmp_path, phase)
    assert code == 130
    assert result.outcome is Outcome.INTERRUPTED
    assert our_cgroups() == before


def test_a_killed_tool_leaves_a_readable_run_and_nothing_running(tmp_path: Path) -> None:
    before = our_cgroups()
    code, result = _interrupted(signal.SIGKILL, tmp_path, "load")
    assert code == -signal.SIGKILL
    assert result.outcome is Outcome.INTERRUPTED
    assert len(store.load(tmp_path).samples)
    deadline = time.monotonic() + 15
    while our_cgroups() != before or _processes_with(str(tmp_path)):
        assert time.monotonic() < deadline, (our_cgroups(), _processes_with(str(tmp_path)))
        time.sleep(0.05)


def _processes_with(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line and "pytest" not in line:
                found.append(line)
    return found
