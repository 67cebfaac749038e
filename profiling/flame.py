"""A flame graph as a value: whatever is drawn as one is brought into this form."""

from __future__ import annotations

from profiling.values import Value


class FlameNode(Value, frozen=True, array_like=True):
    """One block, for all calls that took the same way there."""

    name: str
    file: str
    line: int
    """0: not known."""
    parent: int
    """Position of the block above it, which comes before it; -1: it is the whole."""
    before_bytes: int
    after_bytes: int
    kind: str
    """`own`, `package`, `python`, `process`, `smaller`, or `all` for the whole."""


class FlameGraph(Value, frozen=True, kw_only=True):
    """Blocks, each after the one above it."""

    nodes: tuple[FlameNode, ...]
    pruned: int = 0
    """How many blocks were put together into those of the kind `smaller`, not counting what is below them."""
    largest_pruned_bytes: int = 0
    """None of them is larger."""
