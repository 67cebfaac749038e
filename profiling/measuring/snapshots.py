"""A light process that writes down what the memory of a cgroup is made of, whenever it has reached a new high.

It is for the memray pass alone: walking a process's page tables takes milliseconds. It runs outside the limit, on the standard
library, and ends when its standard input ends. The file always holds one whole snapshot, the latest: it is replaced, so
that whatever is killed at any moment leaves a readable one behind.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from profiling.measuring import own_process
from profiling.measuring.cgroup import MemoryReading, parse_keyed
from profiling.measuring.mappings import ENTRY_BYTES, Mapping, page_states, parse_smaps
from profiling.measuring.sampler import CgroupReader, SamplerProcess

if TYPE_CHECKING:
    from profiling.measuring.sandboxes.base import Sampling  # not at work: this process has the standard library alone

SNAPSHOT_FILE = "snapshot.json"
_PERIOD_S = 0.01
_STEP, _LEAST_STEP_BYTES = 0.01, 2**20
"""A new high is one that lies by that share, and by so much, above the last."""
_LEAP = 3
"""After a leap of so many steps the next snapshot follows soon: the kernel may be about to kill."""
_REST_AFTER_LEAP, _REST = 1, 6
"""After each snapshot it rests for so many times as long as that took: a service that starts keeps its processor."""
_FINE_STEP_BYTES = 2**18
_FINE_AFTER_NS = 1_000_000_000
"""Once nothing was written for so long, a smaller step will do: memory that hardly grows any more is at its peak."""
_SHAKY = 0.01
"""A snapshot during which memory changed by more than this share is taken again while memory is still as high."""
_PAGES_AT_MOST = 8 * 2**20
"""Of one process, at eight bytes each; more is reserved address space rather than memory."""
_SPARSE = 4096
"""Nor is a mapping looked through, page by page, that is so many times larger than what is in memory of it."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATUS = re.compile(rb"^(PPid|NSpid|VmPTE|Threads):\s+(.*)$", re.MULTILINE)


class Taken(NamedTuple):
    """A snapshot and how good it is."""

    document: dict[str, Any]
    unreclaimable: int
    shift: int
    """By how many bytes unreclaimable memory changed while it was taken."""
    whole: bool
    """No process vanished meanwhile."""


class Looker(Protocol):
    """What the policy asks; both raise OSError once the cgroup is gone."""

    def unreclaimable(self) -> int: ...
    def take(self) -> Taken: ...


class Policy:
    """Decides when to take a snapshot and whether to keep it. The clock is passed in."""

    def __init__(self, looker: Looker, clock_ns: Callable[[], int]) -> None:
        self._looker = looker
        self._clock_ns = clock_ns
        self._kept: Taken | None = None
        self._ended_ns = self._took_ns = 0
        self._kept_ns = 0

    def look(self) -> Taken | None:
        """A snapshot to keep, if it is time for one. Raises OSError once the cgroup is gone."""
        now = self._clock_ns()
        if now < self._ended_ns + _REST_AFTER_LEAP * self._took_ns or not self._is_due(
            self._looker.unreclaimable(), now
        ):
            return None
        taken = self._looker.take()
        self._ended_ns = self._clock_ns()
        self._took_ns = self._ended_ns - now
        if not self._is_better(taken):
            return None
        self._kept, self._kept_ns = taken, self._ended_ns
        return taken

    def _is_due(self, size: int, now: int) -> bool:
        if self._kept is None:
            return True
        high = self._kept.unreclaimable
        step = max(_LEAST_STEP_BYTES, _STEP * high)
        if size >= high + _LEAP * step:
            return True
        if now < self._ended_ns + _REST * self._took_ns:
            return False
        if now >= self._kept_ns + _FINE_AFTER_NS:
            step = _FINE_STEP_BYTES
        return size >= high + step or (size >= high and self._kept.shift > _SHAKY * high)

    def _is_better(self, taken: Taken) -> bool:
        if self._kept is None:
            return True
        if not taken.whole:
            return False
        steady = self._kept.shift <= _SHAKY * self._kept.unreclaimable
        if steady and taken.shift > _SHAKY * taken.unreclaimable:
            # Of a whole view one lets go only for a moment that was higher from its beginning to its end: workers that end
            # unshare pages and free others, and what was read in that is the memory of no moment.
            return taken.unreclaimable - taken.shift >= self._kept.unreclaimable
        if taken.unreclaimable > self._kept.unreclaimable + _LEAST_STEP_BYTES:
            return True
        return taken.unreclaimable >= self._kept.unreclaimable and (
            taken.shift <= self._kept.shift or taken.shift <= _SHAKY * taken.unreclaimable
        )


