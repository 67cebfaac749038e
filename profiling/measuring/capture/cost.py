"""What memray itself costs a target in memory, measured: by that much the limit of a profiled run is raised."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from profiling.errors import CannotRunError
from profiling.measuring.capture.command import MAX_CAPTURE_BYTES, PythonProgram
from profiling.measuring.capture.reading import check_readable
from profiling.measuring.interior import Interior

# The program tells of itself: what it holds when all is imported and the tracker runs. `Anonymous` is what cannot be
# reclaimed with swap off; smaps_rollup is in Linux since 4.14.
_TELL = """
for line in open("/proc/self/smaps_rollup"):
    if line.startswith("Anonymous:"):
        print(int(line.split()[1]) * 1024)
"""


def tracker_cost_bytes(
    program: PythonProgram,
    interior: Interior,
    *,
    site: str | None = None,
    scratch: Path | None = None,
    rounds: int = 3,
    timeout_s: float = 20.0,
) -> int:
    """Anonymous memory that an interpreter holds under the launcher's tracker beyond what it holds alone, in bytes.

    The median of `rounds` starts of a trivial program each way, about 0.15 s a round. A real service pays no more:
    memray's table of functions grows with it, but most of what memray imports a service imports as well (the
    reference backend with 16 threads: +3 to +6 MiB where this says 6). Each forked worker adds about 2 MiB.

    `site` as `find_memray` gave it; `scratch`: a directory of this machine that the interior sees.

    Raises `CannotRunError` if the program cannot be run either way, and `DataError` if its
    capture cannot be read here, as from a memray of another version: better known now than after the run.
    """
    trivial = PythonProgram(program.interpreter, program.options, ("-c", _TELL))
    with tempfile.TemporaryDirectory(prefix="oomproof-memray-", dir=scratch) as place:
        # The program may run as somebody else there.
        Path(place).chmod(0o777)
        capture = Path(place) / "capture.bin"
        alone = [trivial.interpreter, *trivial.options, *trivial.arguments]
        tracked = trivial.tracked(capture, interior, site, MAX_CAPTURE_BYTES)

        def measured(command: Sequence[str]) -> float:
            return statistics.median(_told(command, interior, timeout_s) for _ in range(rounds))

        cost = int(measured(tracked) - measured(alone))
        check_readable(capture)
    return max(0, cost)


def _told(command: Sequence[str], interior: Interior, timeout_s: float) -> int:
    try:
        done = interior.run(command, timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRunError(f"memray's own cost could not be measured: {error}", _HINT) from None
    try:
        return int(done.stdout)
    except ValueError:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CannotRunError(f"memray's own cost could not be measured: {said}", _HINT) from None


_HINT = "see whether `python -m memray run -c pass` works in the target's environment"
