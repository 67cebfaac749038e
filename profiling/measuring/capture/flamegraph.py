"""Flame graphs of captures, drawn by memray's own command in processes of its own: bounded in number and in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from profiling.measuring.capture.head import ended_cleanly
from profiling.units import format_bytes

# A forked child that did next to nothing (a worker stopped at once, the moment between fork and exec).
TINY_BYTES = 32 * 2**10
# memray draws no more of a capture in a second, on any machine: reading it takes two passes at 10 MB/s or so.
FASTEST_BYTES_PER_S = 20 * 10**6
# What drawing may use; a graph of so many stacks would open in no browser.
MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Flamegraphs:
    """What was drawn, and what was not."""

    files: tuple[Path, ...]
    """One HTML file per drawn capture, in the order in which they are worth a look."""
    left_out: tuple[str, ...] = ()
    """One sentence per reason why captures have no flame graph."""


class FlamegraphError(Exception):
    """A capture could not be drawn; the message is the reason in one line."""


def flamegraph(capture: Path, output: Path, *, timeout_s: float = 60.0, source_lines: bool = True) -> None:
    """Draw the high-water mark of one capture as one self-contained HTML file (4.6 MB and more).

    `source_lines=False` keeps the source out of it: names of functions and files, and line numbers remain.
    Raises `FlamegraphError`, and leaves no file then.
    """
    # -P: what lies in the working directory, the target's perhaps, must not be taken for a library of memray's.
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY_BYTES}, {MEMORY_BYTES}))"
    memray = f"{limit}; import sys; from memray.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", memray, "flamegraph", "--no-web", "--force", "--output", str(output)]
    if not source_lines:
        command.append("--confidential-files=all")
    try:
        done = subprocess.run(
            [*command, str(capture)], check=False, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        output.unlink(missing_ok=True)
        megabytes = capture.stat().st_size / 1e6
        raise FlamegraphError(f"not drawn within {timeout_s:g} s ({megabytes:.0f} MB of records)") from None
    except OSError as error:
        raise FlamegraphError(f"memray could not be started: {error.strerror}") from None
    if done.returncode:
        output.unlink(missing_ok=True)
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FlamegraphError(said[-1] if said else f"memray ended with status {done.returncode}")


def flamegraphs(
    captures: Iterable[Path],
    directory: Path,
    *,
    first: Sequence[Path] = (),
    most: int = 4,
    deadline_s: float = 60.0,
    source_lines: bool = True,
) -> Flamegraphs:
    """Draw the captures worth a look into `directory`, two at a time, as `flamegraph-<capture>.html`.

    At most `most`: those in `first` (the killed process, say), the parent's (the capture without a process id in
    its name), then children by size of capture, killed before those that ended by themselves. All in all it takes
    no longer than `deadline_s`. What is left out, and why, stands in the result; nothing is raised.
    """
    chosen, left_out = select(captures, first=first, most=most)
    end = time.monotonic() + deadline_s

    def draw(capture: Path) -> Path | str:
        output = directory / f"flamegraph-{capture.name}.html"
        if capture.stat().st_size > FASTEST_BYTES_PER_S * deadline_s:
            return f"{capture.name}: not drawn, {format_bytes(capture.stat().st_size)} of records take longer than {deadline_s:g} s"
        remaining = end - time.monotonic()
        if remaining <= 0:
            return f"{capture.name}: not drawn, as the others took {deadline_s:g} s"
        try:
            flamegraph(capture, output, timeout_s=remaining, source_lines=source_lines)
        except FlamegraphError as error:
            return f"{capture.name}: {error}"
        return output

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        drawn = list(pool.map(draw, chosen))
    files = tuple(result for result in drawn if isinstance(result, Path))
    problems = tuple(result for result in drawn if isinstance(result, str))
    return Flamegraphs(files, (*left_out, *problems))


def select(
    captures: Iterable[Path], *, first: Sequence[Path] = (), most: int = 4
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Which captures to draw, in this order, and a sentence on those that are not."""
    sizes = {path: path.stat().st_size for path in captures if path.is_file()}
    parent = min(sizes, key=lambda path: len(path.name), default=None)

    def worth(path: Path) -> tuple[bool, bool, bool, int]:
        return (path in first, path == parent, not ended_cleanly(path), sizes[path])

    ranked = sorted(sizes, key=worth, reverse=True)
    drawable = [
        path for path in ranked if sizes[path] > TINY_BYTES or (sizes[path] and worth(path)[:2] != (False, False))
    ]
    chosen = tuple(drawable[:most])
    left_out = []
    if len(ranked) > len(drawable):
        left_out.append(f"{_captures(len(ranked) - len(drawable))} with next to nothing recorded left out")
    if len(drawable) > most:
        left_out.append(
            f"{_captures(len(drawable) - most)} of further processes left out (the {most} of most interest are drawn)"
        )
    return chosen, tuple(left_out)


def _captures(count: int) -> str:
    return "1 capture" if count == 1 else f"{count} captures"
