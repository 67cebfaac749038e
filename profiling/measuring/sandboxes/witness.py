"""A small process that sees to it that a container's kill counter is read before its cgroup goes.

A container's cgroup is removed within milliseconds (14 ms with Docker 20.10 here) of the end of its first process,
and the kernel's count of OOM kills with it. So, where it may, the witness enters the cgroup as well: a cgroup with a
process in it cannot be removed. Inside it sleeps until the container's first process has ended, reads the counters and
leaves; container runtimes try the removal for about 0.3 s. While it sleeps it allocates nothing: at the limit even the
opening of a file could be what the kernel kills for, and once the service is dying the witness would be the next to choose
(it is exempt, by oom_score_adj -1000, only where it may be). On v1 it enters before the container's first process runs. On
v2 a process in the cgroup could keep the runtime from making children of it, so there it enters when it is told that the
container has started; until then, and where it may not enter, it reads often, woken by the kernel at every event.

It is told `started PID` (the container's first process; 0: it has ended already) on standard input. It prints a line of
JSON for each kill that it sees from outside, and a last one with `"over": true`. It ends when the container does, or when
its standard input ends. Only the standard library.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from profiling.measuring.cgroup import parse_keyed
from profiling.measuring.own_process import go_first

FREE_POLL_S = 0.004
_REFUSALS = 100
"""Within a limit that is reached the kernel may refuse to fill a pipe (ENOMEM). That passes: the service is dying."""
_APPEARS_WITHIN_S = 60.0
_LEVELS = 6
_FORMS = ("{id}", "docker-{id}.scope", "libpod-{id}", "libpod-{id}.scope", "libpod-{id}.scope/container")
"""What Docker and Podman call a container's cgroup, with the cgroupfs and the systemd driver."""


def find(root: Path, container: str) -> Path | None:
    """The cgroup of a container below `root`, a memory hierarchy; None while there is none.

    A rootless engine's containers lie five levels down (user.slice/user-1000.slice/user@1000.service/app.slice/...).
    """
    level = [root]
    for _ in range(_LEVELS):
        for directory in level:
            for form in reversed(_FORMS):
                path = directory / form.format(id=container)
                if path.is_dir():
                    return path
        level = [path for directory in level for path in _children(directory)]
    return None


def _children(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


class Witness:
    """Looks at one cgroup of a container."""

    def __init__(self, directory: Path, version: int) -> None:
        """Raises OSError if the cgroup is gone."""
        self.directory = directory
        self.oom_kills = 0
        self.peak: int | None = None
        self.ended = False
        """Whether the first process, if it was named, has ended."""
        self._told = 0
        self._seen_others = False
        self._first: int | None = None
        self._procs = directory / "cgroup.procs"
        v1 = version == 1
        self._events = os.open(directory / ("memory.oom_control" if v1 else "memory.events"), os.O_RDONLY)
        self._peak = self._open_peak(v1)
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        if not v1:
            self._poll.register(self._events, select.POLLPRI)  # cgroup-v2.rst: a file modified event at each change
        self.read_counters()  # what the kernel allocates for reading is there from now on

    def _open_peak(self, v1: bool) -> int | None:
        try:
            return os.open(self.directory / ("memory.max_usage_in_bytes" if v1 else "memory.peak"), os.O_RDONLY)
        except FileNotFoundError:  # v2 before Linux 5.19
            return None

    def wait(self, timeout_s: float | None) -> bytes | None:
        """Until there is something to look at: what came on standard input, `b""` for its end, None for nothing."""
        ready = dict(self._poll.poll(None if timeout_s is None else timeout_s * 1000))
        self.ended = self.ended or self._first in ready
        return os.read(0, 64) if 0 in ready else None

    def follow(self, pid: int) -> None:
        """Wake up when that process ends. 0: it has."""
        try:
            self._first = os.pidfd_open(pid)
        except (OSError, ValueError):
            self.ended = True
            return
        self._poll.register(self._first, select.POLLIN)

    def enter(self) -> bool:
        """Become a process of the cgroup, so that it cannot be removed; False where that is not allowed."""
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("-1000")
        try:
            self._procs.write_text(str(os.getpid()))
        except OSError:
            return False
        with contextlib.suppress(KeyError):
            self._poll.unregister(self._events)
        return True

    def leave(self) -> None:
        """Go back to the root cgroup, so that this one can be removed."""
        root = self.directory
        while (root.parent / "cgroup.procs").exists():
            root = root.parent
        with contextlib.suppress(OSError):
            (root / "cgroup.procs").write_text(str(os.getpid()))

    def look(self) -> bool:
        """Read the counters; True once all others have left. Raises OSError once the cgroup is gone."""
        alone = self.ended or self._alone()
        self.read_counters()
        return alone

    def read_counters(self) -> None:
        """Nothing is opened or allocated for it. Raises OSError once the cgroup is gone."""
        self.oom_kills = parse_keyed(os.pread(self._events, 1024, 0))[b"oom_kill"]
        if self._peak is not None:
            self.peak = int(os.pread(self._peak, 64, 0))

    def _alone(self) -> bool:
        others = [pid for pid in self._procs.read_bytes().split() if int(pid) != os.getpid()]
        self._seen_others = self._seen_others or bool(others)
        return self._seen_others and not others

    def tell_changes(self, held: bool, descriptor: int = 1) -> None:
        """Tell the counters if there was a kill since they were told last."""
        if self.oom_kills != self._told:
            self.tell(over=False, held=held, descriptor=descriptor)

    def tell(self, *, over: bool, held: bool, descriptor: int = 1) -> None:
        self._told = self.oom_kills
        line = {"oom_kills": self.oom_kills, "peak": self.peak, "over": over, "held": held}
        for _ in range(_REFUSALS):
            try:
                os.write(descriptor, json.dumps(line).encode() + b"\n")
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                time.sleep(0.001)
            else:
                return


def main() -> None:
    """Arguments: the memory hierarchy, its version, the container's id."""
    root, version, container = sys.argv[1:]
    go_first()
    os.write(1, b"{}\n")  # looking out
    directory = wait_for(Path(root), container)
    if directory is None:
        return
    witness = Witness(directory, int(version))
    held = version == "1" and witness.enter()
    gc.disable()
    os.write(1, json.dumps({"directory": str(directory)}).encode() + b"\n")
    with contextlib.suppress(OSError):  # the cgroup is gone
        while not witness.ended:
            word = witness.wait(None if held else FREE_POLL_S)
            if word == b"":
                break
            if word:
                witness.follow(int(word.split()[1]))
                held = held or (not witness.ended and witness.enter())
            if not held:
                if witness.look():
                    break
                witness.tell_changes(held)
        witness.read_counters()
    # Told before it leaves: whoever reads this can be sure of the counters even if the cgroup is gone then.
    witness.tell(over=True, held=held)
    if held:
        witness.leave()


def wait_for(root: Path, container: str, heard: Callable[[bytes], object] = bool) -> Path | None:
    """The container's cgroup as soon as it is there; None if it does not appear, or standard input ends.

    `heard` gets what comes on standard input meanwhile.
    """
    deadline = time.monotonic() + _APPEARS_WITHIN_S
    while not (directory := find(root, container)):
        if select.select([0], [], [], 0.002)[0]:
            word = os.read(0, 64)
            if not word:
                return None
            heard(word)
        if time.monotonic() > deadline:
            return None
    return directory


if __name__ == "__main__":
    main()
