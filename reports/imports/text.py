"""What imports cost, on a terminal or as plain lines in a pipe."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from profiling.import_costs import ImportCosts, ImportsRun
from profiling.units import format_bytes
from reports.columns import head, new_console, printed, put
from reports.imports.forest import Row, packages, rows
from reports.imports.words import LAZY_WORDS, imported, module_words, modules, sign_of, summary, where
from reports.words import BAD, GOOD, UNSURE, printable
from reports.wrapping import wrapped

_STYLES = {GOOD: "green", BAD: "bold red", UNSURE: "yellow"}
_BAR = 12
_SIZE = 9
_PACKAGES, _LINES = 12, 10


def render_text(
    run: ImportsRun, costs: ImportCosts, report: str, *, depth: int = 3, width: int = 80, colour: bool = False
) -> str:
    """The result in lines of at most `width` cells (paths may be longer), with ANSI colours if `colour`."""
    console = new_console(width, colour)
    sign = sign_of(costs)
    console.print(Text(f"{sign.symbol} {sign.word.upper()}", style=f"bold {_STYLES[sign.tone].removeprefix('bold ')}"))
    first, *lines = summary(run, costs)
    wrapped(console, Text(printable(first), style="bold"), "  ")
    for line in lines:
        wrapped(console, Text(printable(line)), "  · ")
    console.print()
    if costs.modules:
        _packages(console, costs)
        _tree(console, costs, depth)
        _lazy(console, costs)
    for name, text in where(run):
        wrapped(console, Text(printable(text), style="not dim"), f"{name:<8}", style="dim")
    console.print(Text("report  ", style="dim").append(report, style="not dim"), soft_wrap=True)
    return printed(console, colour)


def _bar(part: int, whole: int) -> Text:
    share = max(0.0, min(1.0, part / whole)) if whole > 0 else 0.0
    full = round(share * _BAR)
    return Text("█" * full, style="cyan").append("░" * (_BAR - full), style="dim")


def _figures(anon: int, file: int, whole: int) -> Text:
    line = Text(f"  {format_bytes(anon):>{_SIZE}} {format_bytes(file):>{_SIZE}}  ")
    return line.append_text(_bar(anon, whole)).append("  ")


def _packages(console: Console, costs: ImportCosts) -> None:
    shown, rest = packages(costs, _PACKAGES)
    name = max((cell_len(package.name) for package in shown), default=0)
    head(console, "Packages, with all that they load", f"{'anonymous':>{_SIZE}} {'files':>{_SIZE}}")
    for package in shown:
        line = _figures(package.anon_bytes, package.file_bytes, costs.total_anon_bytes)
        line.append(set_cell_size(printable(package.name), min(name, 30)), style="bold")
        put(console, line, package.line or "", modules(package.modules))
    if rest:
        line = _figures(sum(p.anon_bytes for p in rest), sum(p.file_bytes for p in rest), costs.total_anon_bytes)
        put(console, line.append(f"{len(rest)} more", style="dim"), "")
    console.print()


def _tree(console: Console, costs: ImportCosts, depth: int) -> None:
    head(console, "Imports, as they were first asked for", f"{'anonymous':>{_SIZE}} {'files':>{_SIZE}}")
    for row in rows(costs, depth):
        line = _figures(row.anon_bytes, row.file_bytes, costs.total_anon_bytes).append(_branch(row), style="dim")
        if row.module is None:
            put(console, line.append(f"{row.count:,} smaller", style="dim"), "")
            continue
        line.append(printable(row.module.name), style="bold" if row.module.own else "")
        put(console, line, module_words(row.module))
    console.print()


def _branch(row: Row) -> str:
    if row.level == 0:
        return ""
    return "".join("  " if last else "│ " for last in row.last[1:-1]) + ("└ " if row.last[-1] else "├ ")


def _lazy(console: Console, costs: ImportCosts) -> None:
    if not costs.lazy:
        return
    head(console, "Saved at the start if imported later", f"{'measured':>{_SIZE}} {'computed':>{_SIZE}}")
    for line in costs.lazy[:_LINES]:
        text = Text(
            f"  {format_bytes(line.measured_anon_bytes):>{_SIZE}} {format_bytes(line.computed_anon_bytes):>{_SIZE}}  "
        )
        text.append(printable(line.line), style="bold")
        put(console, text, imported(line), modules(line.modules))
        if line.note:
            wrapped(console, Text(printable(line.note)), " " * (2 * _SIZE + 5) + "→ ", style="dim")
    if len(costs.lazy) > _LINES:
        console.print(Text(f"{'':>{2 * _SIZE + 5}}and {len(costs.lazy) - _LINES} more in the report", style="dim"))
    wrapped(console, Text(LAZY_WORDS), "  ", "dim")
    console.print()
