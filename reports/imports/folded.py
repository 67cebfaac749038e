"""Folded stacks, as flame graph tools read them: `app;torch;torch.nn 1048576`, one line for each module.

The weight is what a module holds itself in anonymous memory, in bytes. Weights cannot be negative: a module that gave back
more than it took is left out.
"""

from __future__ import annotations

from profiling.import_costs import ImportCosts, ModuleCost
from reports.folded import folded_line


def render_folded(costs: ImportCosts) -> str:
    """The lines, in the order in which the modules were asked for."""
    by_name = {module.name: module for module in costs.modules}
    lines = []
    for module in costs.modules:
        if module.self_anon_bytes > 0:
            lines.append(folded_line(_stack(module, by_name), module.self_anon_bytes))
    return "".join(lines)


def _stack(module: ModuleCost, by_name: dict[str, ModuleCost]) -> list[str]:
    """From the outermost import down."""
    stack = []
    at: ModuleCost | None = module
    while at is not None:
        stack.append(at.name)
        at = by_name.get(at.parent) if at.parent else None
    return stack[::-1]
