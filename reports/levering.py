"""What `levers` says, as rows that every renderer shows alike, and as lines of a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from profiling.levers import LeverOutcome, LeverRow, LeversJudgement
from profiling.units import format_bytes, format_percent
from reports.figures import NONE
from reports.paste import blocks
from reports.words import BAD, GOOD, UNSURE, Sign
from reports.wrapping import wrapped

OUTCOMES: dict[LeverOutcome, Sign] = {
    LeverOutcome.SURVIVES: Sign("survives", "✓", GOOD),
    LeverOutcome.OOM_KILLED: Sign("OOM-killed", "✗", BAD),
    LeverOutcome.DOES_NOT_START: Sign("does not start", "✗", BAD),
    LeverOutcome.FAILS: Sign("fails", "✗", BAD),
    LeverOutcome.UNCLEAR: Sign("says nothing", "?", UNSURE),
    LeverOutcome.NOT_TRIED: Sign("not tried", "–", UNSURE),
}
AS_IS, TOGETHER = "as it is", "best together"


@dataclass(frozen=True, slots=True)
class Row:
    """One lever as text."""

    name: str
    advice: str
    guide: str
    saved: str
    """A dash where there is no size; a cost has a minus sign."""
    interval: str
    rps: str
    p95: str
    quality: str
    sign: Sign
    note: str
    sets: str
    """The variables and words that it sets."""
    tried: bool


def rows(found: LeversJudgement) -> tuple[Row, ...]:
    return tuple(_row(row) for row in found.rows)


def _row(row: LeverRow) -> Row:
    return Row(
        name=row.lever,
        advice=row.advice,
        guide=row.guide,
        saved=NONE if row.saved_bytes is None else saved(row.saved_bytes),
        interval=interval(row.saved_low_bytes, row.saved_high_bytes),
        rps=times(row.rps_ratio),
        p95=times(row.p95_ratio),
        quality=NONE if row.quality is None else format_percent(row.quality),
        sign=OUTCOMES[row.outcome],
        note=row.note,
        sets=" ".join((*(f"{key}={value}" for key, value in row.env.items()), *row.options)),
        tried=row.outcome is not LeverOutcome.NOT_TRIED,
    )


def interval(low: int | None, high: int | None) -> str:
    """The ends of an interval of savings; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"{saved(low)} to {saved(high)}"


def saved(size: int) -> str:
    """A saving with the sign of a saving: a cost is below zero."""
    return f"−{format_bytes(-size)}" if size < 0 else format_bytes(size) if size else "0"


def times(ratio: float | None) -> str:
    """A ratio to the service as it is: `0.98 ×`."""
    return NONE if ratio is None else f"{ratio:.2f} ×"


def waterfall(found: LeversJudgement) -> tuple[tuple[str, int, int], ...]:
    """From the service as it is to the best together: (name, bytes before, bytes after); the ends from nothing."""
    if found.best is None or found.as_is.peak_bytes is None:
        return ()
    bars = [(AS_IS, 0, found.as_is.peak_bytes)]
    at = found.as_is.peak_bytes
    for step in found.best.steps:
        bars.append((step.lever, at, step.peak_bytes))
        at = step.peak_bytes
    return (*bars, (TOGETHER, 0, at))


def alt(found: LeversJudgement) -> str:
    """The picture in words."""
    parts = [f"{name} {format_bytes(after)}" for name, _, after in waterfall(found)]
    return (
        f"Peak memory from the service as it is to the best levers together, against {format_bytes(found.limit_bytes)}: "
        + (", ".join(parts) + ".")
    )


_WIDTHS = (20, 10, 24, 8, 8)
_HEADS = ("lever", "saves", "98 % interval", "req/s", "p95")


def show(console: Console, found: LeversJudgement, styles: Mapping[str, str]) -> None:
    """The table, ranked. `styles`: rich's, by the tone of a sign."""
    tried = [row for row in rows(found) if row.tried]
    if tried:
        console.print(Text("Levers", style="bold").append(", what saves most first", style="not bold dim"))
        console.print(Text(f"    {_in_columns(_HEADS)}", style="dim"), soft_wrap=True)
    for row in tried:
        cells = _in_columns((row.name, row.saved, row.interval or NONE, row.rps, row.p95))
        quality = "" if row.quality == NONE else f"  quality {row.quality}"
        line = Text(f"  {row.sign.symbol} ", style=styles[row.sign.tone])
        console.print(line.append(f"{cells}  {row.sign.word}{quality}", style="not bold default"), soft_wrap=True)
        if row.note:
            wrapped(console, Text(row.note), "      ", style="dim")
    left_out = [row for row in rows(found) if not row.tried]
    if tried:
        console.print()
    if left_out:
        console.print(Text("Not tried", style="bold"))
        for row in left_out:
            wrapped(
                console, Text(f"{row.name}: ", style="bold").append(row.note, style="not bold"), "  – ", style="dim"
            )
        console.print()


def show_settings(console: Console, found: LeversJudgement) -> None:
    """What to paste."""
    for heading, text in blocks(found):
        console.print(Text(heading, style="bold"))
        for line_of_text in text.splitlines():
            console.print(Text(f"  {line_of_text}"), soft_wrap=True)
        console.print()


def _in_columns(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return f"{first:<{_WIDTHS[0]}}" + "".join(f"{cell:>{width}}" for cell, width in zip(rest, _WIDTHS[1:], strict=True))
