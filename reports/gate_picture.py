"""A gate's metrics as a picture of characters: where neither files nor scripts are shown, as in a job's summary."""

from __future__ import annotations

from profiling.judging.change_words import NAMES
from profiling.regressions import GateJudgement, MetricChange
from profiling.units import format_change

_WIDTH = 41
"""Odd, so that there is a middle."""
_BAND, _ZERO, _LOW, _BETWEEN, _HIGH, _ESTIMATE = "░", "┊", "├", "─", "┤", "●"


def picture(judgement: GateJudgement) -> list[str]:
    """Each judged share of base as an interval on one scale, with what is tolerated; no lines where there is none."""
    shown = [
        metric for metric in judgement.metrics if metric.relative and metric.tolerance and metric.change is not None
    ]
    if not shown:
        return []
    reach = 1.1 * max(abs(value) for metric in shown for value in _ends(metric))
    names = [NAMES.get(metric.name, metric.name) for metric in shown]
    wide = max(map(len, names))
    scale = format_change(reach).lstrip("+")
    half = _WIDTH // 2
    axis = f"−{scale}".ljust(half) + "0" + f"+{scale}".rjust(half)
    return [
        *(f"{name:<{wide}}  {_row(metric, reach)}".rstrip() for name, metric in zip(names, shown, strict=True)),
        f"{'':<{wide}}  {axis}",
        f"{_ESTIMATE} change of base, {_LOW}{_BETWEEN}{_HIGH} its interval, {_BAND} tolerated",
    ]


def _ends(metric: MetricChange) -> list[float]:
    ends = (metric.change, metric.low, metric.high, 1.5 * (metric.tolerance or 0.0))
    return [value for value in ends if value is not None]


def _row(metric: MetricChange, reach: float) -> str:
    cells = [" "] * _WIDTH

    def at(value: float) -> int:
        return round((value / reach + 1) / 2 * (_WIDTH - 1))

    def fill(low: float, high: float, sign: str) -> None:
        for place in range(at(low), at(high) + 1):
            cells[place] = sign

    tolerance, change = metric.tolerance or 0.0, metric.change or 0.0
    fill(-tolerance, tolerance, _BAND)
    cells[at(0.0)] = _ZERO
    if metric.low is not None and metric.high is not None:
        fill(metric.low, metric.high, _BETWEEN)
        cells[at(metric.low)], cells[at(metric.high)] = _LOW, _HIGH
    cells[at(change)] = _ESTIMATE
    return "".join(cells)
