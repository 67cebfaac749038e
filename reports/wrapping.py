"""Text on a terminal whose further lines stand under its first."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text


def wrapped(console: Console, text: Text, first: str, style: str = "") -> None:
    """`text` behind `first`, its further lines indented to the same column."""
    indent = cell_len(first)
    lines = text.wrap(console, max(10, console.width - indent))
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(Text(first if number == 0 else " " * indent, style=style).append_text(line), soft_wrap=True)
