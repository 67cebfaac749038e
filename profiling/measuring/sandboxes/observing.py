"""What runs in the observer: a small container beside the service's, on an engine whose cgroups are not seen from here.

It reads the service's cgroup through a read-only mount of the engine's host. Samples go to standard output as records;
on standard error there is a line of JSON for everything else: the counters as the witness tells them, the limit in force,
the clock. Words on standard input: `?` asks for the clock, `started` for the limit, `sample HZ` starts the samples,
`end` ends them; the end of standard input, with the tool's, ends everything. Only the standard library.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import sys
import time
import traceback
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
    words = _Words()
    directory = wait_for(Path(root), container, words.answer_clock)
    if directory is None:
        return
    try:
        witness = Witness(directory, int(version))
    except OSError:  # gone at once
        _say(oom_kills=0, peak=None, over=True, held=False)
        return
    gc.disable()
    alone = False
    pids: list[int] = []
    stops: list[int] = []
    with contextlib.suppress(OSError):  # the cgroup is gone
        while True:
            for word in words.waiting():
                if word == b"started":
                    _say(limit=_limit(int(version), directory, Path(root)))
                elif word.startswith(b"sample"):
                    pid, stop = _start_sampler(int(version), directory, float(word.split()[1]))
                    pids.append(pid)
                    stops.append(stop)
                elif word == b"end":
                    _end(stops)
            if alone := witness.look():
                break
            witness.tell_changes(False, _ERROR)
            said = witness.wait(FREE_POLL_S)
            if said == b"":
                break
            words.answer_clock(said or b"")
    # All others had left before the counters were read: then nothing can have been missed.
    witness.tell(over=True, held=alone, descriptor=_ERROR)
    _end(stops)
    for pid in pids:
        os.waitpid(pid, 0)


class _Words:
    """What comes on standard input, a line each, however it is torn apart or joined on the way."""

    def __init__(self) -> None:
        self._rest = b""
        self._waiting: list[bytes] = []

    def answer_clock(self, data: bytes) -> None:
        """Answer what asks for the clock at once, and have the rest wait."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for word in lines:
            if word == b"?":
                _say(clock=time.monotonic_ns())
            else:
                self._waiting.append(word)

    def waiting(self) -> list[bytes]:
        words, self._waiting = self._waiting, []
        return words


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
    count = 0
    try:
        sampler = Sampler(CgroupReader(version, str(directory)), time.monotonic_ns)
        count = run(
            sampler,
            lambda data: write_all(1, data),
            time.sleep,
            lambda: bool(select.select([until], [], [], 0)[0]),
            time.monotonic_ns,
            round(1e9 / hz),
        )
    except FileNotFoundError:  # the cgroup is gone: nothing to see, as when it goes later
        pass
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    _say(samples=count, cpu_s=time.process_time())
    os._exit(0)


def _end(stops: list[int]) -> None:
    while stops:
        os.close(stops.pop())


if __name__ == "__main__":
    main()
