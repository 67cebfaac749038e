"""The ledger as a waterfall: each part's bar begins where the one above it ends, up to the limit."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from profiling.profiles import Ledger
from profiling.units import format_bytes
from reports.ledger import HEADROOM, UNEXPLAINED, Row, rows, size
from reports.plots.panel import Panel
from reports.plots.picture import svgs
from reports.plots.rows import LEAST_BAR, Form, begin, label
from reports.plots.theme import LIGHT, Theme

_WIDE = Form(width=1040, names=270, sizes=84, row=25, bar=15, font=12, head=24, foot=6)
_NARROW = Form(width=332, names=0, sizes=0, row=34, bar=11, font=11.5, head=24, foot=6)


def waterfall_svgs(ledger: Ledger, *, narrow: bool = False) -> tuple[str, str]:
    """The picture as two SVG documents without a background: for light and for dark pages."""
    return svgs(lambda: _figure(ledger, _NARROW if narrow else _WIDE, LIGHT))


def _figure(ledger: Ledger, form: Form, theme: Theme) -> Figure:
    bars = rows(ledger)
    page, panel = begin(form, len(bars), theme)
    scale = form.room / max(1, ledger.limit_bytes, ledger.unreclaimable_bytes)
    bases = [form.base_of(form.top_of(number, len(bars))) for number in range(len(bars))]
    _limits(panel, ledger, form, bases, scale)
    for number, (row, base) in enumerate(zip(bars, bases, strict=True)):
        _bar(panel, row, form, base, scale)
        if form.names and number + 1 < len(bars):  # no text between: a thin line leads to where the next begins
            down = form.names + scale * row.end
            gap = form.row - form.bar
            panel.stroke((down, base), (down, base - gap), color=theme.muted, linewidth=0.8, zorder=2)
    return page.figure


def _limits(panel: Panel, ledger: Ledger, form: Form, bases: Sequence[float], scale: float) -> None:
    """Two lines from top to bottom: where the kernel can take nothing back, and the limit. Where text stands across them, only
    beside the bars, whose lower edges are `bases`."""
    theme, top = panel.theme, panel.height - form.head + 4
    used, limit = (form.names + scale * at for at in (ledger.unreclaimable_bytes, ledger.limit_bytes))
    spans = [(0.0, top)] if form.names else [(base - 2, base + form.bar + 1) for base in bases]
    for low, high in spans:
        panel.stroke((limit, low), (limit, high), color=theme.text, linewidth=1.3, zorder=2)
        panel.stroke((used, low), (used, high), color=theme.unreclaimable, linewidth=1, linestyle=":", zorder=2)
    name = f"limit {format_bytes(ledger.limit_bytes)}"
    panel.write(limit, top + 3, name, colour=theme.text, ha="right", bold=True)
    text = f"unreclaimable {format_bytes(ledger.unreclaimable_bytes)}"
    edge = min(used, limit - panel.width_of(name) - 12)
    panel.write(edge, top + 3, text, colour=theme.unreclaimable, ha="right", bold=True)


def _bar(panel: Panel, row: Row, form: Form, base: float, scale: float) -> None:
    theme = panel.theme
    start, end = form.names + scale * min(row.start, row.end), form.names + scale * max(row.start, row.end)
    unexplained = row.group == UNEXPLAINED
    bar = Rectangle(
        (start, base),
        max(LEAST_BAR, end - start),
        form.bar,
        facecolor=theme.background if unexplained else _colour(theme, row.group),
        edgecolor=theme.bad if unexplained else theme.muted if row.group == HEADROOM else "none",
        linewidth=0.8 if unexplained or row.group == HEADROOM else 0,
        hatch="//////" if unexplained else None,
        zorder=3,
    )
    panel.axes.add_patch(bar)
    colour = theme.bad if unexplained else theme.muted if row.group == HEADROOM else theme.text
    label(panel, form, base, row.name, size(row.bytes), colour=colour, bold=unexplained)


def _colour(theme: Theme, group: str) -> str:
    """By what kind of thing it is; each row bears its name, so that nothing hangs on the colour."""
    return {
        "interpreter": theme.unreclaimable,
        "imports": theme.unreclaimable,
        "model": theme.rss,
        "heap": theme.answered,
        "requests": theme.answered,
        "native": theme.answered,
        "allocator": theme.latency,
        HEADROOM: theme.grid,
    }.get(group, theme.charged)
