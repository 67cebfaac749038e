"""A light process that reads a memory cgroup at a steady rate and appends fixed-width records to a file.

It runs outside the limit, on the standard library alone, ahead of other work where the machine allows that (a real-time
priority, else a negative nice value), and ends when its standard input ends, with the tool or at its word.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from profiling.errors import SamplerError
from profiling.measuring import own_process
from profiling.measuring.cgroup import (
    V1_ROWS,
    V2_KERNEL_ROWS,
    V2_OLD_KERNEL_ROWS,
    V2_ROWS,
    MemoryReading,
    RowPicker,
    parse_pressure,
    parse_procs,
    reading_v1,
    reading_v2,
)
from profiling.measuring.samples import RECORD, UNMEASURED

_FLUSH_NS = 250_000_000
_CENSUS_NS = 200_000_000
"""How often kills and processes are counted, and RSS, (v1) kernel memory and (v2) pressure read."""
_PSS_NS = 5_000_000_000
"""How often one process's PSS is read, in turn: the kernel walks all of its page tables for it, milliseconds long."""
_STAT_SIZE = 8192
_LINKS_OF_A_LEAF = 2
"""Of a cgroup's directory without others below it: each of these adds one."""
PROCESSES = 0
"""In place of a cgroup version: a tree of processes is read, by its first process's id in place of the directory."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Reader(Protocol):
    """What the sampler asks; `look` raises OSError once the cgroup is gone."""

    def look(self) -> object:
        """The text of the files that change fast, as it is now."""

    def understand(self, seen: object, kernel: int) -> MemoryReading:
        """What `look` saw, in bytes; `kernel` as `kernel_memory` gave it (v1 only)."""

    def kernel_memory(self) -> int: ...
    def oom_kills(self) -> int: ...
    def stalled_us(self) -> int: ...
    def pids(self) -> list[int]: ...
    def rss(self, pid: int) -> int | None: ...
    def pss(self, pid: int) -> int | None: ...


class CgroupReader:
    """Reads one memory cgroup of either version. The files stay open: reading is then one system call each."""

    def __init__(self, version: int, directory: str, ignored: int = 0) -> None:
        """`ignored`: the pid of a process in there that is none of the service's."""
        self._v1 = version == 1
        self._ignored = ignored
        self._stat_rows = RowPicker(*(V1_ROWS if self._v1 else V2_ROWS))
        self._kill_row = RowPicker(b"oom_kill")
        self._stat = _open(directory, "memory.stat")
        self._current = _open(directory, "memory.usage_in_bytes" if self._v1 else "memory.current")
        self._events = _open(directory, "memory.oom_control" if self._v1 else "memory.events")
        self._pressure = None if self._v1 else _open_if_there(directory, "memory.pressure")
        self._kmem = (
            [_open(directory, name) for name in ("memory.kmem.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes")]
            if self._v1
            else []
        )
        has_kernel_row = not self._v1 and b"\nkernel " in os.pread(self._stat, _STAT_SIZE, 0)
        self._kernel_rows = RowPicker(*(V2_KERNEL_ROWS if has_kernel_row else V2_OLD_KERNEL_ROWS))
        self._directory = directory

    def look(self) -> tuple[bytes, bytes]:
        return os.pread(self._stat, _STAT_SIZE, 0), os.pread(self._current, 64, 0)

    def understand(self, seen: object, kernel: int) -> MemoryReading:
        stat, current = cast("tuple[bytes, bytes]", seen)
        rows = self._stat_rows.pick(stat)
        if self._v1:
            return reading_v1(rows, kernel, int(current))
        return reading_v2(rows, sum(self._kernel_rows.pick(stat)), int(current))

    def kernel_memory(self) -> int:
        return sum([int(os.pread(file, 64, 0)) for file in self._kmem])

    def oom_kills(self) -> int:
        return self._kill_row.pick(os.pread(self._events, 1024, 0))[0]

    def stalled_us(self) -> int:
        """Full memory stall since the cgroup was made, in µs; UNMEASURED on v1 and where the kernel keeps no account of
        it (psi=0, or built without)."""
        if self._pressure is None:
            return UNMEASURED
        try:
            return parse_pressure(os.pread(self._pressure, 512, 0)).full.total_us
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return UNMEASURED

    def pids(self) -> list[int]:
        found = _procs(self._directory)
        if os.stat(self._directory).st_nlink > _LINKS_OF_A_LEAF:
            below = [os.path.join(folder, name) for folder, names, _ in os.walk(self._directory) for name in names]
            found += [pid for directory in below for pid in _procs(directory)]
        return [pid for pid in found if pid != self._ignored]

    def rss(self, pid: int) -> int | None:
        """Resident set in bytes (proc_pid_statm(5), field 2), None if the process is gone."""
        try:
            with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
                return int(file.read(128).split()[1]) * _PAGE
        except (OSError, IndexError):
            return None

    def pss(self, pid: int) -> int | None:
        """Proportional set in bytes (/proc/PID/smaps_rollup), None if the process is gone or may not be read."""
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
                text = file.read(4096)
            return int(text[text.index(b"\nPss:") + 5 :].split(maxsplit=1)[0]) * 1024
        except (OSError, ValueError, IndexError):
            return None


