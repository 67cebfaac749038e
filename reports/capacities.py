"""What `capacity` says, as rows that every renderer shows alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from profiling.capacities import By, CapacityJudgement, LimitedBy, LoadTrial
from profiling.experiments.capacity_verdict import named, short
from profiling.units import format_bytes, format_ms
from reports.figures import count, rate
from reports.words import BAD, GOOD, UNSURE, Sign, of_limit
from reports.wrapping import wrapped

_LIMITS = {
    LimitedBy.OOM: "memory",
    LimitedBy.LATENCY: "latency",
    LimitedBy.ERRORS: "errors",
    LimitedBy.LOAD_GENERATOR: "load generator",
}
"""What limits, in a word."""


@dataclass(frozen=True, slots=True)
class Row:
    """One load as text; which of the runs it was."""

    load: str
    name: str
    """The load with its unit."""
    run: str
    rps: str
    p50: str
    p95: str
    p99: str
    peak: str
    """Of unreclaimable memory under load, against the limit."""
    sign: Sign
    why: str


def rows(judgement: CapacityJudgement) -> tuple[Row, ...]:
    """The trials by load, one row for each run."""
    ordered = sorted(enumerate(judgement.trials), key=lambda pair: (pair[1].load, pair[0]))
    return tuple(_row(trial, number + 1, judgement.by) for number, trial in ordered)


_WIDTHS = (9, 11, 9, 9, 17)
_HEADS = ("load", "requests/s", "p50", "p95", "peak")


def show(console: Console, judgement: CapacityJudgement, styles: Mapping[str, str]) -> None:
    """Every trial by its load, and what the memory of larger loads would be. `styles`: rich's, by the tone of a sign."""
    console.print(Text("Trials", style="bold").append(", by load", style="not bold dim"))
    console.print(Text(f"    {_in_columns(_HEADS)}", style="dim"), soft_wrap=True)
    for row in rows(judgement):
        line = f"{_in_columns((row.load, row.rps, row.p50, row.p95, row.peak))}  {row.sign.word}"
        sign = Text(f"  {row.sign.symbol} ", style=styles[row.sign.tone])
        console.print(sign.append(line, style="not bold default"), soft_wrap=True)
    console.print()
    if found := forecasts(judgement):
        console.print(Text("Memory of larger loads (extrapolated)", style="bold"))
        for line in found:
            wrapped(console, Text(line), "  · ")
        console.print()


def _in_columns(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _row(trial: LoadTrial, number: int, by: By) -> Row:
    return Row(
        load=short(trial.load),
        name=named(by, trial.load),
        run=str(number),
        rps=rate(trial.throughput),
        p50=format_ms(trial.p50_ms),
        p95=format_ms(trial.p95_ms),
        p99=format_ms(trial.p99_ms),
        peak=of_limit(trial.load_peak_bytes or trial.peak_unreclaimable_bytes, trial.memory_limit_bytes),
        sign=_sign(trial),
        why=trial.why,
    )


def _sign(trial: LoadTrial) -> Sign:
    if trial.status == "pass":
        return Sign("holds", "✓", GOOD)
    limit = "" if trial.limited_by is None else _LIMITS[trial.limited_by]
    if trial.status == "fail":
        killed = trial.limited_by is LimitedBy.OOM and trial.oom_kills
        return Sign(f"OOM-killed {count(trial.oom_kills)}×" if killed else limit, "✗", BAD)
    return Sign(limit or "says nothing", "?", UNSURE)


def unit(judgement: CapacityJudgement) -> str:
    """What the loads are counted in."""
    return "users" if judgement.by is By.USERS else "requests/s due"


def alt(judgement: CapacityJudgement) -> str:
    """The picture over the load in words."""
    parts = [f"{row.load}: {row.peak}, {row.rps} requests/s, p95 {row.p95}, {row.sign.word}" for row in rows(judgement)]
    return (
        f"Peak memory against the limit, throughput and p95 latency over {unit(judgement)}. " + "; ".join(parts) + "."
    )


def forecasts(judgement: CapacityJudgement) -> tuple[str, ...]:
    """What the line foretells, each a sentence."""
    if judgement.memory is None:
        return ()
    return tuple(
        f"{named(judgement.by, found.load)} ({found.times} times): {format_bytes(found.bytes)} expected"
        f" (± {format_bytes(found.high - found.bytes)}), so a limit of about {format_bytes(found.limit_bytes)}"
        for found in judgement.memory.forecasts
    )
