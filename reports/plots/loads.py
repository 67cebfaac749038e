"""The trials of `capacity` over their load: peak memory against the limit, throughput, p95; and the latencies of some of them
by share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from profiling.capacities import By, CapacityJudgement, LoadTrial, MemoryLine
from profiling.experiments.capacity_verdict import named
from profiling.units import MIB, format_bytes, format_percent
from reports.plots.layout import ABOVE_LIMIT, GIB, dodge
from reports.plots.panel import Page, Panel
from reports.plots.picture import svgs
from reports.plots.theme import LIGHT, NARROW, WIDE, Format, Theme

_KEY, _TITLE, _FOOT = 30, 26, 44
_MEMORY, _OTHER = 190, 84
_SPECTRUM = 210
_ROOM = 1.15
_SPECTRA = 4
"""So many trials' latencies can be told apart."""
_FAR = 4.0
"""A limit so many times above all that was seen would hide it, and is named instead."""


def loads_svgs(judgement: CapacityJudgement, *, narrow: bool = False) -> tuple[str, str]:
    """The picture over the load, for light and for dark pages."""
    return svgs(lambda: _loads(judgement, NARROW if narrow else WIDE, LIGHT).figure)


def latencies_svgs(judgement: CapacityJudgement, *, narrow: bool = False) -> tuple[str, str]:
    """The percentile spectrum of some trials, for light and for dark pages."""
    return svgs(lambda: _latencies(judgement, NARROW if narrow else WIDE, LIGHT).figure)


def _loads(judgement: CapacityJudgement, form: Format, theme: Theme) -> Page:
    heights = (_MEMORY, _OTHER, _OTHER)
    page = Page(form.width, _KEY + sum(heights) + _TITLE * len(heights) + _FOOT)
    width = form.width - form.left - 14
    most = 1.06 * max((trial.load for trial in judgement.trials), default=1.0)
    _key(Panel(page, (form.left, 0, width, _KEY), theme, form.font, labelled=False))
    draws: tuple[Callable[[Panel, CapacityJudgement, float], None], ...] = (_memory, _throughput, _p95)
    top, panel = _KEY + _TITLE, None
    for tall, draw in zip(heights, draws, strict=True):
        panel = Panel(page, (form.left, top, width, tall), theme, form.font, labelled=True)
        draw(panel, judgement, most)
        _knee(panel, judgement)
        top += tall + _TITLE
    assert panel is not None
    panel.name_across("users" if judgement.by is By.USERS else "requests/s that were due")
    return page


def _key(strip: Panel) -> None:
    strip.axes.set_axis_off()
    strip.scale(strip.width, _KEY)
    x, y = 4.0, _KEY / 2
    for text, mark in (("holds", "pass"), ("fails", "fail"), ("says nothing", "inconclusive")):
        _mark(strip, x, y, mark)
        strip.write(x + 10, y, text, va="center", size=strip.font)
        x += 10 + strip.width_of(text, strip.font) + 18


def _mark(panel: Panel, x: float, y: float, status: str) -> None:
    """One trial, at a place in the axes' own units."""
    theme = panel.theme
    look = {
        "pass": {"marker": "o", "color": theme.good, "markeredgecolor": theme.background},
        "fail": {"marker": "X", "color": theme.bad, "markeredgecolor": theme.background},
    }.get(status, {"marker": "o", "color": theme.background, "markeredgecolor": theme.unsure})
    panel.axes.plot([x], [y], markersize=8, markeredgewidth=0.9, clip_on=False, zorder=9, linestyle="", **look)  # type: ignore[arg-type]


def _points(
    panel: Panel, trials: Sequence[LoadTrial], value: Callable[[LoadTrial], float | None], colour: str | None
) -> None:
    """The trials, and where `colour` is given a line through the medians of those that hold."""
    by_load: dict[float, list[float]] = {}
    for trial in trials:
        y = value(trial)
        if y is None:
            continue
        _mark(panel, trial.load, y, trial.status)
        if trial.status == "pass":
            by_load.setdefault(trial.load, []).append(y)
    if colour is not None and by_load:
        across = sorted(by_load)
        panel.axes.plot(across, [float(np.median(by_load[x])) for x in across], color=colour, linewidth=1.6, zorder=4)


def _highest(trials: Sequence[LoadTrial], value: Callable[[LoadTrial], float | None]) -> float:
    return max((found for trial in trials if (found := value(trial)) is not None), default=0.0)


def _memory(panel: Panel, judgement: CapacityJudgement, most: float) -> None:
    limit = judgement.memory_limit_bytes
    highest = _highest(judgement.trials, _peak)
    hidden = limit is not None and highest > 0 and limit > _FAR * highest
    top = 1.3 * highest if limit is None or hidden else max(ABOVE_LIMIT * limit, 1.05 * highest)
    unit, size = ("GiB", GIB) if top >= 10 * GIB else ("MiB", MIB)
    panel.scale(most, (top or MIB) / size)
    panel.title(f"peak of unreclaimable memory, {unit}")
    if judgement.memory is not None and judgement.memory.is_straight:
        _line(panel, judgement.memory, size, most)
    _points(panel, judgement.trials, lambda trial: (y := _peak(trial)) and y / size, None)
    if limit is None:
        return
    text, colour = f"limit {format_bytes(limit)}", panel.theme.text
    if hidden:
        panel.write(4, panel.height - 3, f"↑ {text}, far above", colour=colour, va="top", bold=True)
        return
    panel.stroke(
        (0, panel.y(limit / size)), (panel.width, panel.y(limit / size)), color=colour, linewidth=1.3, zorder=8
    )
    panel.write(2, panel.y(limit / size) + 4, text, colour=colour, bold=True)


