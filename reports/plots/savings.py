"""The levers as a waterfall: the peak as it is, what each of the best takes away, and what is left, against the limit."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from profiling.levers import LeversJudgement
from profiling.units import format_bytes
from reports.levering import AS_IS, TOGETHER, waterfall
from reports.plots.panel import Page, Panel
from reports.plots.picture import svgs
from reports.plots.theme import LIGHT, Theme
from reports.words import shorten, signed


@dataclass(frozen=True, slots=True)
class _Form:
    """Measures, in pixels."""

    width: int
    names: int
    """Width of the names' column; 0: they stand above their bars."""
    sizes: int
    row: int
    bar: int
    font: float


_WIDE = _Form(width=1040, names=200, sizes=96, row=34, bar=20, font=12)
_NARROW = _Form(width=332, names=0, sizes=0, row=42, bar=14, font=11.5)
_HEAD, _FOOT = 26, 8
_LEAST_BAR = 1.5


def savings_svgs(found: LeversJudgement, *, narrow: bool = False) -> tuple[str, str]:
    """The picture as two SVG documents without a background: for light and for dark pages."""
    return svgs(lambda: _figure(found, _NARROW if narrow else _WIDE, LIGHT))


def _figure(found: LeversJudgement, form: _Form, theme: Theme) -> Figure:
    bars = waterfall(found)
    height = _HEAD + form.row * len(bars) + _FOOT
    page = Page(form.width, height)
    panel = Panel(page, (0, 0, form.width, height), theme, form.font, labelled=False)
    panel.scale(form.width, height)
    panel.axes.set_axis_off()
    left, right = form.names, form.width - form.sizes - 8
    most = max(found.limit_bytes, *(max(before, after) for _, before, after in bars)) if bars else found.limit_bytes
    scale = (right - left) / most
    limit = left + scale * found.limit_bytes
    for number, (name, before, after) in enumerate(bars):
        top = height - _HEAD - number * form.row
        _bar(panel, form, (name, before, after), (left, top), scale, limit)
        # Where names and sizes stand above the bars, the limit is drawn beside the bars alone.
        base = top - form.row + 5
        low, high = (top - form.row, top) if form.names else (base - 2, base + form.bar + 2)
        panel.stroke((limit, low), (limit, high), color=theme.text, linewidth=1.3, zorder=4)
    text = f"limit {format_bytes(found.limit_bytes)}"
    edge = max(limit, panel.width_of(text))
    panel.write(edge, height - _HEAD + 5, text, colour=theme.text, ha="right", bold=True)
    return page.figure


def _bar(
    panel: Panel, form: _Form, bar: tuple[str, int, int], at: tuple[float, float], scale: float, limit: float
) -> None:
    theme, (name, before, after), (left, top) = panel.theme, bar, at
    end = name in (AS_IS, TOGETHER)
    low, high = sorted((before, after))
    beside = form.names > 0
    base = top - (form.row + form.bar) / 2 if beside else top - form.row + 5
    over = end and left + scale * after > limit + 0.5
    colour = (theme.bad if over else theme.unreclaimable) if end else theme.good if after <= before else theme.bad
    panel.axes.add_patch(
        Rectangle(
            (left + scale * low, base), max(_LEAST_BAR, scale * (high - low)), form.bar, facecolor=colour, linewidth=0,
            zorder=3,
        )
    )  # fmt: skip
    size = format_bytes(after) if end else signed(after - before)
    text = theme.text if end else theme.muted
    middle = base + form.bar / 2
    if beside:
        shown = shorten(name, int(form.names / panel.width_of("x", form.font)) + 3)
        panel.write(left - 12, middle, shown, colour=text, size=form.font, ha="right", va="center", bold=end)
        panel.write(panel.width, middle, size, colour=text, size=form.font, ha="right", va="center", bold=end)
        return
    line = base + form.bar + 3
    panel.write(0, line, shorten(name, 30), colour=text, size=form.font, bold=end)
    panel.write(panel.width, line, size, colour=text, size=form.font, ha="right", bold=end)
