"""memray, and nothing but memray: the pass in which the target runs under memray's tracker.

Before it `prepare` says with which command, or why not; after it `captures` finds what was recorded, `held` says
whose memory it was, `flamegraphs` draws it, `Folding` brings it into the one form that is drawn and compared. Importing
this package does not import memray. `find` says which captures somebody means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from profiling.errors import CannotRunError
from profiling.measuring.capture.apart import Folding
from profiling.measuring.capture.command import (
    LAUNCHER,
    MAX_CAPTURE_BYTES,
    CannotTrackError,
    find_memray,
    python_program,
)
from profiling.measuring.capture.finding import find
from profiling.measuring.capture.flamegraph import Flamegraphs, flamegraphs
from profiling.measuring.capture.head import ended_cleanly, ended_early, is_blank
from profiling.measuring.capture.place import unfit
from profiling.measuring.interior import Interior
from profiling.profiles import HeldMemory

__all__ = [
    "LAUNCHER",
    "MAX_CAPTURE_BYTES",
    "CannotTrackError",
    "Flamegraphs",
    "Folding",
    "Tracking",
    "captures",
    "ended_cleanly",
    "ended_early",
    "find",
    "flamegraphs",
    "held",
    "is_blank",
    "prepare",
    "python_program",
    "unfit",
]


@dataclass(frozen=True, slots=True)
class Tracking:
    """How to run a target under memray."""

    command: tuple[str, ...]
    """Takes the place of the target's command; directory and environment stay the target's own."""
    capture: Path
    """What the first process records; a forked child adds its process id (`capture.bin.4711`)."""
    cost_bytes: int
    """What memray itself holds in a trivial program; see `cost.tracker_cost_bytes`."""


def prepare(interior: Interior, capture: Path, limit_bytes: int = MAX_CAPTURE_BYTES) -> Tracking:
    """Everything that a profiled run needs to know beforehand; takes about 1 s, most of it the cost's measurement.

    `capture` lies in a directory of this machine that the interior sees; `limit_bytes`: so large may each process's become.
    Raises `CannotTrackError` with the reason
    why the pass must be skipped: another language, no memray to be had there, a capture that would lie in memory, ...
    """
    program = python_program(interior)
    if reason := unfit(capture.parent):
        raise CannotTrackError(reason)
    site = find_memray(program, interior, capture.parent)
    from profiling.measuring.capture.cost import tracker_cost_bytes

    try:
        cost = tracker_cost_bytes(program, interior, site=site, scratch=capture.parent)
    except CannotRunError as error:
        raise CannotTrackError(error.message) from None
    return Tracking(tuple(program.tracked(capture, interior, site, limit_bytes)), capture, cost)


def captures(capture: Path) -> tuple[Path, ...]:
    """The captures of one pass: the first process's own, if it is there, and those of its forked children by pid."""
    children = [path for path in capture.parent.glob(f"{capture.name}.*") if path.name.rpartition(".")[2].isdecimal()]
    children.sort(key=lambda path: int(path.name.rpartition(".")[2]))
    return (*((capture,) if capture.exists() else ()), *children)


def held(
    captures: Iterable[Path],
    at: Literal["kill", "peak"] = "kill",
    *,
    directory: Path,
    own_roots: Sequence[Path] = (),
    top: int = 10,
) -> tuple[HeldMemory, ...]:
    """What held the memory, by line of the user's own code: see `reading.held`. Raises `DataError`."""
    from profiling.measuring.capture import reading

    return reading.held(captures, at, directory=directory, own_roots=own_roots, top=top)
