"""What a reader should know of any figure that comes from memray."""

from __future__ import annotations

from profiling.stacks import END, Stacks
from profiling.units import format_bytes

TRUST = (
    "Heap is not resident memory: what was allocated and never touched counts here and not against the limit, and a mapped"
    " file counts with its whole length.",
    "Python takes memory for small objects in arenas of 1 MiB (256 KiB until 3.9), and an arena counts for whichever line"
    " needed the next one: a change of one or two of them at a line says nothing.",
)
FORKS = (
    "What was allocated before a fork belongs to the parent alone, and what a worker allocated to that worker, so nothing"
    " counts twice. Copies that the kernel makes of pages that both had, once one of them writes, are in neither.",
    "memray notes the time every 10 ms; the moment is as exact as that.",
)


def moment_words(stacks: Stacks) -> str:
    """Which memory of several processes it is."""
    if stacks.at == END:
        ended = next((process for process in stacks.processes if process.capture == stacks.ended), None)
        how = "was killed" if ended and ended.killed else "ended"
        return f"when process {ended.pid if ended else '?'} {how}"
    return "when they held most"


def processes_summary(stacks: Stacks) -> list[str]:
    """The merged picture in a sentence, and what it is not."""
    there = sum(1 for process in stacks.processes if process.bytes)
    peaks = format_bytes(stacks.peaks_bytes)
    lines = [
        f"{there} processes together held {format_bytes(stacks.bytes)} {moment_words(stacks)}.",
        f"that is one and the same moment; their own high-water marks, each at its own time, add up to {peaks}",
    ]
    if gone := len(stacks.processes) - there:
        lines.append(f"{gone} further processes had not begun then, or had ended")
    return [*lines, *stacks.notes]
