"""Rows of a picture, each a bar with its name before and its size behind it; on a phone both stand above the bar."""

from __future__ import annotations

from dataclasses import dataclass

from reports.plots.panel import Page, Panel
from reports.plots.theme import Theme
from reports.words import shorten

LEAST_BAR = 1.5
"""Pixels; a narrower one is not seen."""
_ABOVE = 3
"""Between a bar and what stands above it."""


@dataclass(frozen=True, slots=True)
class Form:
    """Measures, in pixels."""

    width: int
    names: int
    """Width of the names' column; 0: they stand above their bars."""
    sizes: int
    """Width of the column of sizes."""
    row: int
    bar: int
    font: float
    head: int
    """Above the first row."""
    foot: int

    @property
    def room(self) -> int:
        """For the longest bar."""
        return self.width - self.sizes - 8 - self.names

    def top_of(self, number: int, count: int) -> float:
        """The upper edge of a row, of `count` in all, from below."""
        return self.foot + self.row * (count - number)

    def base_of(self, top: float) -> float:
        """The lower edge of the bar in the row that begins at `top`."""
        return top - (self.row + self.bar) / 2 if self.names else top - self.row + 5


def begin(form: Form, count: int, theme: Theme) -> tuple[Page, Panel]:
    """An empty picture for `count` rows, its units pixels."""
    height = form.head + form.row * count + form.foot
    page = Page(form.width, height)
    panel = Panel(page, (0, 0, form.width, height), theme, form.font, labelled=False)
    panel.scale(form.width, height)
    panel.axes.set_axis_off()
    return page, panel


def label(panel: Panel, form: Form, base: float, name: str, size: str, *, colour: str, bold: bool) -> None:
    """Write a row's name and size, to the bar whose lower edge is `base`."""
    letter = panel.width_of("x", form.font)
    if form.names:
        middle = base + form.bar / 2
        shown = shorten(name, int(form.names / letter) + 4)
        panel.write(form.names - 12, middle, shown, colour=colour, size=form.font, ha="right", va="center", bold=bold)
        panel.write(panel.width, middle, size, colour=colour, size=form.font, ha="right", va="center", bold=bold)
        return
    line = base + form.bar + _ABOVE
    shown = shorten(name, int((panel.width - panel.width_of(size) - 14) / letter) + 3)
    panel.write(0, line, shown, colour=colour, size=form.font, bold=bold)
    panel.write(panel.width, line, size, colour=colour, size=form.font, ha="right", bold=bold)
