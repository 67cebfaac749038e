"""Cgroup directories of ours: their names, killing what is in them, removing them, clearing what a dead owner left.

A name says who owns the directory: `oomproof-<pid namespace>-<pid>-<start time>-<n>`. The start time (field 22 of
/proc/PID/stat, in clock ticks since boot) tells a reused pid from the owner; the namespace keeps us from judging
owners that we cannot see. Only the standard library: the keeper runs on this file alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
from pathlib import Path

_NAME = re.compile(r"oomproof-(\d+)-(\d+)-(\d+)-\w+")


def process_start_ticks(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot; None if there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def parents() -> dict[int, int]:
    """The parent of each process; see proc_pid_stat(5), field 4."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_bytes()
                found[int(entry.name)] = int(stat[stat.rindex(b")") + 2 :].split()[1])
    return found


def ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    """All processes above `pid`."""
    found: set[int] = set()
    while pid := parents.get(pid, 0):
        found.add(pid)
    return found


def descendants(pid: int, parents: dict[int, int]) -> set[int]:
    """All processes below `pid`."""
    return {child for child in parents if pid in ancestors(child, parents)}


def end_with_descendants(pid: int, timeout_s: float = 10.0) -> None:
    """SIGTERM for a process, and SIGKILL for what it leaves behind of those that were below it."""
    below = {child: process_start_ticks(child) for child in descendants(pid, parents())}
    started = process_start_ticks(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while started is not None and process_start_ticks(pid) == started and time.monotonic() < deadline:
        time.sleep(0.02)
    for left, ticks in {**below, pid: started}.items():
        if ticks is not None and process_start_ticks(left) == ticks:  # not another process with a used pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def owned_name(suffix: str) -> str:
    """A directory name that says that this process owns it. `suffix` must be one word."""
    pid = os.getpid()
    return f"oomproof-{_pid_namespace()}-{pid}-{process_start_ticks(pid)}-{suffix}"


def is_orphan(name: str) -> bool:
    """Whether `name` is one of ours whose owner lived in this pid namespace and is dead."""
    match = _NAME.fullmatch(name)
    if not match or int(match[1]) != _pid_namespace():
        return False
    return process_start_ticks(int(match[2])) != int(match[3])


def pids_in(directory: Path) -> list[int]:
    """All processes in the cgroup and its descendants; empty where the cgroup is gone."""
    found: list[int] = []
    for folder, _, _ in os.walk(directory):
        with contextlib.suppress(OSError):
            found += map(int, Path(folder, "cgroup.procs").read_bytes().split())
    return found


def kill_all(directory: Path, timeout_s: float = 10.0) -> bool:
    """SIGKILL everything in the cgroup until it is empty; False if something was left after `timeout_s`.

    v2 has cgroup.kill since Linux 5.14; elsewhere the loop outruns forks, since a killed parent forks no more.
    """
    deadline = time.monotonic() + timeout_s
    with contextlib.suppress(OSError):
        (directory / "cgroup.kill").write_bytes(b"1")
    while pids := pids_in(directory):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def remove(directory: Path, timeout_s: float = 2.0) -> bool:
    """Remove the cgroup and its descendants, deepest first; False if the kernel kept one busy for `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    for folder, _, _ in os.walk(directory, topdown=False):
        while True:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EAGAIN) or time.monotonic() > deadline:
                    return False
                time.sleep(0.005)
            else:
                break
    return True


def clear_orphans(parent: Path) -> list[Path]:
    """Kill and remove what dead owners left directly below `parent`; answers with the directories that are gone."""
    cleared = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            path = Path(entry.path)
            if entry.is_dir() and is_orphan(entry.name) and kill_all(path) and remove(path):
                cleared.append(path)
    return cleared
