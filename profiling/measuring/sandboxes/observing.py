"""What runs in the observer: a small container beside the service's, on an engine whose cgroups are not seen from here.

It reads the service's cgroup through a read-only mount of the engine's host. Samples go to standard output as records;
on standard error there is a line of JSON for everything else: the counters as the witness tells them, the limit in force,
the clock. Words on standard input: `?` asks for the clock, `started` for the limit, `sample HZ` starts the samples;
its end ends everything. Only the standard library.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import sys
import time
from pathlib import Path

from profiling.measuring.cgroup import parse_limit
from profiling.measuring.own_process import go_first
from profiling.measuring.sampler import CgroupReader, Sampler, run, write_all
from profiling.measuring.sandboxes.witness import FREE_POLL_S, Witness, wait_for

_ERROR = 2


def main() -> None:
    """Arguments: the memory hierarchy as it is mounted here, its version, the container's id."""
    root, version, container = sys.argv[1:]
    go_first()
    _say(clock=time.monotonic_ns())
    directory = wait_for(Path(root), container, _answer_clock)
    if directory is None:
        return
    witness = Witness(directory, int(version))
    gc.disable()
    samplers = []
    with contextlib.suppress(OSError):  # the cgroup is gone
        while True:
            said = witness.wait(FREE_POLL_S)
            if said == b"":
                break
            for word in (said or b"").splitlines():
                if word == b"started":
                    _say(limit=_limit(int(version), directory, Path(root)))
                elif word.startswith(b"sample"):
                    samplers.append(_start_sampler(int(version), directory, float(word.split()[1])))
                else:
                    _answer_clock(word)
            if witness.look():
                break
            witness.tell_changes(False, _ERROR)
    witness.tell(over=True, held=False, descriptor=_ERROR)
    for pid, stop in samplers:
        os.close(stop)
        os.waitpid(pid, 0)


def _answer_clock(word: bytes) -> None:
    if word.startswith(b"?"):
        _say(clock=time.monotonic_ns())


def _say(**line: object) -> None:
    os.write(_ERROR, json.dumps(line).encode() + b"\n")


def _limit(version: int, directory: Path, root: Path) -> int | None:
    """The memory limit in force: the smallest on the way up; bytes, None: there is none."""
    limits = []
    while True:
        with contextlib.suppress(OSError):
            name = "memory.max" if version == 2 else "memory.limit_in_bytes"
            limits.append(parse_limit((directory / name).read_bytes()))
        if directory == root:
            return min((limit for limit in limits if limit is not None), default=None)
        directory = directory.parent


def _start_sampler(version: int, directory: Path, hz: float) -> tuple[int, int]:
    """A process of its own; answers with its pid and the descriptor whose end ends it."""
    until, stop = os.pipe()
    pid = os.fork()
    if pid:
        os.close(until)
        return pid, stop
    os.close(stop)
    status = 1
    with contextlib.suppress(FileNotFoundError):
        sampler = Sampler(CgroupReader(version, str(directory)), time.monotonic_ns)
        count = run(
            sampler,
            lambda data: write_all(1, data),
            time.sleep,
            lambda: bool(select.select([until], [], [], 0)[0]),
            time.monotonic_ns,
            round(1e9 / hz),
        )
        _say(samples=count, cpu_s=time.process_time())
        status = 0
    os._exit(status)


if __name__ == "__main__":
    main()
