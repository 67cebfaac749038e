"""A difference as folded stacks with two weights, as differential flame graph tools read them:
`<module> (app.py);load (app.py) 1048576 2097152`."""

from __future__ import annotations

from profiling.judging.stacks.naming import NamedFrame, NamedStacks, merged
from reports.folded import folded_line


def render_folded(stacks: NamedStacks) -> str:
    """One line per stack, in the order of their size; bytes before and after."""
    names = [_name(frame) for frame in stacks.frames]
    found = sorted(merged(stacks.stacks).items(), key=lambda item: -max(item[1]))
    return "".join(folded_line((names[at] for at in frames), *weights) for frames, weights in found)


def _name(frame: NamedFrame) -> str:
    file = frame.source.name
    return f"{frame.function} ({file})" if file else frame.function
