"""A small process that outlives us: when its standard input ends, it clears away what it was told to guard.

So a SIGKILL of the tool leaves nothing running. Lines on standard input: `+THING` to guard, `-THING` when it has been
removed in good order. Run as a program it guards cgroups, each named by its directory.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from profiling.measuring import own_process
from profiling.measuring.sandboxes import tree


class Keeper:
    """The other end of the pipe. One for each sandbox; costs an idle interpreter."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """`command`: what to start; by default the keeper of cgroups."""
        self._process = subprocess.Popen(
            command or own_process.command("profiling.measuring.sandboxes.keeper"),
            env=own_process.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def guard(self, thing: object) -> None:
        self._tell(f"+{thing}\n")

    def release(self, thing: object) -> None:
        self._tell(f"-{thing}\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:  # someone ended the keeper; the next start clears what would be left
            pass

    def close(self) -> None:
        """End the keeper; it clears whatever it still guards first."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=30)


def keep(clear: Callable[[str], None]) -> None:
    """Be the keeper: read standard input to its end, then clear what is still guarded, last guarded first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    guarded: list[str] = []
    for line in sys.stdin:
        thing = line[1:].rstrip("\n")
        if line.startswith("+"):
            guarded.append(thing)
        elif thing in guarded:
            guarded.remove(thing)
    for thing in reversed(guarded):
        clear(thing)


def _clear_cgroup(directory: str) -> None:
    path = Path(directory)
    if path.exists():
        tree.kill_all(path)
        tree.remove(path)


if __name__ == "__main__":
    keep(_clear_cgroup)
