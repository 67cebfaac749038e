"""The page of one program's processes: their memory at one moment in one flame graph."""

from __future__ import annotations

from profiling.flame import FlameGraph
from profiling.stacks import ProcessMemory, Stacks
from profiling.units import format_bytes
from reports.flame import drawing
from reports.flame.words import FORKS, TRUST, processes_summary
from reports.page import environment


def render_processes(stacks: Stacks, graph: FlameGraph) -> str:
    """The page as text."""
    said = processes_summary(stacks)

    def share(process: ProcessMemory) -> str:
        return f"{100 * process.bytes / max(1, stacks.bytes):.1f}"

    return _ENVIRONMENT.get_template("processes.html.j2").render(
        stacks=stacks,
        title=f"all processes: {said[0]}",
        summary=said,
        share=share,
        flame=drawing(graph, sides=1),
        trust=(*FORKS, *TRUST),
    )


_ENVIRONMENT = environment({}, format_bytes=format_bytes)
