"""Folded stacks by hand."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.differences import DiffRun, Source
from profiling.profiles import Frame
from profiling.stacks import PEAK, Process, Stack, Stacks

Named = Sequence[tuple[str, str, int]]
"""Function, file, line; outermost first."""


def stacks(*held: tuple[Named, int], pid: int = 1, directory: str | None = None) -> Stacks:
    """One process that held these bytes by these stacks."""
    return merged((pid, held), directory=directory)


def merged(*processes: tuple[int, Sequence[tuple[Named, int]]], directory: str | None = None) -> Stacks:
    """Several processes, by process id; the first is the parent."""
    frames: dict[tuple[str, str, int], int] = {}
    made = []
    for at, (pid, held) in enumerate(processes):
        own = [Stack(tuple(frames.setdefault(frame, len(frames)) for frame in named), size, 1) for named, size in held]
        total = sum(stack.bytes for stack in own)
        name = f"capture.bin.{pid}" if at else "capture.bin"
        made.append(
            Process(
                capture=name, pid=pid, forked=at > 0, killed=False, bytes=total, peak_bytes=total, stacks=tuple(own)
            )
        )
    return Stacks(
        at=PEAK,
        directory=directory,
        frames=tuple(Frame(function=function, file=file, line=line) for function, file, line in frames),
        processes=tuple(made),
    )


def run(fail_above_bytes: int | None = None) -> DiffRun:
    def side(name: str) -> Source:
        return Source(path=f"/captures/{name}", name=name, captures=(f"/captures/{name}",))

    return DiffRun(
        before=side("before.bin"),
        after=side("after.bin"),
        fail_above_bytes=fail_above_bytes,
        argv=("oomproof", "diff", "before.bin", "after.bin"),
        created_at="2026-01-01T12:00:00+00:00",
    )