def _procs(directory: str) -> list[int]:
    """Opened anew each time: v1 makes the list when the file is opened, and an open file keeps its old one."""
    try:
        with open(os.path.join(directory, "cgroup.procs"), "rb", buffering=0) as file:
            return parse_procs(file.read())
    except OSError:  # one below that has just gone; that the cgroup itself has is seen elsewhere
        return []


def _open(directory: str, name: str) -> int:
    return os.open(os.path.join(directory, name), os.O_RDONLY | os.O_CLOEXEC)


def _open_if_there(directory: str, name: str) -> int | None:
    try:
        return _open(directory, name)
    except OSError:
        return None


class _Census(NamedTuple):
    """What is read at the lower rate."""

    kernel: int = 0
    rss: int = UNMEASURED
    pss: int = UNMEASURED
    processes: int = 0
    births: int = 0
    exits: int = 0
    oom_kills: int = 0
    stalled_us: int = UNMEASURED


class Sampler:
    """Looks at a fixed rate, understands in batches. The clock is passed in, so that this runs on any.

    A look is two system calls and no parsing: after each sleep the processor's caches hold nothing of ours, so that
    the same parsing costs several times less when it is done for many looks in a row.
    """

    def __init__(self, reader: Reader, clock_ns: Callable[[], int]) -> None:
        self._reader = reader
        self._clock_ns = clock_ns
        self._looks: list[tuple[int, object, _Census]] = []
        self._census = _Census()
        self._next_census_ns = 0
        self._pss: dict[int, int] = {}
        self._known: set[int] = set()
        self._next_pss_ns = 0

    def look(self) -> None:
        """Read what changes fast, and take a census when one is due. Raises OSError once the cgroup is gone."""
        seen = self._reader.look()
        now = self._clock_ns()
        if now >= self._next_census_ns:
            self._next_census_ns = now + _CENSUS_NS
            self._census = self._take_census(now)
        self._looks.append((now, seen, self._census))

    def records(self) -> bytes:
        """One record for each look since the last call, stamped with the time of the look."""
        looks, self._looks = self._looks, []
        return b"".join([self._record(*look) for look in looks])

    def _record(self, now: int, seen: object, census: _Census) -> bytes:
        memory = self._reader.understand(seen, census.kernel)
        return RECORD.pack(
            now,
            memory.charged,
            memory.anon,
            memory.file,
            memory.shmem,
            memory.kernel,
            memory.working_set,
            memory.unreclaimable,
            census.rss,
            census.pss,
            census.processes,
            census.births,
            census.exits,
            census.oom_kills,
            memory.refault_file,
            census.stalled_us,
        )

    def _take_census(self, now: int) -> _Census:
        there = set(self._reader.pids())
        births = self._census.births + len(there - self._known)
        exits = self._census.exits + len(self._known - there)
        self._known = there
        sizes = [rss for pid in there if (rss := self._reader.rss(pid)) is not None]
        self._pss = {pid: pss for pid, pss in self._pss.items() if pid in there}
        if there and now >= self._next_pss_ns:
            self._next_pss_ns = now + _PSS_NS
            self._measure_one_pss()
        complete = self._pss and self._pss.keys() >= there
        return _Census(
            kernel=self._reader.kernel_memory(),
            rss=sum(sizes) if sizes else UNMEASURED,
            pss=sum(self._pss.values()) if complete else UNMEASURED,  # part of them would read as a fall
            processes=len(there),
            births=births,
            exits=exits,
            oom_kills=self._reader.oom_kills(),
            stalled_us=self._reader.stalled_us(),
        )

    def _measure_one_pss(self) -> None:
        """A process without a reading, else the one whose reading is oldest."""
        unread = self._known - self._pss.keys()
        pid = min(unread) if unread else next(iter(self._pss))
        self._pss.pop(pid, None)  # to the end of the queue
        pss = self._reader.pss(pid)
        if pss is not None:
            self._pss[pid] = pss


