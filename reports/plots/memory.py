"""The memory of one run against its limit."""

from __future__ import annotations

import itertools

import numpy as np

from profiling.judging.report import AnalysedRun, Array
from profiling.units import format_bytes, format_percent, format_seconds
from reports.plots.layout import Mark, MemoryScale, dodge, finite_max, group
from reports.plots.panel import Panel
from reports.plots.resample import thin
from reports.plots.theme import curves
from reports.words import kills, outcome_sign, shorten

_STRIP = 18
"""Height of the line above the panel in which readiness and load are named."""


def draw_memory(panel: Panel, run: AnalysedRun, scale: MemoryScale, span_s: float, points: int, *, names: bool) -> None:
    """Curves, limit, kills, readiness and load; `names`: the curves' names beside their ends."""
    panel.scale(span_s, scale.top_bytes / scale.unit_bytes)
    panel.axes.set_yticks(scale.ticks)
    if panel.labelled:
        panel.write(-5, panel.height + 4, scale.unit, size=panel.font - 1, ha="right")
    panel.spans(run)
    for depth, curve in enumerate(reversed(curves(panel.theme))):
        t_s, sizes = thin(run.memory.t_s, getattr(run.memory, curve.field), points)
        panel.axes.plot(
            t_s,
            sizes / scale.unit_bytes,
            color=curve.colour,
            linewidth=curve.width,
            linestyle=curve.style,
            zorder=3 + depth,
        )
    if is_empty(run):
        panel.nothing("no memory was sampled", run)
    _head(panel, run)
    _events(panel, run)
    _limit(panel, run, scale)
    _kills(panel, run, scale)
    _cut_off(panel, run, scale)
    if names:
        _names(panel, run, scale)


def is_empty(run: AnalysedRun) -> bool:
    return not bool(np.isfinite(run.memory.unreclaimable).any())


def _head(panel: Panel, run: AnalysedRun) -> None:
    """The run's name, and under it its outcome with what fits of its figures."""
    summary, y = run.summary, panel.height + _STRIP
    sign = outcome_sign(summary)
    room = int(panel.width / panel.width_of("x", panel.font + 2))
    panel.write(0, y + 22, shorten(summary.name, room), colour=panel.theme.text, size=panel.font + 2, bold=True)
    facts = [f"{sign.symbol} {sign.word}"]
    if summary.oom_kills:
        facts.append(kills(summary.oom_kills))
    if summary.peak_unreclaimable_bytes is not None:
        facts.append(f"peak {format_bytes(summary.peak_unreclaimable_bytes)}")
    if summary.availability is not None:
        facts.append(f"{format_percent(summary.availability)} answered")
    while len(facts) > 1 and panel.width_of(", ".join(facts), panel.font) > panel.width:
        facts.pop()
    panel.write(0, y + 5, ", ".join(facts), colour=panel.theme.tone(sign.tone), size=panel.font, bold=True)


def _events(panel: Panel, run: AnalysedRun) -> None:
    """Readiness named left of where it was reached and the load right of where it began, if there is room."""
    size, y = panel.font - 1, panel.height + 4
    load = f"load {format_seconds(round(run.load_s[1] - run.load_s[0], 1))}" if run.load_s else ""
    if run.ready_s is not None:
        ready, x = f"ready {format_seconds(round(run.ready_s, 1))}", panel.x(run.ready_s)
        if x > panel.width_of(ready, size):
            panel.write(x - 2, y, ready, size=size, ha="right")
        else:
            panel.write(x, y, f"{ready}, {load}" if load else ready, size=size)
            return
    if run.load_s:
        panel.write(panel.x(run.load_s[0]) + 4, y, load, size=size)


def _limit_y(panel: Panel, run: AnalysedRun, scale: MemoryScale) -> float:
    """Where the limit's line is, in pixels; just below the panel's end if the limit lies beyond, or there is none."""
    limit = run.summary.memory_limit_bytes
    return panel.y(limit / scale.unit_bytes) if limit and scale.shows(limit) else panel.height - 22


