"""What a gate says, as rows that every renderer shows alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from profiling.judging.change_words import NAMES, amount, changed, interval, level
from profiling.regressions import Against, GateJudgement, GrownLine, MetricChange, MetricStatus
from profiling.units import format_bytes
from reports.words import BAD, GOOD, UNSURE, Sign

_WHOSE = {
    Against.BASE: "each side in turns",
    Against.BASELINE: "head against the baseline's",
    Against.BUDGET: "head",
}
MUTED = "muted"
"""A tone for what is not judged."""
STATUSES: dict[MetricStatus, Sign] = {
    MetricStatus.PASS: Sign("within tolerance", "✓", GOOD),
    MetricStatus.IMPROVED: Sign("improved", "✓", GOOD),
    MetricStatus.REGRESSED: Sign("regressed", "✗", BAD),
    MetricStatus.UNCLEAR: Sign("not clear", "?", UNSURE),
    MetricStatus.INFO: Sign("for information", "i", MUTED),
    MetricStatus.UNMEASURED: Sign("not measured", "–", MUTED),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as text."""

    name: str
    base: str
    head: str
    change: str
    """The estimate with its interval."""
    estimate: str
    interval: str
    """Empty where there is none."""
    tolerance: str
    sign: Sign
    metric: MetricChange


def rows(judgement: GateJudgement) -> tuple[Row, ...]:
    """The metrics in order; what neither side has is left out."""
    return tuple(_row(metric) for metric in judgement.metrics if metric.base or metric.head)


def _row(metric: MetricChange) -> Row:
    return Row(
        name=NAMES.get(metric.name, metric.name),
        base=level(metric, metric.base),
        head=level(metric, metric.head),
        change=changed(metric),
        estimate="–" if metric.change is None else amount(metric, metric.change),
        interval=interval(metric),
        tolerance="–" if metric.tolerance is None else amount(metric, metric.tolerance),
        sign=STATUSES[metric.status],
        metric=metric,
    )


def how_often(judgement: GateJudgement) -> str:
    """How many runs it rests on, and whether a regression was confirmed."""
    runs = f"{judgement.turns} run{'s' if judgement.turns != 1 else ''} of {_WHOSE[judgement.against]}"
    if judgement.confirmed_by_rerun is None:
        return runs
    return f"{runs}, the second half of them to confirm: {'confirmed' if judgement.confirmed_by_rerun else 'not confirmed'}"


def plain_lines(judgement: GateJudgement) -> Iterator[tuple[Sign, str, str]]:
    """For a terminal: (sign, name, what changed)."""
    for row in rows(judgement):
        sides = f"{row.base} → {row.head}" if row.metric.base else row.head
        rest = "" if row.change == "–" else f", {row.change}"
        held = "" if row.metric.tolerance is None or row.metric.unit == "count" else f"; tolerance {row.tolerance}"
        yield row.sign, row.name, f"{sides}{rest}{held}"


def line_place(line: GrownLine) -> str:
    """Where it is: as the repository names it, where it has it."""
    file = line.path or line.file
    return f"{file}:{line.line}" if file and line.line else file


def line_sizes(line: GrownLine) -> str:
    """What it held in base and in head."""
    return f"{format_bytes(line.before_bytes)} → {format_bytes(line.after_bytes)}"
