"""What the experiments share: a report, a service in our own sandbox, our own sampler beside it, waiting for conditions."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from profiling.measuring.cgroup import parse_keyed
from profiling.measuring.sampler import SamplerProcess
from profiling.measuring.samples import FIELDS, RECORD
from profiling.measuring.sandboxes.base import Running
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits

MIB = 2**20
CGROUPS = Path("/sys/fs/cgroup")
Facts = dict[str, object]
Record = dict[str, int]
_numbers = itertools.count(1)
WAIT = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
GO = "print('up', flush=True); signal.sigwait({signal.SIGUSR1})\n"
"""In a service's code: say that it is up, and go on when it is told to. `said` waits for such words."""


class Report:
    """What the experiments found, one JSON document by their names."""

    def __init__(self) -> None:
        self._facts: dict[str, Facts] = {}

    def add(self, name: str, experiment: Callable[[], Facts]) -> None:
        """Make the experiment; one that fails spoils no other."""
        began = time.monotonic()
        try:
            found = experiment()
        except BaseException:
            found = {"error": traceback.format_exc()}
        self._facts[name] = {**found, "took_s": time.monotonic() - began}

    def write(self) -> None:
        """Into the file that the command line names."""
        Path(sys.argv[1]).write_text(json.dumps(self._facts))


class Service:
    """A started service and its cgroup's files."""

    def __init__(self, running: Running, log: Path) -> None:
        self.running = running
        self.log = log
        self.cgroup = Path(running.source.directory)

    def said(self, word: str) -> None:
        wait_until(lambda: word in self.log.read_text())

    def go(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGUSR1)

    def pids(self) -> list[int]:
        return [int(word) for word in self.read("cgroup.procs").split()]

    def end(self) -> int:
        """Its exit status, when it has ended."""
        wait_until(lambda: self.running.exit_status() is not None)
        status = self.running.exit_status()
        assert status is not None
        return status

    def read(self, name: str) -> str:
        return (self.cgroup / name).read_text().strip()

    def bytes(self, name: str) -> bytes:
        return (self.cgroup / name).read_bytes()

    def number(self, name: str) -> int:
        return int(self.read(name))

    def row(self, name: str, row: str) -> int:
        return parse_keyed(self.bytes(name))[row.encode()]

    def kills(self) -> int:
        return self.running.counters().oom_kills


@contextlib.contextmanager
def service(
    code: str, memory_mib: int = 64, command: Sequence[str] | None = None, **limits: object
) -> Iterator[Service]:
    """Python `code`, else `command`, in a sandbox of its own."""
    sandbox = CgroupSandbox()
    log = Path(f"/tmp/service-{os.getpid()}-{next(_numbers)}.log")
    try:
        running = sandbox.run(
            command or [sys.executable, "-S", "-c", WAIT + code],
            directory=Path("/tmp"),
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            limits=Limits(memory_bytes=memory_mib * MIB, **limits),  # type: ignore[arg-type]
            log=log,
        )
        try:
            yield Service(running, log)
        finally:
            running.close()
    finally:
        sandbox.close()


class Curve:
    """What our sampler writes about a service while it is measured."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def records(self) -> list[Record]:
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = len(data) // RECORD.size * RECORD.size
        return [dict(zip((name for name, _ in FIELDS), row, strict=True)) for row in RECORD.iter_unpack(data[:whole])]

    def grows_by(self, count: int) -> list[Record]:
        """Wait for so many more records; answers with these."""
        before = len(self.records())
        wait_until(lambda: len(self.records()) >= before + count)
        return self.records()[before:]


@contextlib.contextmanager
def sampled(measured: Service, hz: float = 100.0) -> Iterator[Curve]:
    path = Path(f"/tmp/samples-{os.getpid()}-{next(_numbers)}.bin")
    source = measured.running.source
    sampler = SamplerProcess(source.version, source.directory, path, hz)
    try:
        curve = Curve(path)
        wait_until(curve.records)
        yield curve
    finally:
        sampler.stop(30.0)


def processes() -> dict[str, str]:
    """Command lines by process id, but for those of process 1 and our own. A thread of the kernel has none."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
            with contextlib.suppress(OSError):
                if command := Path(entry.path, "cmdline").read_bytes():
                    found[entry.name] = command.decode(errors="replace").replace("\0", " ")
    return found


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Raises TimeoutError. The time is long: the machine is emulated."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.005)


def write_file(path: str, size: int) -> None:
    """A file on the disk whose pages are in nobody's memory. `size` in bytes, whole MiB."""
    block = os.urandom(MIB)
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(block)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]
