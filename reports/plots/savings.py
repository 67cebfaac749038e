"""The levers as a waterfall: the peak as it is, what each of the best takes away, and what is left, against the limit."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from profiling.levers import LeversJudgement
from profiling.units import format_bytes
from reports.levering import AS_IS, TOGETHER, waterfall
from reports.plots.panel import Panel
from reports.plots.picture import svgs
from reports.plots.rows import LEAST_BAR, Form, begin, label
from reports.plots.theme import LIGHT, Theme
from reports.words import signed

_WIDE = Form(width=1040, names=200, sizes=96, row=34, bar=20, font=12, head=26, foot=8)
_NARROW = Form(width=332, names=0, sizes=0, row=42, bar=14, font=11.5, head=26, foot=8)


def savings_svgs(found: LeversJudgement, *, narrow: bool = False) -> tuple[str, str]:
    """The picture as two SVG documents without a background: for light and for dark pages."""
    return svgs(lambda: _figure(found, _NARROW if narrow else _WIDE, LIGHT))


def _figure(found: LeversJudgement, form: Form, theme: Theme) -> Figure:
    bars = waterfall(found)
    page, panel = begin(form, len(bars), theme)
    most = max(found.limit_bytes, *(max(before, after) for _, before, after in bars)) if bars else found.limit_bytes
    scale = form.room / most
    limit = form.names + scale * found.limit_bytes
    for number, (name, before, after) in enumerate(bars):
        top = form.top_of(number, len(bars))
        base = form.base_of(top)
        _bar(panel, form, (name, before, after), base, scale, limit)
        # Where names and sizes stand above the bars, the limit is drawn beside the bars alone.
        low, high = (top - form.row, top) if form.names else (base - 2, base + form.bar + 2)
        panel.stroke((limit, low), (limit, high), color=theme.text, linewidth=1.3, zorder=4)
    text = f"limit {format_bytes(found.limit_bytes)}"
    edge = max(limit, panel.width_of(text))
    panel.write(edge, panel.height - form.head + 5, text, colour=theme.text, ha="right", bold=True)
    return page.figure


def _bar(panel: Panel, form: Form, bar: tuple[str, int, int], base: float, scale: float, limit: float) -> None:
    theme, (name, before, after) = panel.theme, bar
    end = name in (AS_IS, TOGETHER)
    low, high = sorted((before, after))
    over = end and form.names + scale * after > limit + 0.5
    colour = (theme.bad if over else theme.unreclaimable) if end else theme.good if after <= before else theme.bad
    size = (max(LEAST_BAR, scale * (high - low)), form.bar)
    panel.axes.add_patch(Rectangle((form.names + scale * low, base), *size, facecolor=colour, linewidth=0, zorder=3))
    amount = format_bytes(after) if end else signed(after - before)
    label(panel, form, base, name, amount, colour=theme.text if end else theme.muted, bold=end)
