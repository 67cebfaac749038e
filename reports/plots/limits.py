"""The limits that `size` tried, side by side from small to large: how each run ended, and above that the latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from profiling.sizing import Ending, SizeJudgement, Tried
from profiling.units import format_ms
from reports.plots.panel import Page, Panel
from reports.plots.picture import svgs
from reports.plots.theme import LIGHT, Theme

_NUMBERS_OF_MIB = 2**20


@dataclass(frozen=True, slots=True)
class _Form:
    """Measures, in pixels."""

    width: int
    left: int
    latency: int
    """Height of the latency panel."""
    font: float
    apart: int
    """Between the marks of runs under one limit."""


_WIDE = _Form(width=1040, left=64, latency=170, font=12, apart=17)
_NARROW = _Form(width=332, left=44, latency=130, font=11, apart=11)
_HEAD, _BETWEEN, _LANE, _FOOT = 44, 34, 34, 56


def limits_svgs(found: SizeJudgement, *, narrow: bool = False) -> tuple[str, str]:
    """The picture as two SVG documents without a background: for light and for dark pages."""
    return svgs(lambda: _figure(found, _NARROW if narrow else _WIDE, LIGHT))


def _figure(found: SizeJudgement, form: _Form, theme: Theme) -> Figure:
    columns = [
        (limit, [run for run in found.trials if run.limit_bytes == limit])
        for limit in sorted({run.limit_bytes for run in found.trials})
    ]
    page = Page(form.width, _HEAD + form.latency + _BETWEEN + _LANE + _FOOT)
    width = form.width - form.left - 8
    top = max((run.p95_ms for run in found.trials if run.p95_ms is not None), default=0.0)
    latency = Panel(page, (form.left, _HEAD, width, form.latency), theme, form.font, labelled=True)
    latency.scale(len(columns), 1.25 * top or 1.0)
    lane = Panel(page, (form.left, _HEAD + form.latency + _BETWEEN, width, _LANE), theme, form.font, labelled=True)
    lane.scale(len(columns), 1.0)
    for panel in (latency, lane):
        panel.axes.xaxis.set_ticks([])
    lane.axes.yaxis.set_ticks([])
    _border(latency, lane, [limit for limit, _ in columns], found)
    latency.write(0, form.latency + 5, "p95 latency (ms)", bold=True, behind=theme.background)
    lane.write(0, _LANE + 5, "each run, by its limit in MiB (not to scale)", bold=True, behind=theme.background)
    _key(lane, form)
    for number, (limit, runs) in enumerate(columns):
        middle = latency.x(number + 0.5)
        _column(latency, lane, middle, runs, form)
        end = limit in (found.smallest_passing_bytes, found.largest_failing_bytes)
        text = f"{limit / _NUMBERS_OF_MIB:,.0f}"
        lane.write(middle, -8, text, colour=theme.text if end else None, ha="center", va="top", bold=end)
    if not top:
        latency.write(width / 2, form.latency / 2, "no answer was timed", ha="center", va="center")
    return page.figure


def _border(latency: Panel, lane: Panel, limits: Sequence[int], found: SizeJudgement) -> None:
    """Where what fails ends and what passes begins; a band, where limits between are now one, now the other."""
    failing, passing = found.largest_failing_bytes, found.smallest_passing_bytes
    if failing is None or passing is None:
        return
    theme = latency.theme
    low, high = limits.index(failing), limits.index(passing)
    left, right = (low + 1, high) if high > low + 1 else ((low + high + 1) / 2,) * 2
    for panel in (latency, lane):
        panel.axes.axvspan(left, right, color=theme.band, linewidth=0, zorder=0)
    bottom, up = -(_BETWEEN + lane.height), latency.height + 16
    for x in dict.fromkeys((latency.x(left), latency.x(right))):
        latency.stroke((x, bottom), (x, up), color=theme.text, linewidth=1.2, linestyle="--", zorder=2)
    latency.write(latency.x(left) - 7, up + 4, "← fails", colour=theme.bad, ha="right", bold=True)
    latency.write(latency.x(right) + 7, up + 4, "passes →", colour=theme.good, bold=True)


def _column(latency: Panel, lane: Panel, middle: float, runs: Sequence[Tried], form: _Form) -> None:
    for number, run in enumerate(runs):
        x = middle + form.apart * (number - (len(runs) - 1) / 2)
        _mark(lane, x, lane.height / 2, run.ending)
        if run.p95_ms is not None:
            _point(latency, x, latency.y(run.p95_ms), passed=run.ending is Ending.PASSED)
    timed = [run.p95_ms for run in runs if run.p95_ms is not None]
    if timed:
        latency.write(middle, latency.y(max(timed)) + 9, format_ms(max(timed)), ha="center", size=form.font - 1)


def _mark(panel: Panel, x: float, y: float, ending: Ending) -> None:
    """A circle for what passed, a cross for a kill, a triangle for any other failure, a hollow one for what says nothing."""
    if ending is Ending.KILLED:
        panel.cross(x, y)
    elif ending is Ending.PASSED:
        panel.dot(x, y, "o", colour=panel.theme.good)
    elif ending is Ending.UNUSABLE:
        panel.dot(x, y, "o", colour=panel.theme.unsure, hollow=True)
    else:
        panel.dot(x, y, "v", colour=panel.theme.bad)


def _point(panel: Panel, x: float, y: float, *, passed: bool) -> None:
    panel.dot(x, y, "o", colour=panel.theme.latency, hollow=not passed)


def _key(panel: Panel, form: _Form) -> None:
    """What the marks mean, at the foot."""
    x = 6.0
    for ending, name in ((Ending.PASSED, "passes"), (Ending.KILLED, "OOM-killed"), (Ending.SLOW, "fails otherwise")):
        _mark(panel, x, -39, ending)
        panel.write(x + 9, -45, name, size=form.font - 1)
        x += panel.width_of(name, form.font - 1) + 28
