"""Lines of figures with a place behind them, on a terminal or in a pipe."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from reports.text import MAX_WIDTH, without_commands
from reports.words import printable


def new_console(width: int, colour: bool) -> Console:
    """One that keeps what is printed on it, in lines of at most `width` cells."""
    return Console(
        file=io.StringIO(), width=max(40, min(width, MAX_WIDTH)), force_terminal=colour,
        color_system="standard" if colour else None, no_color=not colour, highlight=False, markup=False, emoji=False,
        legacy_windows=False, _environ={},
    )  # fmt: skip


def printed(console: Console, colour: bool) -> str:
    """What was printed on it."""
    assert isinstance(console.file, io.StringIO)
    return without_commands(console.file.getvalue(), colour)


def head(console: Console, title: str, columns: str) -> None:
    console.print(Text(title, style="bold"))
    console.print(Text(f"  {columns}", style="dim"), soft_wrap=True)


def put(console: Console, line: Text, place: str, more: str = "") -> None:
    """A line with a place behind it, whose end tells most, and `more` where there is room."""
    place, room = printable(place), console.width - cell_len(line.plain) - 2
    if place and room >= 8:
        line.append(f"  {place if len(place) <= room else '…' + place[1 - room :]}", style="dim")
    if more and console.width - cell_len(line.plain) - 2 >= len(more):
        line.append(f"  {more}", style="dim")
    line.truncate(console.width, overflow="ellipsis")
    console.print(line, soft_wrap=True)
