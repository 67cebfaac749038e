"""The page of `diff`: one file with everything in it, that asks nobody for anything."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from profiling.differences import Difference, DiffRun, PackageRow, Row
from profiling.flame import FlameGraph
from profiling.units import format_bytes
from reports.diff.words import at_words, package_name, place, sign_of, summary, worth_showing
from reports.flame import drawing
from reports.flame.words import FORKS, TRUST
from reports.html import moment
from reports.page import environment
from reports.words import signed

_ROWS = 20


def render_html(run: DiffRun, difference: Difference, graph: FlameGraph) -> str:
    """The page as text."""
    lines, lines_left = worth_showing(difference.lines, _ROWS)
    packages, packages_left = worth_showing(difference.packages, _ROWS)
    rows, rows_left = worth_showing(difference.rows, _ROWS)
    several = any(len(side.processes) > 1 for side in (difference.before, difference.after))
    said = summary(difference)
    return _ENVIRONMENT.get_template("diff.html.j2").render(
        run=run,
        difference=difference,
        title=f"diff: {said[0]}",
        sign=sign_of(difference),
        summary=said,
        flame=drawing(graph, sides=2),
        lines=lines,
        lines_left=lines_left,
        packages=packages,
        packages_left=packages_left,
        rows=rows,
        rows_left=rows_left,
        trust=(*TRUST, *(FORKS if several else ())),
        command_line=shlex.join(run.argv),
    )


def _bar(row: Row | PackageRow, rows: Sequence[Row | PackageRow]) -> str:
    """Length of a change's bar in percent of the largest's in its table."""
    most = max(abs(other.change_bytes) for other in rows)
    return f"{100 * abs(row.change_bytes) / most:.1f}"


_ENVIRONMENT = environment(
    {"moment": moment},
    at_words=at_words,
    bar=_bar,
    format_bytes=format_bytes,
    function_name=lambda row: row.function,
    package_name=package_name,
    place=place,
    signed=signed,
)
