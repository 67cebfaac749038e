"""What the clients of one run saw: users, requests per second, and p95."""

from __future__ import annotations

import numpy as np

from profiling.judging.report import AnalysedRun
from reports.plots.panel import Panel
from reports.plots.resample import rebin, thin
from reports.plots.theme import answered, failed

_ROOM = 1.15
"""Height of a panel as a multiple of its highest value."""


def draw_users(panel: Panel, run: AnalysedRun, span_s: float, most: float, points: int) -> None:
    panel.scale(span_s, most * _ROOM)
    panel.title("users")
    panel.spans(run)
    panel.axes.set_yticks([0, most])
    t_s, users = thin(run.load.t_s, run.load.users, points)
    if t_s.size:
        t_s, users = np.append(t_s, t_s[-1] + 1), np.append(users, users[-1])
        panel.axes.plot(t_s, users, color=panel.theme.muted, linewidth=1.4, drawstyle="steps-post")


def draw_requests(panel: Panel, run: AnalysedRun, span_s: float, most: float, points: int) -> None:
    """Answers as expected, and on top of them, hatched, what failed."""
    panel.scale(span_s, most * _ROOM)
    good, bad = answered(panel.theme), failed(panel.theme)
    panel.title("requests/s", (good, bad))
    panel.spans(run)
    right, each = rebin(run.load.rps, points)
    wrong, _ = rebin(run.load.failures, points)
    if not np.any(right + wrong):
        panel.nothing("nothing was sent", run)
        return
    edges = float(run.load.t_s[0]) + each * np.arange(right.size + 1)
    for low, high, fill in ((np.zeros_like(right), right, good), (right, right + wrong, bad)):
        panel.axes.stairs(
            high,
            edges,
            baseline=low,
            fill=True,
            facecolor=fill.face,
            edgecolor=fill.edge,
            hatch=fill.hatch,
            linewidth=0,
            zorder=3,
        )


def draw_latency(panel: Panel, run: AnalysedRun, span_s: float, most_ms: float, points: int) -> None:
    """Each second's p95 at the middle of the second."""
    panel.scale(span_s, most_ms * _ROOM)
    panel.title("p95 latency, ms")
    panel.spans(run)
    t_s, p95_ms = thin(run.load.t_s, run.load.p95_ms, points)
    if np.isfinite(p95_ms).any():
        dots = "o" if t_s.size <= panel.width / 6 else ""
        panel.axes.plot(t_s + 0.5, p95_ms, color=panel.theme.latency, linewidth=1.4, marker=dots, markersize=2.6)
    else:
        panel.nothing("no answer as expected", run)
