"""The memory of a process and its descendants, read from /proc: for what shares its cgroup with others.

Only the standard library, since the sampler must stay light. Sources: Documentation/filesystems/proc.rst (smaps_rollup,
VmPTE).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from profiling.measuring.cgroup import MemoryReading
from profiling.measuring.samples import UNMEASURED
from profiling.measuring.sandboxes import tree

_ROW = re.compile(rb"^(\w+): +(\d+) kB$", re.MULTILINE)
_RSS, _PSS = b"Rss", b"Pss"


class ProcessTreeReader:
    """Reads a tree of processes as `sampler.CgroupReader` reads a cgroup. Whoever lost its parent is not in it any more.

    Shares (PSS) are added up, so that a page of several processes counts once. `unreclaimable` is anonymous and shared
    memory and page tables; what the kernel holds for the tree otherwise is not known, so it is a lower bound. Charged
    memory, kills and stalls belong to a cgroup: UNMEASURED.
    """

    def __init__(self, pid: int) -> None:
        """Raises FileNotFoundError if there is no such process, PermissionError if its memory may not be read."""
        self._pid = pid
        self._started = tree.process_start_ticks(pid)
        if self._started is None:
            raise FileNotFoundError(f"there is no process {pid}")
        _rollup(pid)
        self._pids = self.pids()

    def look(self) -> list[dict[bytes, int]]:
        if tree.process_start_ticks(self._pid) != self._started:
            raise ProcessLookupError
        return [rows for pid in self._pids if (rows := _rollup_or_none(pid))]

    def understand(self, seen: object, kernel: int) -> MemoryReading:
        rows = cast("list[dict[bytes, int]]", seen)
        # Linux 5.4 and later tell the kinds of shares apart; before, Anonymous counts a page for each process.
        anon = sum(process.get(b"Pss_Anon", process.get(b"Anonymous", 0)) for process in rows)
        file = sum(process.get(b"Pss_File", 0) for process in rows)
        shmem = sum(process.get(b"Pss_Shmem", 0) for process in rows)
        return MemoryReading(
            charged=UNMEASURED,
            anon=anon,
            file=file,
            shmem=shmem,
            kernel=kernel,
            working_set=UNMEASURED,
            unreclaimable=anon + shmem + kernel,
            refault_file=0,
        )

    def kernel_memory(self) -> int:
        """The page tables of all."""
        return sum(_page_tables(pid) for pid in self._pids)

    def oom_kills(self) -> int:
        return UNMEASURED

    def stalled_us(self) -> int:
        return UNMEASURED

    def pids(self) -> list[int]:
        self._pids = [self._pid, *sorted(tree.descendants(self._pid, tree.parents()))]
        return self._pids

    def rss(self, pid: int) -> int | None:
        rows = _rollup_or_none(pid)
        return rows[_RSS] if rows else None

    def pss(self, pid: int) -> int | None:
        rows = _rollup_or_none(pid)
        return rows[_PSS] if rows else None


def _rollup(pid: int) -> dict[bytes, int]:
    """The rows of smaps_rollup in bytes; empty for a process that has no memory any more."""
    return {name: int(kib) * 1024 for name, kib in _ROW.findall(Path(f"/proc/{pid}/smaps_rollup").read_bytes())}


def _rollup_or_none(pid: int) -> dict[bytes, int] | None:
    try:
        return _rollup(pid) or None
    except OSError:
        return None


def _page_tables(pid: int) -> int:
    try:
        rows = dict(_ROW.findall(Path(f"/proc/{pid}/status").read_bytes().replace(b"\t", b" ")))
    except OSError:
        return 0
    return int(rows.get(b"VmPTE", 0)) * 1024