def run(
    sampler: Sampler,
    write: Callable[[bytes], object],
    sleep: Callable[[float], object],
    over: Callable[[], bool],
    clock_ns: Callable[[], int],
    period_ns: int,
) -> int:
    """Look every `period_ns` until `over()`, asked a few times a second, says so; answers with the number of looks.

    Deadlines are absolute: a late look does not shift the next, and missed ones are left out, not bunched up.
    """
    count = 0
    due = flush_due = clock_ns()
    while True:
        try:
            sampler.look()
        except OSError:  # the cgroup is gone: nothing more to see
            break
        count += 1
        now = clock_ns()
        if now >= flush_due:
            write(sampler.records())
            if over():
                break
            now = clock_ns()
            flush_due = now + _FLUSH_NS
        due += max(1, -(-(now - due) // period_ns)) * period_ns
        sleep((due - now) / 1e9)
    write(sampler.records())
    return count


def write_all(descriptor: int, data: bytes) -> None:
    """All of it, however often the descriptor takes a part only."""
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """Arguments: cgroup version or PROCESSES, its directory or a pid, a pid to ignore there (0: none), the file to append
    to (-: standard output), samples per second."""
    version, directory, ignored, path, hz = sys.argv[1:]
    own_process.go_first()  # or the gaps between samples grow under load
    gc.disable()  # nothing here makes cycles
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path != "-" else 1
    try:
        reader = _reader(int(version), directory, int(ignored))
    except FileNotFoundError:  # ended before we came: nothing to see, as when it ends later
        _account(path, 0)
        return
    sampler = Sampler(reader, time.monotonic_ns)
    count = run(
        sampler,
        lambda data: write_all(output, data),
        time.sleep,
        lambda: bool(select.select([0], [], [], 0)[0]),
        time.monotonic_ns,
        round(1e9 / float(hz)),
    )
    _account(path, count)


def _reader(version: int, directory: str, ignored: int) -> Reader:
    if version != PROCESSES:
        return CgroupReader(version, directory, ignored)
    from profiling.measuring.process_tree import ProcessTreeReader  # not in the observer's program

    return ProcessTreeReader(int(directory))


def _account(path: str, count: int) -> None:
    """What it cost; not on standard output where the records are."""
    account = json.dumps({"samples": count, "cpu_s": time.process_time()})
    print(account, file=sys.stderr if path == "-" else sys.stdout)


class SamplerProcess:
    """The sampler as a process; `stop` ends it and answers with what it cost."""

    def __init__(self, version: int, directory: str, path: Path, hz: float, ignored: int = 0) -> None:
        self._process = subprocess.Popen(
            own_process.command(
                "profiling.measuring.sampler", str(version), directory, str(ignored), str(path), str(hz)
            ),
            env=own_process.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """End it; answers with its own account (`samples`, `cpu_s`). Raises SamplerError if it ended badly."""
        try:
            output, complaint = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, complaint = self._process.communicate()
        if self._process.returncode:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise SamplerError(
                f"the sampler ended with status {self._process.returncode}: {' '.join(last)}",
                "the run's memory curve is not complete; make it again",
            )
        account: dict[str, Any] = json.loads(output)
        return account


if __name__ == "__main__":
    main()
