"""The kernel's log: which processes its OOM killer took, by pid and name. Unreadable is an answer, never a failure.

Formats: mm/oom_kill.c (`oom-kill:` since Linux 4.19, `Task in ... killed as a result of limit of ...` before it) and
Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from profiling.values import KernelKill, KernelLog

KMSG = Path("/dev/kmsg")
_COMMANDS = (
    ("dmesg",),
    ("journalctl", "--dmesg", "--boot", "--no-pager", "--quiet", "--output=short-monotonic"),
)
"""In this order, where /dev/kmsg cannot be read: a container may lack the file, and a user may read the journal."""
_TIMEOUT_S = 5.0
_RECORD_BYTES = 8192
"""The kernel writes no longer record (CONSOLE_EXT_LOG_MAX)."""
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO of include/linux/proc_ns.h."""

_VICTIMS_CGROUP = re.compile(
    r"oom-kill:.*?,task_memcg=(?P<new>.*?),task=|^Task in (?P<old>\S+) killed as a result of limit of |"
    r"^Tasks in (?P<group>\S+) are going to be killed due to memory\.oom\.group set"
)
_VICTIM = re.compile(r"Killed process (?P<pid>\d+)(?:, UID \d+,)? \((?P<name>.*)\),? total-vm:\d+kB(?P<sizes>.*)$")
_SIZE = re.compile(r"(anon|file|shmem)-rss:(\d+)kB")
_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(?P<s>\d+\.\d+)\] (?:\S+ kernel: )?(?P<text>.*)$")

Line = tuple[float, str]
"""Seconds of the log's clock, and the text without it."""


def read(cgroups: Sequence[str], *, own_pids: bool) -> KernelLog:
    """What the log says of kills in these cgroups, named by a part of their path that no others have.

    `own_pids`: the run's processes are in this process's own pid namespace. Takes some 10 ms; nothing is raised.
    """
    first = own_pids and _in_first_pid_namespace()
    problems = []
    try:
        return KernelLog(source=str(KMSG), kills=tuple(kills(kmsg_lines(), cgroups)), own_pids=first)
    except OSError as error:
        problems.append(f"{KMSG}: {(error.strerror or str(error)).lower()}")
    for command in _COMMANDS:
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"{command[0]}: {getattr(error, 'strerror', None) or 'no answer'}".lower())
            continue
        if done.returncode or not done.stdout.strip():
            said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            problems.append(f"{command[0]}: {said.removeprefix(f'{command[0]}: ')}")
            continue
        lines = printed_lines(done.stdout)
        return KernelLog(source=command[0], kills=tuple(kills(lines, cgroups)), own_pids=first)
    return KernelLog(source=None, problem="; ".join(problems))


def kills(lines: Iterable[Line], cgroups: Sequence[str]) -> Iterator[KernelKill]:
    """The kills in these cgroups. The kernel holds a lock from the line with the cgroup to the last victim's, so that
    the lines of two kills never mix."""
    # `oomproof-...-1` is no part of `/oomproof-...-12`.
    ours = {name: re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in cgroups if name}
    cgroup: str | None = None
    for log_s, text in lines:
        place = _VICTIMS_CGROUP.search(text)
        if place:
            path = place["new"] or place["old"] or place["group"]
            cgroup = next((name for name, pattern in ours.items() if pattern.search(path)), None)
            continue
        victim = _VICTIM.search(text)
        if victim and cgroup is not None:
            sizes = {kind: int(kilobytes) * 1024 for kind, kilobytes in _SIZE.findall(victim["sizes"])}
            yield KernelKill(
                cgroup=cgroup,
                pid=int(victim["pid"]),
                name=victim["name"],
                log_s=log_s,
                anon_rss_bytes=sizes.get("anon"),
                file_rss_bytes=sizes.get("file"),
                shmem_rss_bytes=sizes.get("shmem"),
                line=text,
            )


def printed_lines(text: str) -> Iterator[Line]:
    """The lines that `dmesg` or `journalctl --output=short-monotonic` printed; what has no stamp is left out."""
    for line in text.splitlines():
        found = _STAMP.match(line)
        if found:
            yield float(found["s"]), found["text"]


def kmsg_lines() -> Iterator[Line]:
    """The records of /dev/kmsg, from the oldest that the kernel still has. Raises OSError."""
    descriptor = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(descriptor, _RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # overwritten while we were at it; the next read goes on with the oldest that is left
            if not record:
                return  # no device of the kernel's, but what some container has in its place
            line = parse_record(record)
            if line is not None:
                yield line
    finally:
        os.close(descriptor)


def parse_record(record: bytes) -> Line | None:
    """A record of /dev/kmsg: `priority,sequence,microseconds,flags[,...];text`, then lines with its context.

    Only the kernel's own records: facility 0, and /dev/kmsg lets no process write as that one.
    """
    head, separator, rest = record.partition(b";")
    fields = head.split(b",")
    if not separator or len(fields) < 3 or not fields[0].isdigit() or not fields[2].isdigit() or int(fields[0]) >= 8:
        return None
    text = rest.partition(b"\n")[0].decode(errors="replace")
    return int(fields[2]) / 1e6, text


def _in_first_pid_namespace() -> bool:
    """Whether the kernel's log and this process mean the same by a pid."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return False
