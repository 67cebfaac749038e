"""Stacks of two sides, or of one, as one tree of blocks for a flame graph."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from profiling.flame import FlameGraph, FlameNode
from profiling.judging.stacks.lines import telling_line
from profiling.judging.stacks.naming import NamedFrame, NamedStacks, WeighedStack
from profiling.sources import PACKAGE, STANDARD

MOST_NODES = 20_000
"""A page with more is slow to open."""
LEAST_SHARE = 0.0005
"""Blocks below this share of the larger side are put together with their neighbours."""


@dataclass(slots=True)
class _Group:
    """The stacks that came the same way."""

    before: int = 0
    after: int = 0
    stacks: list[WeighedStack] = field(default_factory=list)

    def add(self, stack: WeighedStack) -> None:
        self.before += stack.before
        self.after += stack.after
        self.stacks.append(stack)

    @property
    def size(self) -> int:
        return max(self.before, self.after)

    def line(self, depth: int) -> int:
        """The line that tells most of the frames at this depth."""
        before: Counter[int] = Counter()
        after: Counter[int] = Counter()
        for stack in self.stacks:
            if stack.before:
                before[stack.lines[depth]] += stack.before
            if stack.after:
                after[stack.lines[depth]] += stack.after
        return telling_line(before, after)


def flame_graph(stacks: NamedStacks) -> FlameGraph:
    """The tree of all calls, siblings largest first, crumbs put together.

    From the whole downwards, the largest block first, and below a block that is not drawn by itself nothing is looked at:
    so time and memory are bounded by what is drawn.
    """
    whole = _Group()
    for stack in stacks.stacks:
        whole.add(stack)
    least = max(1, round(LEAST_SHARE * whole.size))
    nodes = [FlameNode("all", "", 0, -1, whole.before, whole.after, "all")]
    pruned = largest = 0
    pending = [(-whole.size, 0, 0, whole)]
    while pending:
        _, place, depth, group = heapq.heappop(pending)
        below = _below(group, depth)
        large = [child for child in below if child[1].size >= least][: max(0, MOST_NODES - len(nodes))]
        small = below[len(large) :]
        for number, child in large:
            heapq.heappush(pending, (-child.size, len(nodes), depth + 1, child))
            frame = stacks.frames[number]
            sizes = (child.before, child.after)
            nodes.append(FlameNode(frame.function, frame.source.name, child.line(depth), place, *sizes, _kind(frame)))
        if small:
            nodes.append(_together((child for _, child in small), len(small), place))
            pruned += len(small)
            largest = max(largest, small[0][1].size)
    return FlameGraph(nodes=tuple(nodes), pruned=pruned, largest_pruned_bytes=largest)


def _below(group: _Group, depth: int) -> list[tuple[int, _Group]]:
    """What was called from there, by frame, largest first."""
    below: dict[int, _Group] = defaultdict(_Group)
    for stack in group.stacks:
        if len(stack.frames) > depth:
            below[stack.frames[depth]].add(stack)
    return sorted(below.items(), key=lambda item: item[1].size, reverse=True)


def _together(groups: Iterable[_Group], count: int, parent: int) -> FlameNode:
    whole = _Group()
    for group in groups:
        whole.before += group.before
        whole.after += group.after
    return FlameNode(f"({count:,} smaller)", "", 0, parent, whole.before, whole.after, "smaller")


def _kind(frame: NamedFrame) -> str:
    if frame.is_process:
        return "process"
    if frame.source.rank > PACKAGE:
        return "own"
    return "package" if frame.source.rank > STANDARD else "python"
