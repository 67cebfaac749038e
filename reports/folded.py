"""Folded stacks as flame graph tools read them: frames from the outermost in, then one weight, or two for a difference."""

from __future__ import annotations

from collections.abc import Iterable

from reports.words import printable


def folded_line(frames: Iterable[str], *weights: int) -> str:
    """`app;torch;torch.nn 1048576` with the end of the line. Names cannot hold what separates them."""
    stack = ";".join(printable(frame).replace(";", ":") for frame in frames)
    return f"{stack} {' '.join(map(str, weights))}\n"
