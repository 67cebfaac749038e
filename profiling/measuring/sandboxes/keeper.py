"""A small process that outlives us: when its standard input ends, it kills and removes the cgroups it was told of.

So a SIGKILL of the tool leaves nothing running. Lines on standard input: `+DIRECTORY` to guard, `-DIRECTORY` when it
has been removed in good order.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from profiling.measuring import own_process
from profiling.measuring.sandboxes import tree


class Keeper:
    """The other end of the pipe. One for each sandbox; costs an idle interpreter."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            own_process.command("profiling.measuring.sandboxes.keeper"),
            env=own_process.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def guard(self, directory: Path) -> None:
        self._tell(f"+{directory}\n")

    def release(self, directory: Path) -> None:
        self._tell(f"-{directory}\n")

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


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    guarded: list[Path] = []
    for line in sys.stdin:
        path = Path(line[1:].rstrip("\n"))
        if line.startswith("+"):
            guarded.append(path)
        elif path in guarded:
            guarded.remove(path)
    for path in guarded:
        if path.exists():
            tree.kill_all(path)
            tree.remove(path)


if __name__ == "__main__":
    main()
