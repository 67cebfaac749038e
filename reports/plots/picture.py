"""All runs in one picture, as SVG for the page and as PNG for anywhere else."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from profiling.judging.report import AnalysedRun, Report
from reports.plots.clients import draw_latency, draw_requests, draw_users
from reports.plots.layout import end_s, finite_max, memory_scale
from reports.plots.memory import draw_memory, is_empty
from reports.plots.panel import CHARACTER, PPI, Page, Panel
from reports.plots.svg import compact, recolour
from reports.plots.theme import (
    BETWEEN,
    DARK,
    FOOT,
    HEAD,
    KEY,
    LATENCY,
    LIGHT,
    MARGIN,
    NARROW,
    REQUESTS,
    USERS,
    WIDE,
    Format,
    Theme,
    curves,
)
from reports.words import pictured

# It warns of unusual cache directories and of glyphs that its fonts lack: nothing that a user can act on.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

RUNS_AT_MOST = 9
"""More runs would be a picture that nobody reads."""
_POINTS = 6000
"""About how many points the memory curves of one picture have in all."""


def curves_svgs(report: Report, *, narrow: bool = False) -> tuple[str, str]:
    """The picture as two SVG documents without a background: for light and for dark pages."""
    return svgs(lambda: _figure(pictured(report.runs)[:RUNS_AT_MOST], NARROW if narrow else WIDE, LIGHT))


def svgs(draw: Callable[[], Figure]) -> tuple[str, str]:
    """A figure in the light theme as two SVG documents: for light and for dark pages."""
    with _settings():
        out = io.StringIO()
        draw().savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    light = compact(out.getvalue())
    return light, recolour(light, LIGHT, DARK)


def curves_png(report: Report) -> bytes:
    """The wide, light picture as a PNG of twice its nominal size."""
    with _settings():
        figure = _figure(pictured(report.runs)[:RUNS_AT_MOST], WIDE, LIGHT)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=2 * PPI, facecolor=LIGHT.background, metadata={"Software": None})
    return out.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib's settings for the time of one picture, and no warnings of glyphs that its fonts lack."""
    settings = mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: sharp, small, in the reader's own font
            "svg.hashsalt": "oomproof",  # the same figure gives the same bytes
            "font.family": ["DejaVu Sans"],
            "hatch.linewidth": 1.0,
        }
    )
    with settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, slots=True)
class _Most:
    """Upper ends of the axes that all runs share."""

    time_s: float
    users: float
    rps: float
    p95_ms: float

    @classmethod
    def of(cls, runs: Sequence[AnalysedRun]) -> _Most:
        def most(values: list[float]) -> float:
            return max(values, default=0.0) or 1.0

        return cls(
            time_s=most([end_s(run) for run in runs]),
            users=most([finite_max(run.load.users) for run in runs]),
            rps=most([finite_max(run.load.rps + run.load.failures) for run in runs]),
            p95_ms=most([finite_max(run.load.p95_ms) for run in runs]),
        )


def _figure(runs: Sequence[AnalysedRun], form: Format, theme: Theme) -> Figure:
    """A block per run, side by side up to the format's number of columns, all on the same axes."""
    count = max(1, len(runs))
    columns = 2 if count == 4 and form.columns_at_most > 2 else min(count, form.columns_at_most)
    rows = -(-count // columns)
    last = {min((row + 1) * columns, count) - 1 for row in range(rows)}
    named_beside = form.right > 0 and bool(runs) and not any(is_empty(runs[number]) for number in last)
    key, right = (0, form.right) if named_beside else (KEY, MARGIN)
    loaded = shows_load(runs)
    clients = USERS + REQUESTS + LATENCY + 3 * BETWEEN if loaded else 0
    height = HEAD + form.memory + clients + FOOT
    page = Page(form.width, key + rows * height)
    if key:
        _key(page, form, theme)
    width = (form.width - form.left - right - (columns - 1) * form.gap) / columns
    most, scale = _Most.of(runs), memory_scale(runs)
    points = max(20, int(min(width, _POINTS / (6 * count))))
    for number, run in enumerate(runs):
        row, column = divmod(number, columns)
        left, top = form.left + column * (width + form.gap), key + row * height + HEAD

        def panel(down: float, tall: float, left: float = left, first: bool = column == 0) -> Panel:
            return Panel(page, (left, down, width, tall), theme, form.font, labelled=first)

        names = named_beside and number in last
        lowest = panel(top, form.memory)
        draw_memory(lowest, run, scale, most.time_s, points, names=names)
        if loaded:
            top += form.memory + BETWEEN
            draw_users(panel(top, USERS), run, most.time_s, most.users, points)
            top += USERS + BETWEEN
            draw_requests(panel(top, REQUESTS), run, most.time_s, most.rps, points // 2)
            lowest = panel(top + REQUESTS + BETWEEN, LATENCY)
            draw_latency(lowest, run, most.time_s, most.p95_ms, points)
        lowest.name_time()
    return page.figure


def shows_load(runs: Sequence[AnalysedRun]) -> bool:
    """Whether there is anything to say of clients: nobody sends to what is only watched."""
    return not runs or any(run.result.load is not None for run in runs)


def _key(page: Page, form: Format, theme: Theme) -> None:
    """The curves' names in a line at the top."""
    strip = Panel(page, (0, 0, form.width, KEY), theme, form.font, labelled=False)
    strip.axes.set_axis_off()
    x, y = form.left if form.columns_at_most > 1 else 2.0, KEY / 2
    for curve in curves(theme):
        strip.stroke((x, y), (x + 20, y), color=curve.colour, linewidth=curve.width, linestyle=curve.style)
        strip.write(x + 26, y, curve.name, colour=curve.colour, size=form.font, va="center", bold=curve.bold)
        x += 26 + len(curve.name) * form.font * CHARACTER + 16