class CgroupLooker:
    """Takes snapshots of one memory cgroup of either version and of the processes in it."""

    def __init__(self, version: int, directory: str, ignored: int = 0) -> None:
        """`ignored`: the pid of a process in there that is none of the service's."""
        self._version = version
        self._reader = CgroupReader(version, directory, ignored)

    def unreclaimable(self) -> int:
        return self._read()[1].unreclaimable

    def take(self) -> Taken:
        _, before = self._read()
        started = time.monotonic_ns()
        pids = self._reader.pids()
        found = [process for pid in pids if (process := look_at(pid)) is not None]
        ended, wall = time.monotonic_ns(), time.time_ns()
        stat, after = self._read()
        document = {
            "version": 1,
            "cgroup_version": self._version,
            "moment_ns": (started + ended) // 2,
            "wall_ns": wall - (ended - started) // 2,
            "took_ns": ended - started,
            "before": before._asdict(),
            "after": after._asdict(),
            "stat": {name.decode(): size for name, size in parse_keyed(stat).items()},
            "page_bytes": _PAGE,
            "processes": found,
        }
        return Taken(
            document,
            min(before.unreclaimable, after.unreclaimable),
            abs(after.unreclaimable - before.unreclaimable),
            whole=0 < len(found) == len(pids),
        )

    def _read(self) -> tuple[bytes, MemoryReading]:
        seen = self._reader.look()
        return seen[0], self._reader.understand(seen, self._reader.kernel_memory())


def look_at(pid: int) -> dict[str, Any] | None:
    """What one process's memory is made of; None if it is gone, and a `problem` where it may not be looked at."""
    try:
        status = dict(_STATUS.findall(_read(f"/proc/{pid}/status")))
        process: dict[str, Any] = {
            "pid": pid,
            "inner_pid": int(status[b"NSpid"].split()[-1]) if b"NSpid" in status else pid,
            "parent": int(status[b"PPid"]),
            "threads": int(status[b"Threads"]),
            "page_tables": int(status.get(b"VmPTE", b"0").split()[0]) * 1024,
            "command": _read(f"/proc/{pid}/comm").decode(errors="replace").strip(),
            "problem": "",
            "mappings": [],
        }
    except (OSError, KeyError, ValueError, IndexError):
        return None
    try:
        # A zombie's is empty, and so is that of a process whose memory was just taken down.
        mappings = parse_smaps(_read(f"/proc/{pid}/smaps"))
        process["mappings"] = _with_pages(pid, mappings)
    except PermissionError as error:
        process["problem"] = error.strerror or "may not be read"
    except (OSError, ValueError):
        return None
    return process if process["mappings"] or process["problem"] else None


def _with_pages(pid: int, mappings: list[Mapping]) -> list[dict[str, Any]]:
    """The mappings that hold anything or keep others apart, with each page's state where there is anonymous memory."""
    described = []
    left = _PAGES_AT_MOST
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for mapping in mappings:
            entry: dict[str, Any] = mapping._asdict()
            pages = (mapping.end - mapping.start) // _PAGE
            if mapping.anonymous and pages <= min(left, _SPARSE * (mapping.rss // _PAGE)):
                left -= pages
                pagemap.seek(mapping.start // _PAGE * ENTRY_BYTES)
                states = page_states(_read_exactly(pagemap.read, pages * ENTRY_BYTES))
                entry["pages"] = base64.b64encode(zlib.compress(states, 1)).decode()
            described.append(entry)
    return described


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts = []
    while size:
        part = read(size)
        if not part:
            raise ValueError("the process has given this memory back")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write(path: str, document: dict[str, Any]) -> None:
    """Replace the snapshot on disk by a newer one."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(document, file, separators=(",", ":"))
    os.replace(temporary, path)


def main() -> None:
    """Arguments: cgroup version, its directory, a pid to ignore there (0: none), the file to write."""
    version, directory, ignored, path = sys.argv[1:]
    own_process.go_first()  # the last moment before a kill is short
    kept = 0
    with contextlib.suppress(OSError):  # the cgroup is gone: nothing more to see
        policy = Policy(CgroupLooker(int(version), directory, int(ignored)), time.monotonic_ns)
        while not select.select([0], [], [], _PERIOD_S)[0]:
            taken = policy.look()
            if taken is not None:
                write(path, taken.document)
                kept += 1
    print(json.dumps({"snapshots": kept, "cpu_s": time.process_time()}))


class SnapshotProcess:
    """The process; `stop` ends it and answers with what it cost."""

    def __init__(self, version: int, directory: str, path: Path, ignored: int = 0) -> None:
        self._process = subprocess.Popen(
            own_process.command("profiling.measuring.snapshots", str(version), directory, str(ignored), str(path)),
            env=own_process.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._path = path

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """End it; answers with its own account. It raises nothing: where it failed, the file says why, and the run stands."""
        try:
            output, complaint = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, complaint = self._process.communicate()
        if self._process.returncode == 0:
            account: dict[str, Any] = json.loads(output)
            return account
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        if not self._path.exists():
            with contextlib.suppress(OSError):
                write(str(self._path), {"problem": " ".join(last) or f"exit status {self._process.returncode}"})
        return {}


class WithSnapshots:
    """A sampler at work, and a process that takes snapshots beside it."""

    def __init__(self, sampler: SamplerProcess, snapshots: SnapshotProcess) -> None:
        self._sampler = sampler
        self._snapshots = snapshots

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """End both; answers and raises as the sampler does."""
        self._snapshots.stop(timeout_s)
        return self._sampler.stop(timeout_s)


def sample(version: int, directory: str, path: Path, hz: float, *, ignored: int = 0, traced: bool = False) -> Sampling:
    """Start to sample a cgroup of this machine into `path`, and where `traced` to take snapshots into SNAPSHOT_FILE beside it."""
    sampler = SamplerProcess(version, directory, path, hz, ignored)
    if not traced:
        return sampler
    return WithSnapshots(sampler, SnapshotProcess(version, directory, path.with_name(SNAPSHOT_FILE), ignored))


if __name__ == "__main__":
    main()
