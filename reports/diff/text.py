"""A difference on a terminal or as plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from profiling.differences import Difference, PackageRow, Row
from profiling.units import format_bytes
from reports.columns import head, new_console, printed, put
from reports.diff.words import PLAIN, package_name, place, sign_of, summary, worth_showing
from reports.words import BAD, GOOD, UNSURE, printable, signed
from reports.wrapping import wrapped

_STYLES = {GOOD: "bold green", BAD: "bold red", UNSURE: "bold yellow", PLAIN: "bold"}
_SIZE = 9
_COLUMNS = f"{'change':>{_SIZE + 1}} {'before':>{_SIZE}} {'after':>{_SIZE}}"
_LINES, _PACKAGES, _ROWS = 10, 8, 10


def render_text(found: Difference, report: str, *, width: int = 80, colour: bool = False) -> str:
    """The result in lines of at most `width` cells (paths may be longer), with ANSI colours if `colour`."""
    console = new_console(width, colour)
    sign = sign_of(found)
    console.print(Text(f"{sign.symbol} {sign.word.upper()}", style=_STYLES[sign.tone]))
    first, *lines = summary(found)
    wrapped(console, Text(printable(first), style="bold"), "  ")
    for line in lines:
        wrapped(console, Text(printable(line)), "  · ")
    console.print()
    _table(console, "Lines of the service's own code, with all that they called", *worth_showing(found.lines, _LINES))
    _table(console, "Packages", *worth_showing(found.packages, _PACKAGES))
    _table(console, "Functions", *worth_showing(found.rows, _ROWS))
    console.print(Text("report  ", style="dim").append(report, style="not dim"), soft_wrap=True)
    return printed(console, colour)


def _table(console: Console, title: str, shown: Sequence[Row | PackageRow], left: Sequence[Row | PackageRow]) -> None:
    if not shown:
        return
    head(console, title, _COLUMNS)
    for row in shown:
        line = _figures(row.change_bytes, row.before_bytes, row.after_bytes)
        if isinstance(row, PackageRow):
            put(console, line.append(printable(package_name(row)), style="bold"), "")
        else:
            put(console, line.append(printable(row.function), style="bold"), place(row))
    if left:
        line = _figures(*(sum(getattr(row, f"{key}_bytes") for row in left) for key in ("change", "before", "after")))
        put(console, line.append(f"{len(left):,} with smaller changes", style="dim"), "")
    console.print()


def _figures(change: int, before: int, after: int) -> Text:
    style = "red" if change > 0 else "blue" if change < 0 else "dim"
    line = Text("  ").append(f"{signed(change):>{_SIZE + 1}}", style=style)
    return line.append(f" {format_bytes(before):>{_SIZE}} {format_bytes(after):>{_SIZE}}  ")
