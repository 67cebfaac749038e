"""What `diff` leaves in a directory: the page, the document, folded stacks."""

from __future__ import annotations

from pathlib import Path

from profiling.differences import Difference, DiffRun
from profiling.judging.stacks.graph import flame_graph
from profiling.judging.stacks.naming import NamedStacks, compared
from profiling.judging.stacks.tables import difference
from profiling.measuring import store
from profiling.stacks import Stacks
from reports.diff import FOLDED_NAME, render_json, report_path
from reports.diff.folded import render_folded


def write(directory: Path, run: DiffRun, before: Stacks, after: Stacks) -> tuple[Difference, NamedStacks]:
    """Compare, and write report.html, result.json and diff.folded. Raises OutputError."""
    from reports.diff.html import render_html

    stacks = compared(before, after)
    found = difference(run, before, after, stacks)
    page = render_html(run, found, flame_graph(stacks))
    store.write_atomically(Path(report_path(directory)), page.encode("utf-8", "replace"))
    store.write_atomically(directory / "result.json", render_json(found, directory).encode("utf-8", "replace"))
    store.write_atomically(directory / FOLDED_NAME, render_folded(stacks).encode("utf-8", "replace"))
    return found, stacks
