"""How metrics and their changes read, in every renderer alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from profiling.judging.regression import GROWTH, HEAP, KILLS, PEAK, REST
from profiling.regressions import MetricChange
from profiling.units import format_bytes, format_change, format_ms

NAMES = {
    PEAK: "peak of unreclaimable memory",
    KILLS: "OOM kills",
    REST: "held at rest after the load",
    "startup_peak": "peak at the start",
    GROWTH: "growth per request",
    "p95": "p95 latency",
    HEAP: "peak heap, by memray",
}


def changed(metric: MetricChange) -> str:
    """A change with its interval: `+8.2 % (+8.1 to +8.4)`."""
    if metric.change is None:
        return "–"
    estimate, ends = amount(metric, metric.change), interval(metric)
    return f"{estimate} ({ends})" if ends else estimate


def interval(metric: MetricChange) -> str:
    """Its ends: `+8.1 to +8.4 %`; empty where there are none."""
    if metric.low is None or metric.high is None:
        return ""
    low, high = amount(metric, metric.low), amount(metric, metric.high)
    return f"{low.removesuffix(' %')} to {high}"


def amount(metric: MetricChange, value: float) -> str:
    """A change in its unit, with its sign."""
    if metric.relative:
        return format_change(value)
    if metric.unit == "count":
        return f"{value:+g}"
    sign = "-" if value < 0 else "+"
    return f"{sign}{format_bytes(abs(value))}/request"


def level(metric: MetricChange, values: Sequence[float]) -> str:
    """The median of one side's runs with its unit."""
    if not values:
        return "–"
    middle = median(values)
    if metric.unit == "count":
        return f"{sum(values):g}"
    if metric.unit == "ms":
        return format_ms(middle)
    return (
        format_bytes(middle)
        if metric.unit == "bytes"
        else f"{'-' if middle < 0 else ''}{format_bytes(abs(middle))}/request"
    )
