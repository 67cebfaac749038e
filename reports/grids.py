"""What `compare --grid` says, as a heat map and as a table that every renderer shows alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from profiling.experiments.grid_verdict import cell_word, load_words, words
from profiling.grids import MEMORY, USERS, Axis, Cell, CellStatus, GridJudgement
from profiling.units import format_bytes, format_ms
from reports.figures import NONE, rate
from reports.words import BAD, GOOD, UNSURE, Sign, of_limit, shorten
from reports.wrapping import wrapped

_SYMBOLS = {
    CellStatus.HOLDS: ("✓", GOOD),
    CellStatus.FAILS: ("✗", BAD),
    CellStatus.INCONCLUSIVE: ("?", UNSURE),
    CellStatus.INFERRED: ("✗", BAD),
    CellStatus.NOT_MEASURED: ("–", UNSURE),
}
_LABEL_AT_MOST = 44


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One cell as text."""

    column: str
    sign: Sign
    peak: str
    """Of unreclaimable memory against the limit; empty where nothing was measured."""
    percent: float
    """The peak's share of the limit, for its colour."""
    p95: str
    rps: str
    note: str
    """How many of several runs passed, or that it was not run."""
    why: str
    inferred: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    label: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Across is the load, where it differs, else the last axis; down is everything else."""

    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    fixed: str
    """What all cells share of load and limit; empty: nothing."""


def heat_map(found: GridJudgement) -> HeatMap:
    across = next((axis for axis in found.axes if axis.key == USERS), found.axes[-1])
    down = [axis for axis in found.axes if axis is not across]
    at = {tuple(sorted(cell.settings.items())): cell for cell in found.cells}
    columns = tuple(_words(across, value) for value in across.values)
    rows = []
    for values in itertools.product(*(axis.values for axis in down)):
        chosen = {axis.key: value for axis, value in zip(down, values, strict=True)}
        label = ", ".join(_words(axis, value) for axis, value in zip(down, values, strict=True)) or found.name
        cells = [at[tuple(sorted({**chosen, across.key: value}.items()))] for value in across.values]
        rows.append(HeatRow(label, tuple(_cell(found, *pair) for pair in zip(columns, cells, strict=True))))
    return HeatMap(columns, tuple(rows), _fixed(found))


def _fixed(found: GridJudgement) -> str:
    keys, first = {axis.key for axis in found.axes}, found.cells[0]
    load = "" if USERS in keys else load_words(found.rate, first.users)
    memory = "" if MEMORY in keys else format_bytes(first.memory_limit_bytes)
    return " in ".join(filter(None, (load, memory)))


def _words(axis: Axis, value: str) -> str:
    if axis.key == USERS:
        return load_words(None, int(value))
    return value if axis.key == MEMORY else words(((axis.key, value),))


def _cell(found: GridJudgement, column: str, cell: Cell) -> HeatCell:
    symbol, tone = _SYMBOLS[cell.status]
    peak, inferred = cell.peak_unreclaimable_bytes, cell.status is CellStatus.INFERRED
    notes = [f"{cell.passed} of {cell.made} runs passed"] if cell.made > 1 else []
    if inferred:
        notes.append("not run")
    return HeatCell(
        column=column,
        sign=Sign(cell_word(cell), symbol, tone),
        peak="" if peak is None else of_limit(peak, cell.memory_limit_bytes),
        percent=0.0 if peak is None else min(100.0, 100 * peak / cell.memory_limit_bytes),
        p95=NONE if cell.p95_ms is None else format_ms(cell.p95_ms),
        rps=rate(cell.throughput),
        note="; ".join(notes),
        why=cell.why,
        inferred=inferred,
    )


def show(console: Console, found: GridJudgement, styles: Mapping[str, str]) -> None:
    """The table on a terminal: cells side by side where they fit, else one below the other. `styles`: rich's, by tone."""
    table = heat_map(found)
    console.print(
        Text("Cells", style="bold").append(f"{_beside(table.fixed)}, peak of the limit", style="not bold dim")
    )
    label = min(_LABEL_AT_MOST, max(cell_len(row.label) for row in table.rows)) + 2
    texts = [_plain(cell) for row in table.rows for cell in row.cells]
    column = max(map(cell_len, (*texts, *table.columns))) + 2
    if 2 + label + column * len(table.columns) <= console.width:
        _side_by_side(console, table, styles, label, column)
    else:
        _below(console, table, styles)
    console.print()
    for row in table.rows:
        for cell in row.cells:
            if cell.why and not cell.inferred:
                name = Text(f"{row.label}, {cell.column}: ", style="bold").append(cell.why, style="not bold")
                wrapped(console, name, f"  {cell.sign.symbol} ", style=styles[cell.sign.tone])
    if any(cell.why and not cell.inferred for row in table.rows for cell in row.cells):
        console.print()


def _beside(fixed: str) -> str:
    return f", {fixed}" if fixed else ""


def _plain(cell: HeatCell) -> str:
    word = "" if cell.sign.word == "holds" and cell.peak else cell.sign.word
    note = "" if cell.inferred else cell.note.removesuffix(" runs passed")
    return f"{cell.sign.symbol} {', '.join(filter(None, (word, cell.peak, note)))}"


def _side_by_side(console: Console, table: HeatMap, styles: Mapping[str, str], label: int, column: int) -> None:
    head = "".join(set_cell_size(name, column) for name in table.columns)
    console.print(Text(f"  {' ' * label}{head}".rstrip(), style="dim"), soft_wrap=True)
    for row in table.rows:
        line = Text("  ").append(set_cell_size(shorten(row.label, label - 2), label), style="bold")
        for cell in row.cells:
            line.append(set_cell_size(_plain(cell), column), style=styles[cell.sign.tone])
        console.print(line, soft_wrap=True)


def _below(console: Console, table: HeatMap, styles: Mapping[str, str]) -> None:
    for row in table.rows:
        wrapped(console, Text(row.label, style="bold"), "  ")
        for cell in row.cells:
            text = Text(f"{cell.column}: ").append(_plain(cell)[2:])
            wrapped(console, text, f"    {cell.sign.symbol} ", style=styles[cell.sign.tone])
