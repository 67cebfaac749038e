"""What memray itself costs a target in memory, measured: by that much the limit of a profiled run is raised."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from profiling.errors import CannotRunError
from profiling.measuring.capture.command import PythonProgram
from profiling.measuring.capture.reading import check_readable

# The program tells of itself: what it holds when all is imported and the tracker runs. `Anonymous` is what cannot be
# reclaimed with swap off; smaps_rollup is in Linux since 4.14.
_TELL = """
for line in open("/proc/self/smaps_rollup"):
    if line.startswith("Anonymous:"):
        print(int(line.split()[1]) * 1024)
"""


def tracker_cost_bytes(
    interpreter: str,
    options: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    rounds: int = 3,
    timeout_s: float = 20.0,
) -> int:
    """Anonymous memory that an interpreter holds under the launcher's tracker beyond what it holds alone, in bytes.

    The median of `rounds` starts of a trivial program each way, about 0.15 s a round. A real service pays no more:
    memray's table of functions grows with it, but most of what memray imports a service imports as well (the
    reference backend with 16 threads: +3 to +6 MiB where this says 6). Each forked worker adds about 2 MiB.

    Raises `CannotRunError` if the program cannot be run either way, and `DataError` if its
    capture cannot be read here, as from a memray of another version: better known now than after the run.
    """
    alone = [interpreter, *options, "-c", _TELL]
    with tempfile.TemporaryDirectory(prefix="oomproof-memray-") as scratch:
        capture = Path(scratch) / "capture.bin"
        tracked = PythonProgram(interpreter, tuple(options), ("-c", _TELL)).tracked(capture)

        def measured(command: Sequence[str]) -> float:
            return statistics.median(_told(command, environ, directory, timeout_s) for _ in range(rounds))

        cost = int(measured(tracked) - measured(alone))
        check_readable(capture)
    return max(0, cost)


def _told(
    command: Sequence[str], environ: Mapping[str, str] | None, directory: str | Path | None, timeout_s: float
) -> int:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            env=environ, cwd=directory, timeout=timeout_s,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRunError(f"memray's own cost could not be measured: {error}", _HINT) from None
    try:
        return int(done.stdout)
    except ValueError:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CannotRunError(f"memray's own cost could not be measured: {said}", _HINT) from None


_HINT = "see whether `python -m memray run -c pass` works in the target's environment"
