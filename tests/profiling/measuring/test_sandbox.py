"""The sandbox on this machine's real kernel: limits that hold, kills that count, trees that end, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.errors import CommandNotFoundError, NoLimitError
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.cgroup import CgroupSandbox, RunningTree
from profiling.values import Limits
from tests.helpers import MIB, ROOT, our_cgroups, wait_until


@pytest.fixture
def sandbox() -> Iterator[CgroupSandbox]:
    sandbox = CgroupSandbox()
    yield sandbox
    sandbox.close()


def start(sandbox: CgroupSandbox, code: str, tmp_path: Path, **limits: object) -> RunningTree:
    return sandbox.run(
        [sys.executable, "-S", "-c", code],
        directory=tmp_path,
        env={"PATH": os.environ["PATH"]},
        limits=Limits(**{"memory_bytes": 64 * MIB, **limits}),  # type: ignore[arg-type]
        log=tmp_path / "service.log",
    )


def test_what_takes_more_than_the_limit_is_killed_and_counted(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    running = start(sandbox, "held = bytearray(256 << 20)", tmp_path)
    wait_until(lambda: running.exit_status() is not None)
    counters = running.counters()
    running.close()
    assert running.exit_status() == -signal.SIGKILL
    assert counters.oom_kills == 1
    assert counters.peak_charged_bytes is not None
    assert 63 * MIB < counters.peak_charged_bytes <= 64 * MIB


def test_what_fits_is_not_killed(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    running = start(sandbox, "held = bytearray(32 << 20)", tmp_path)
    wait_until(lambda: running.exit_status() is not None)
    assert running.exit_status() == 0
    assert running.counters().oom_kills == 0
    running.close()


def test_a_kill_of_a_child_is_counted_though_the_parent_lives(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    code = "import os, signal\nif os.fork() == 0:\n    held = bytearray(256 << 20)\nsignal.pause()"
    running = start(sandbox, code, tmp_path)
    wait_until(lambda: running.counters().oom_kills)
    assert running.exit_status() is None
    running.close()


def test_stop_ends_the_whole_tree_in_good_order(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    running = start(sandbox, "import os, signal\nos.fork()\nsignal.pause()", tmp_path)
    cgroup = Path(running.source.directory)
    wait_until(lambda: len(tree.pids_in(cgroup)) == 2)
    assert not running.stop(0.3), "the child was not told by anyone and had to be killed"
    assert not tree.pids_in(cgroup)
    running.close()
    assert not cgroup.exists()


def test_stop_says_that_everything_went_by_itself(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    running = start(sandbox, "import signal; print('up', flush=True); signal.pause()", tmp_path)
    wait_until(lambda: (tmp_path / "service.log").read_text() == "up\n")
    assert running.stop(10.0)
    assert running.exit_status() == -signal.SIGTERM
    running.close()


def test_the_service_gets_its_environment_and_directory_only(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    running = start(sandbox, "import os; print(sorted(os.environ), os.getcwd())", tmp_path)
    wait_until(lambda: running.exit_status() is not None)
    running.close()
    printed = (tmp_path / "service.log").read_text()
    assert str(tmp_path) in printed
    assert "OOMPROOF" not in printed
    assert "PYTHONPATH" not in printed


def test_swap_is_off_and_the_limit_is_in_force(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    running = start(sandbox, "import signal; signal.pause()", tmp_path)
    assert sandbox.swap.startswith("off")
    name = "memory.limit_in_bytes" if running.source.version == 1 else "memory.max"
    assert int((Path(running.source.directory) / name).read_text()) == 64 * MIB
    running.close()


def test_a_cpu_limit_slows_a_busy_service(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    code = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    running = start(sandbox, code, tmp_path, cpus=0.2)
    wait_until(lambda: running.exit_status() is not None)
    running.close()
    assert float((tmp_path / "service.log").read_text()) < 0.75, "half of what it would have had alone"


def test_a_limit_of_processes_holds(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    code = "import os\ntry:\n    [os.fork() for _ in range(9)]\nexcept BlockingIOError:\n    print('held')"
    running = start(sandbox, code, tmp_path, pids=4)
    wait_until(lambda: not tree.pids_in(Path(running.source.directory)))
    running.close()
    assert "held" in (tmp_path / "service.log").read_text()


def test_a_kill_of_the_whole_service_is_in_force_or_refused(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    if sandbox.name == "cgroup-v1":
        before = our_cgroups()
        with pytest.raises(NoLimitError, match=r"cgroup v1 has no memory\.oom\.group") as caught:
            start(sandbox, "import signal; signal.pause()", tmp_path, oom_group=True)
        assert "leave oom_group out" in caught.value.hint
        assert our_cgroups() == before
        return
    running = start(sandbox, "import signal; signal.pause()", tmp_path, oom_group=True)
    assert (Path(running.source.directory) / "memory.oom.group").read_text() == "1\n"
    running.close()


def test_a_command_that_does_not_exist_is_said_so_and_leaves_nothing(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    before = our_cgroups()
    with pytest.raises(CommandNotFoundError, match="no-such-command"):
        sandbox.run(
            ["no-such-command"],
            directory=tmp_path,
            env={"PATH": "/usr/bin"},
            limits=Limits(memory_bytes=64 * MIB),
            log=None,
        )
    assert our_cgroups() == before


def test_a_command_of_an_environment_that_is_not_active_is_said_to_be_there(
    sandbox: CgroupSandbox, tmp_path: Path
) -> None:
    with pytest.raises(CommandNotFoundError) as caught:
        sandbox.run(
            ["gunicorn"], directory=tmp_path, env={"PATH": "/usr/sbin"}, limits=Limits(memory_bytes=64 * MIB), log=None
        )
    assert f"it is in {Path(sys.executable).parent}" in caught.value.hint


def test_a_limit_above_that_of_the_session_is_refused(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    """Run in a cgroup of 96 MiB of its own: a service with 128 MiB could never be measured there."""
    running = sandbox.run(
        [sys.executable, "-m", "tests.profiling.measuring.nested", str(tmp_path)],
        directory=ROOT,
        env={**os.environ},
        limits=Limits(memory_bytes=96 * MIB),
        log=tmp_path / "nested.log",
    )
    wait_until(lambda: running.exit_status() is not None, 30)
    running.close()
    said = (tmp_path / "nested.log").read_text()
    assert "has only 96.0 MiB" in said or "has only 96 MiB" in said, said


def test_two_sandboxes_at_once_do_not_touch_each_other(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    first = start(sandbox, "import signal; signal.pause()", tmp_path)
    other = CgroupSandbox()
    second = start(other, "import signal; signal.pause()", tmp_path)
    second.close()
    other.close()
    assert first.exit_status() is None
    first.close()


def test_what_a_killed_tool_left_is_cleared_at_once_by_its_keeper(tmp_path: Path) -> None:
    tool = subprocess.Popen(
        [sys.executable, "-m", "tests.profiling.measuring.doomed"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert tool.stdout is not None
    cgroup = Path(tool.stdout.readline().strip())
    assert tree.pids_in(cgroup)
    tool.kill()
    tool.wait()
    wait_until(lambda: not cgroup.exists())


def test_what_tool_and_keeper_left_is_cleared_by_the_next_start(tmp_path: Path) -> None:
    tool = subprocess.Popen(
        [sys.executable, "-m", "tests.profiling.measuring.doomed", "alone"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert tool.stdout is not None
    cgroup = Path(tool.stdout.readline().strip())
    tool.kill()
    tool.wait()
    assert tree.pids_in(cgroup), "without a keeper it goes on"
    CgroupSandbox().close()
    assert not cgroup.exists()


def test_a_living_owners_cgroup_is_no_orphan() -> None:
    assert not tree.is_orphan(tree.owned_name("1"))
    assert not tree.is_orphan("somebody-elses")


def test_a_reused_pid_does_not_make_an_owner() -> None:
    namespace, pid, started = tree.owned_name("1").split("-")[1:4]
    assert tree.is_orphan(f"oomproof-{namespace}-{pid}-{int(started) - 1}-1")


def test_owners_of_another_pid_namespace_are_not_judged() -> None:
    assert not tree.is_orphan("oomproof-1-999999999-1-1")