def _limit(panel: Panel, run: AnalysedRun, scale: MemoryScale) -> None:
    limit = run.summary.memory_limit_bytes
    if limit is None:
        return
    assumed = run.result.watched is not None and run.result.watched.assumed
    text, colour = f"{'held against' if assumed else 'limit'} {format_bytes(limit)}", panel.theme.text
    if not scale.shows(limit):
        panel.write(
            panel.width - 2,
            panel.height - 3,
            f"↑ {text}, far above",
            colour=colour,
            ha="right",
            va="top",
            bold=True,
        )
        return
    y = _limit_y(panel, run, scale)
    panel.stroke((0, y), (panel.width, y), color=colour, linewidth=1.3, zorder=8)
    needed = panel.seconds(panel.width_of(text) + 10)
    if all(kill < panel.span_s - needed for kill in run.kills_s):
        panel.write(panel.width - 2, y + 4, text, colour=colour, ha="right", bold=True)
    elif all(kill > needed for kill in run.kills_s):
        panel.write(2, y + 4, text, colour=colour, bold=True)
    else:
        panel.write(panel.width - 2, y + 24, text, colour=colour, ha="right", bold=True)


def _kills(panel: Panel, run: AnalysedRun, scale: MemoryScale) -> None:
    """A cross on the limit's line for each kill; where several fall together, their number above."""
    y, theme = _limit_y(panel, run, scale), panel.theme
    for mark in group(run.kills_s, panel.seconds(3)):
        panel.cross(panel.x(mark.at_s), y)
    for mark in _counts(panel, run):
        if mark.count > 1:
            half = panel.width_of(f"{mark.count} kills") / 2
            x = min(max(panel.x(mark.at_s), half), panel.width - half)
            panel.write(
                x,
                y + 8,
                f"{mark.count:,} kills",
                colour=theme.bad,
                size=panel.font - 1,
                ha="center",
                bold=True,
                behind=theme.band,
            )


def _counts(panel: Panel, run: AnalysedRun) -> tuple[Mark, ...]:
    """Kills that fall together, in wider groups where their numbers would overlap."""
    close, wide = panel.seconds(16), panel.seconds(panel.width_of("99 kills") + 4)
    marks = group(run.kills_s, close)
    labelled = [mark.at_s for mark in marks if mark.count > 1]
    overlap = any(after - before < wide for before, after in itertools.pairwise(labelled))
    return group(run.kills_s, wide) if overlap else marks


def _cut_off(panel: Panel, run: AnalysedRun, scale: MemoryScale) -> None:
    """Says how far RSS goes where it leaves the panel, in the upper left corner, which is free at the start."""
    most = finite_max(run.memory.rss)
    if most > 1.02 * scale.top_bytes:
        text = f"↑ RSS up to {format_bytes(most)}"
        panel.write(4, panel.height - 3, text, colour=panel.theme.rss, va="top", behind=panel.theme.background)


def _names(panel: Panel, run: AnalysedRun, scale: MemoryScale) -> None:
    """Each curve's name at the height that it had when the load ended, moved apart where these are close."""
    found = []
    for curve in curves(panel.theme):
        height = _at_end_of_load(run, getattr(run.memory, curve.field))
        if height is not None:
            found.append((curve, min(panel.y(height / scale.unit_bytes), panel.height)))
    places = dodge([y for _, y in found], panel.font + 3, 4, panel.height)
    for (curve, y), place in zip(found, places, strict=True):
        panel.stroke((panel.width + 1, y), (panel.width + 9, place), color=curve.colour, linewidth=0.8)
        panel.write(
            panel.width + 11, place, curve.name, colour=curve.colour, size=panel.font, va="center", bold=curve.bold
        )


def _at_end_of_load(run: AnalysedRun, sizes: Array) -> float | None:
    """The last finite size before the load ended; without a load, the last of all."""
    end_s = run.load_s[1] if run.load_s else np.inf
    sizes = sizes[np.isfinite(sizes) & (run.memory.t_s <= end_s)]
    return float(sizes[-1]) if sizes.size else None
