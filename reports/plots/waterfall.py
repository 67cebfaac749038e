"""The ledger as a waterfall: each part's bar begins where the one above it ends, up to the limit."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from profiling.profiles import Ledger
from profiling.units import format_bytes
from reports.ledger import HEADROOM, UNEXPLAINED, Row, rows, size
from reports.plots.panel import Page, Panel
from reports.plots.picture import svgs
from reports.plots.theme import LIGHT, Theme
from reports.words import shorten


@dataclass(frozen=True, slots=True)
class _Form:
    """Measures, in pixels."""

    width: int
    names: int
    """Width of the names' column; 0: they stand above their bars."""
    sizes: int
    """Width of the column of sizes."""
    row: int
    bar: int
    font: float


_WIDE = _Form(width=1040, names=270, sizes=84, row=25, bar=15, font=12)
_NARROW = _Form(width=332, names=0, sizes=0, row=34, bar=11, font=11.5)
_HEAD, _FOOT = 24, 6
_LEAST_BAR = 1.5


def waterfall_svgs(ledger: Ledger, *, narrow: bool = False) -> tuple[str, str]:
    """The picture as two SVG documents without a background: for light and for dark pages."""
    return svgs(lambda: _figure(ledger, _NARROW if narrow else _WIDE, LIGHT))


def _figure(ledger: Ledger, form: _Form, theme: Theme) -> Figure:
    bars = rows(ledger)
    height = _HEAD + form.row * len(bars) + _FOOT
    page = Page(form.width, height)
    panel = Panel(page, (0, 0, form.width, height), theme, form.font, labelled=False)
    panel.scale(form.width, height)
    panel.axes.set_axis_off()
    left, right = form.names, form.width - form.sizes - 8
    scale = (right - left) / max(1, ledger.limit_bytes, ledger.unreclaimable_bytes)
    _limits(panel, ledger, form, scale)
    for number, row in enumerate(bars):
        top = height - _HEAD - number * form.row
        below = bars[number + 1] if number + 1 < len(bars) else None
        _bar(panel, row, below, form, (left, top), scale)
    return page.figure


def _limits(panel: Panel, ledger: Ledger, form: _Form, scale: float) -> None:
    """Two lines from top to bottom: where the kernel can take nothing back, and the limit. Where text stands across them, only
    beside the bars."""
    theme, top = panel.theme, panel.height - _HEAD + 4
    used, limit = (form.names + scale * at for at in (ledger.unreclaimable_bytes, ledger.limit_bytes))
    spans = [(0.0, top)]
    if not form.names:
        bases = [top - 4 - form.row * (number + 1) + 5 for number in range(len(rows(ledger)))]
        spans = [(base - 2, base + form.bar + 1) for base in bases]
    for low, high in spans:
        panel.stroke((limit, low), (limit, high), color=theme.text, linewidth=1.3, zorder=2)
        panel.stroke((used, low), (used, high), color=theme.unreclaimable, linewidth=1, linestyle=":", zorder=2)
    name = f"limit {format_bytes(ledger.limit_bytes)}"
    panel.write(limit, top + 3, name, colour=theme.text, ha="right", bold=True)
    text = f"unreclaimable {format_bytes(ledger.unreclaimable_bytes)}"
    edge = min(used, limit - panel.width_of(name) - 12)
    panel.write(edge, top + 3, text, colour=theme.unreclaimable, ha="right", bold=True)


def _bar(panel: Panel, row: Row, below: Row | None, form: _Form, at: tuple[float, float], scale: float) -> None:
    """One row, its upper left corner `at`; where there is no text between, a thin line leads from its end down to
    where the next begins."""
    theme, (left, top) = panel.theme, at
    beside = form.names > 0
    base = top - (form.row + form.bar) / 2 if beside else top - form.row + 5
    start, end = left + scale * min(row.start, row.end), left + scale * max(row.start, row.end)
    unexplained = row.group == UNEXPLAINED
    bar = Rectangle(
        (start, base),
        max(_LEAST_BAR, end - start),
        form.bar,
        facecolor=theme.background if unexplained else _colour(theme, row.group),
        edgecolor=theme.bad if unexplained else theme.muted if row.group == HEADROOM else "none",
        linewidth=0.8 if unexplained or row.group == HEADROOM else 0,
        hatch="//////" if unexplained else None,
        zorder=3,
    )
    panel.axes.add_patch(bar)
    if beside and below is not None:
        down = left + scale * row.end
        gap = form.row - form.bar
        panel.stroke((down, base), (down, base - gap), color=theme.muted, linewidth=0.8, zorder=2)
    strong = unexplained
    colour = theme.bad if unexplained else theme.muted if row.group == HEADROOM else theme.text
    amount = size(row.bytes)
    if beside:
        room = int(form.names / panel.width_of("x", form.font)) + 4
        middle = base + form.bar / 2
        panel.write(
            left - 12,
            middle,
            shorten(row.name, room),
            colour=colour,
            size=form.font,
            ha="right",
            va="center",
            bold=strong,
        )
        panel.write(panel.width, middle, amount, colour=colour, size=form.font, ha="right", va="center", bold=strong)
        return
    room = int((panel.width - panel.width_of(amount) - 14) / panel.width_of("x", form.font)) + 3
    line = base + form.bar + 3
    panel.write(0, line, shorten(row.name, room), colour=colour, size=form.font, bold=strong)
    panel.write(panel.width, line, amount, colour=colour, size=form.font, ha="right", bold=strong)


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
