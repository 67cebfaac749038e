"""Stacks of two sides, or of one, as one tree of blocks for a flame graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from profiling.flame import FlameGraph, FlameNode
from profiling.judging.stacks.lines import telling_line
from profiling.judging.stacks.naming import NamedFrame, NamedStacks, WeighedStack
from profiling.sources import PACKAGE, STANDARD

MOST_NODES = 20_000
"""A page with more is slow to open."""
LEAST_SHARE = 0.0005
"""Blocks below this share of the larger side are put together with their neighbours."""


class _Tree:
    """Blocks by position; 0 is the whole."""

    def __init__(self, stacks: NamedStacks) -> None:
        self._stacks = stacks
        self._places: dict[tuple[int, int], int] = {}
        self.frames: list[int] = [-1]
        self.before = [0]
        self.after = [0]
        self.below: dict[int, list[int]] = defaultdict(list)
        for stack in stacks.stacks:
            at = 0
            self._add(0, stack)
            for frame in stack.frames:
                key = (at, frame)
                at = self._places.get(key, -1)
                if at < 0:
                    at = self._new(*key)
                self._add(at, stack)

    def _new(self, above: int, frame: int) -> int:
        at = self._places[above, frame] = len(self.frames)
        self.frames.append(frame)
        self.before.append(0)
        self.after.append(0)
        self.below[above].append(at)
        return at

    def _add(self, at: int, stack: WeighedStack) -> None:
        self.before[at] += stack.before
        self.after[at] += stack.after

    def size(self, at: int) -> int:
        return max(self.before[at], self.after[at])

    def lines(self, least: int) -> dict[int, int]:
        """The line that tells most of each block of at least this size."""
        before: dict[int, Counter[int]] = defaultdict(Counter)
        after: dict[int, Counter[int]] = defaultdict(Counter)
        for stack in self._stacks.stacks:
            at = 0
            for frame, line in zip(stack.frames, stack.lines, strict=True):
                at = self._places[at, frame]
                if self.size(at) < least:
                    break  # what is below is smaller yet
                if stack.before:
                    before[at][line] += stack.before
                if stack.after:
                    after[at][line] += stack.after
        return {at: telling_line(before[at], after[at]) for at in before.keys() | after.keys()}


def flame_graph(stacks: NamedStacks) -> FlameGraph:
    """The tree of all calls, siblings largest first, crumbs put together."""
    tree = _Tree(stacks)
    least = _least(tree)
    lines = tree.lines(least)
    nodes = [FlameNode("all", "", 0, -1, tree.before[0], tree.after[0], "all")]
    pruned = 0
    pending = [(0, 0)]
    while pending:
        at, place = pending.pop()
        children = sorted(tree.below.get(at, ()), key=tree.size, reverse=True)
        large = [child for child in children if tree.size(child) >= least]
        small = children[len(large) :]
        for child in large:
            pending.append((child, len(nodes)))
            frame = stacks.frames[tree.frames[child]]
            sizes = (tree.before[child], tree.after[child])
            nodes.append(FlameNode(frame.function, frame.source.name, lines.get(child, 0), place, *sizes, _kind(frame)))
        if small:
            before, after = (sum(side[child] for child in small) for side in (tree.before, tree.after))
            nodes.append(FlameNode(f"({len(small):,} smaller)", "", 0, place, before, after, "smaller"))
            pruned += _count(tree, small)
    return FlameGraph(nodes=tuple(nodes), pruned=pruned, least_bytes=least)


def _least(tree: _Tree) -> int:
    """The size from which a block is drawn by itself, at least one byte."""
    least = LEAST_SHARE * tree.size(0)
    if len(tree.frames) > MOST_NODES:
        least = max(least, sorted(map(tree.size, range(len(tree.frames))), reverse=True)[MOST_NODES])
    return max(1, round(least))


def _kind(frame: NamedFrame) -> str:
    if frame.is_process:
        return "process"
    if frame.source.rank > PACKAGE:
        return "own"
    return "package" if frame.source.rank > STANDARD else "python"


def _count(tree: _Tree, roots: Sequence[int]) -> int:
    """These blocks and all below them."""
    pending, count = list(roots), 0
    while pending:
        count += 1
        pending += tree.below.get(pending.pop(), ())
    return count
