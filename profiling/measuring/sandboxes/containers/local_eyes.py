"""Looking at a container's cgroup where it is seen from here: the kernel's files, and a witness in the cgroup."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from pathlib import Path

import msgspec

from profiling.errors import NoLimitError
from profiling.measuring import own_process
from profiling.measuring.cgroup import parse_limit
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.sandboxes.cgroup import kill_as_one, read_counters
from profiling.measuring.sandboxes.containers.eyes import (
    APPEARS_WITHIN_S,
    LAST_WORD_S,
    NothingToSample,
    require_limit,
)
from profiling.measuring.sandboxes.placement import effective_limit, memory_mount
from profiling.measuring.snapshots import sample
from profiling.values import Limits


class LocalEyes:
    """See `sandboxes.witness` for what the process does."""

    def __init__(self, container: str, *, traced: bool) -> None:
        """`container`: its id; `traced`: it runs under memray. Returns once the witness is looking out. Raises NoLimitError
        where no memory controller is mounted."""
        self._version, root = memory_mount()
        self._traced = traced
        self._witness = subprocess.Popen(
            own_process.command("profiling.measuring.sandboxes.witness", str(root), str(self._version), container),
            env=own_process.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._witness.stdout is not None
        self._witness.stdout.readline()
        self._found = threading.Event()
        self._over = threading.Event()
        self._told = Counters(oom_kills=0, peak_charged_bytes=None, certain=False)
        self.directory: Path | None = None
        threading.Thread(target=self._listen, name="oomproof-witness", daemon=True).start()

    def started(self, limits: Limits, pid: int) -> None:
        assert self._witness.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is over already
            self._witness.stdin.write(f"started {pid}\n".encode())
            self._witness.stdin.flush()
        self._found.wait(APPEARS_WITHIN_S)
        if self.directory is None:
            if self._over.is_set():
                return  # it was there for less than a look
            raise NoLimitError(
                "the container's cgroup is not found, so that its memory cannot be watched",
                "see whether the engine uses cgroups (`info`), or use --sandbox cgroup",
            )
        if limits.oom_group:
            kill_as_one(self._version, self.directory)
        name = "memory.max" if self._version == 2 else "memory.limit_in_bytes"
        with contextlib.suppress(FileNotFoundError):  # ended, by a limit that was in force or by itself
            in_force = parse_limit((self.directory / name).read_bytes())
            # systemd's containers have it one level up.
            require_limit(limits.memory_bytes, in_force or effective_limit(self._version, self.directory))
            if self._version == 2:
                _require_swap_off(self.directory)

    def sample(self, path: Path, hz: float) -> Sampling:
        if self.directory is None:
            return NothingToSample()
        ignored = self._witness.pid
        return sample(self._version, str(self.directory), path, hz, ignored=ignored, traced=self._traced)

    def counters(self, *, ended: bool) -> Counters:
        if ended:
            self._over.wait(LAST_WORD_S)
        told = self._told
        if self.directory is not None:
            with contextlib.suppress(OSError):
                read = read_counters(self._version, self.directory)
                kills = max(read.oom_kills, told.oom_kills)
                return msgspec.structs.replace(read, oom_kills=kills, certain=told.certain or not ended)
        return told

    def blind(self) -> str | None:
        return None  # the kernel's files are there for as long as the container is

    def close(self) -> None:
        assert self._witness.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._witness.stdin.close()
        try:
            self._witness.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._witness.kill()
            self._witness.wait()
        if self.directory is not None:
            tree.remove(self.directory)  # the runtime gave up if the witness was in it for too long

    def detach(self) -> None:
        if self.directory is not None:
            tree.kill_all(self.directory)
        self.close()

    def _listen(self) -> None:
        assert self._witness.stdout is not None
        for line in self._witness.stdout:
            said = json.loads(line)
            if "directory" in said:
                self.directory = Path(said["directory"])
                self._found.set()
                continue
            self._told = Counters(
                oom_kills=said["oom_kills"], peak_charged_bytes=said["peak"], certain=said["over"] and said["held"]
            )
        self._found.set()
        self._over.set()


def _require_swap_off(directory: Path) -> None:
    """Raises NoLimitError unless v2's memory.swap.max is 0 for the container, or the machine has no swap."""
    limits = [path / "memory.swap.max" for path in (directory, *directory.parents)]
    if any(limit.exists() and limit.read_text() == "0\n" for limit in limits):
        return
    if directory.exists() and len(Path("/proc/swaps").read_text().splitlines()) > 1:
        raise NoLimitError(
            "the container may swap, so that a memory limit would prove nothing: memory.swap.max is not 0",
            "switch swap off (swapoff -a), or boot with swapaccount=1",
        )