def _peak(trial: LoadTrial) -> float | None:
    return trial.load_peak_bytes or trial.peak_unreclaimable_bytes


def _line(panel: Panel, line: MemoryLine, size: int, most: float) -> None:
    """The fitted line across the whole panel: beyond the trials it is an extrapolation."""
    colour = panel.theme.unreclaimable
    across = np.array([0.0, most])
    panel.axes.plot(across, (line.start_bytes + line.bytes_per * across) / size, color=colour, linewidth=1.4, zorder=4)


def _throughput(panel: Panel, judgement: CapacityJudgement, most: float) -> None:
    panel.scale(most, _ROOM * (_highest(judgement.trials, lambda trial: trial.throughput) or 1.0))
    panel.title("requests/s answered as expected")
    _points(panel, judgement.trials, lambda trial: trial.throughput, panel.theme.answered)


def _p95(panel: Panel, judgement: CapacityJudgement, most: float) -> None:
    panel.scale(most, _ROOM * (_highest(judgement.trials, lambda trial: trial.p95_ms) or 1.0))
    panel.title("p95 latency, ms")
    _points(panel, judgement.trials, lambda trial: trial.p95_ms, panel.theme.latency)


def _knee(panel: Panel, judgement: CapacityJudgement) -> None:
    """From where on more users only wait longer."""
    if judgement.saturation is not None:
        x = panel.x(judgement.saturation.users)
        panel.stroke((x, 0), (x, panel.height), color=panel.theme.muted, linewidth=1, linestyle=":", zorder=2)


@dataclass(frozen=True, slots=True)
class _Spectrum:
    name: str
    trial: LoadTrial
    colour: str
    style: str


def spectra(judgement: CapacityJudgement) -> tuple[LoadTrial, ...]:
    """The trials whose latencies are shown: the smallest load, one in the middle, the largest that holds, the first failing."""
    with_answers = [trial for trial in judgement.trials if trial.latencies]
    passed = sorted((trial for trial in with_answers if trial.status == "pass"), key=lambda trial: trial.load)
    failed = [trial for trial in with_answers if trial.status == "fail" and trial.load == judgement.first_failing]
    chosen = [passed[0], passed[len(passed) // 2], passed[-1]] if passed else []
    by_load = {trial.load: trial for trial in [*chosen, *failed[:1]]}
    return tuple(by_load[load] for load in sorted(by_load))[:_SPECTRA]


def _latencies(judgement: CapacityJudgement, form: Format, theme: Theme) -> Page:
    page = Page(form.width, _KEY + _SPECTRUM + _FOOT)
    right = max(96, form.right)
    panel = Panel(page, (form.left, _KEY, form.width - form.left - right, _SPECTRUM), theme, form.font, labelled=True)
    colours = (theme.answered, theme.unreclaimable, theme.rss, theme.latency)
    styles = ("-", "--", "-.", ":")
    shown = [
        _Spectrum(named(judgement.by, trial.load), trial, colour, style)
        for trial, colour, style in zip(spectra(judgement), colours, styles, strict=False)
    ]
    shares = sorted({each.share for one in shown for each in one.trial.latencies if each.share < 1})
    furthest = max((_nines(share) for share in shares), default=1.0)
    slowest = max((each.ms for one in shown for each in one.trial.latencies if each.share < 1), default=1.0)
    panel.scale(furthest * 1.02, _ROOM * slowest)
    panel.title("latency, ms")
    panel.axes.set_xticks([_nines(share) for share in shares], [format_share(share) for share in shares])
    ends = []
    for one in shown:
        points = [(_nines(each.share), each.ms) for each in one.trial.latencies if each.share < 1]
        if not points:
            continue
        across, up = zip(*points, strict=True)
        panel.axes.plot(
            across, up, color=one.colour, linestyle=one.style, linewidth=1.8, marker="o", markersize=4, clip_on=False
        )
        ends.append((one, panel.x(across[-1]), panel.y(up[-1])))
    places = dodge([y for _, _, y in ends], panel.font + 3, 4, panel.height)
    for (one, x, y), place in zip(ends, places, strict=True):
        panel.stroke(
            (x + 6, y), (panel.width + 9, place), color=panel.theme.muted, linewidth=0.8, linestyle=(0, (1, 3))
        )
        panel.write(panel.width + 12, place, one.name, colour=one.colour, size=panel.font, va="center")
    panel.name_across("share of the answers that took no longer")
    return page


def _nines(share: float) -> float:
    """Where a share stands: each further nine is as wide as the one before."""
    return -math.log10(1 - share)


def format_share(share: float) -> str:
    """A share as a percentage with all its nines."""
    return format_percent(share) if share <= 0.999 else f"{100 * share:g} %"
