"""A page of panels by absolute position, and what every panel has: axes of one look, and text at a pixel."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Affine2D, BboxTransformTo, ScaledTranslation, Transform

from profiling.judging.report import AnalysedRun
from reports.figures import rate
from reports.plots.theme import Fill, Theme
from reports.words import printable

PPI = 72
"""At 72 dots per inch matplotlib's point is a pixel."""
_UNITS_AT_LEAST = 5
"""A time axis is in minutes or hours from so many on."""
CHARACTER = 0.66
"""Width of a character as a share of the font's size: a little more than that of most, bold ones included."""


class Page:
    """A figure of so many pixels, measured from its top left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / PPI, height / PPI), dpi=PPI, facecolor="none")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, facecolor="none")


class Panel:
    """Axes of `width` by `height` pixels on a page, `span_s` seconds across and `top` units high."""

    def __init__(
        self, page: Page, at: tuple[float, float, float, float], theme: Theme, font: float, *, labelled: bool
    ) -> None:
        self.theme, self.font, self.labelled = theme, font, labelled
        _, _, self.width, self.height = at
        self.span_s = self.top = 1.0
        self.axes = page.axes(*at)
        self.axes.spines[["top", "right", "left"]].set_visible(False)
        self.axes.spines["bottom"].set(color=theme.grid, linewidth=1)
        self.axes.tick_params(
            left=False, bottom=False, labelsize=font - 1, labelcolor=theme.muted, labelbottom=False, pad=5
        )
        self.axes.tick_params(axis="y", labelleft=labelled)
        self.axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
        self.axes.set_axisbelow(True)
        self.axes.yaxis.set_major_locator(MaxNLocator(nbins=2, steps=[1, 2, 5, 10]))
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        self.axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(self.width / 70)), steps=[1, 2, 5, 10]))
        self.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        self._pixels = _pixels(self.axes)

    def scale(self, span_s: float, top: float) -> None:
        self.span_s, self.top = span_s, top
        self.axes.set(xlim=(0, span_s), ylim=(0, top))

    def name_time(self) -> None:
        """Numbers and a name for the time axis, below the lowest panel of a run."""
        unit, name, steps = _time_unit(self.span_s)
        places = MaxNLocator(nbins=max(2, int(self.width / 70)), steps=steps).tick_values(0, self.span_s / unit)
        self.axes.set_xticks([place * unit for place in places if 0 <= place * unit <= self.span_s])
        self.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value / unit)))
        self.name_across(f"{name} since the run's start")

    def name_across(self, unit: str) -> None:
        """Numbers and a name for the axis across, below the lowest panel."""
        self.axes.tick_params(labelbottom=True)
        self.axes.set_xlabel(unit, color=self.theme.muted, fontsize=self.font - 1, loc="right", labelpad=3)

    def x(self, t_s: float) -> float:
        """Pixels from the left."""
        return t_s / self.span_s * self.width

    def y(self, value: float) -> float:
        """Pixels from the bottom."""
        return value / self.top * self.height

    def seconds(self, px: float) -> float:
        return px * self.span_s / self.width

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str | None = None,
        size: float | None = None,
        ha: str = "left",
        va: str = "bottom",
        bold: bool = False,
        behind: str | None = None,
    ) -> None:
        """Text at a pixel, counted from the lower left corner; never read as TeX nor cut off at the axes."""
        self.axes.text(
            x,
            y,
            printable(text),
            color=colour or self.theme.muted,
            fontsize=size or self.font - 0.5,
            ha=ha,
            va=va,
            fontweight="bold" if bold else "normal",
            transform=self._pixels,
            parse_math=False,
            clip_on=False,
            zorder=10,
            bbox={"facecolor": behind, "edgecolor": "none", "alpha": 0.85, "pad": 1.2} if behind else None,
        )

    def stroke(self, start: tuple[float, float], end: tuple[float, float], **line: object) -> None:
        """A straight line between two pixels; `line` is matplotlib's."""
        (x0, y0), (x1, y1) = start, end
        self.axes.plot([x0, x1], [y0, y1], transform=self._pixels, clip_on=False, **line)  # type: ignore[arg-type]

    def cross(self, x: float, y: float) -> None:
        """A cross at a pixel, set off from what it lies on."""
        self.axes.plot(
            [x],
            [y],
            transform=self._pixels,
            marker="X",
            markersize=8,
            color=self.theme.bad,
            markeredgecolor=self.theme.background,
            markeredgewidth=0.8,
            clip_on=False,
            zorder=9,
        )

    def dot(self, x: float, y: float, marker: str, *, colour: str, hollow: bool = False) -> None:
        """A mark of matplotlib's at a pixel."""
        self.axes.plot(
            [x],
            [y],
            transform=self._pixels,
            marker=marker,
            markersize=8,
            color=colour,
            markerfacecolor=self.theme.background if hollow else colour,
            markeredgecolor=colour if hollow else self.theme.background,
            markeredgewidth=1.4 if hollow else 0.8,
            clip_on=False,
            zorder=9,
        )

    def width_of(self, text: str, size: float | None = None) -> float:
        """About how many pixels a text is wide."""
        return len(text) * (size or self.font - 0.5) * CHARACTER

    def title(self, text: str, parts: tuple[Fill, ...] = ()) -> None:
        """The panel's name above its left end, and behind it its parts' names in their colours."""
        if not self.labelled:
            return
        y = self.height + 5
        self.write(0, y, text, bold=True)
        x = self.width_of(text) + 10
        for part in parts:
            swatch = Rectangle(
                (x, y + 2),
                14,
                8,
                facecolor=part.face,
                edgecolor=part.edge,
                hatch=part.hatch,
                linewidth=0,
                transform=self._pixels,
                clip_on=False,
            )
            self.axes.add_patch(swatch)
            self.write(x + 18, y, part.name, colour=part.edge)
            x += 18 + self.width_of(part.name) + 10

    def nothing(self, text: str, run: AnalysedRun) -> None:
        """Says why the panel is empty, in the middle of the load or of the panel."""
        start_s, end_s = run.load_s or (0.0, self.span_s)
        half = self.width_of(text) / 2
        x = min(max(self.x((start_s + end_s) / 2), half), self.width - half)
        self.write(x, self.height / 2, text, ha="center", va="center")

    def spans(self, run: AnalysedRun) -> None:
        """The load as a band in the background, readiness as a dotted line."""
        if run.load_s:
            self.axes.axvspan(*run.load_s, color=self.theme.band, linewidth=0, zorder=0)
        if run.ready_s is not None:
            self.axes.axvline(run.ready_s, color=self.theme.muted, linewidth=1, linestyle=":", zorder=2)


def _time_unit(span_s: float) -> tuple[float, str, list[float]]:
    """The unit of the time axis in seconds, its name, and the steps between its numbers that people find even."""
    if span_s >= _UNITS_AT_LEAST * 3600:
        return 3600.0, "h", [1, 2, 3, 6, 10]
    if span_s >= _UNITS_AT_LEAST * 60:
        return 60.0, "min", [1, 2, 5, 10]
    return 1.0, "s", [1, 2, 5, 10]


def _tick(value: float) -> str:
    return rate(value) if value >= 1 or value == 0 else f"{value:g}"


def _pixels(axes: Axes) -> Transform:
    """Pixels from the lower left corner of the axes, at any resolution of the figure."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    corner = ScaledTranslation(box.x0, box.y0, BboxTransformTo(figure.bbox))
    return Affine2D().scale(1 / PPI) + figure.dpi_scale_trans + corner
