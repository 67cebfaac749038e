"""From runs of two revisions to what changed, metric by metric. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from profiling.judging import change, levels
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import run_status
from profiling.measuring.store import StoredRun
from profiling.regressions import MetricChange, MetricStatus, RunFigures
from profiling.values import Outcome

PEAK = "peak_unreclaimable"
KILLS = "oom_kills"


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that can regress. `unit` as in MetricChange."""

    name: str
    unit: str
    value: Callable[[RunFigures], float | None]
    relative: bool = True
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What may change without being a regression."""

    relative: float
    """As a fraction of base."""
    growth_bytes_per_request: float
    """Growth is none in a sound service, so that a share of it says nothing."""

    def of(self, metric: Metric) -> float | None:
        if not metric.judged:
            return None
        return self.relative if metric.relative else self.growth_bytes_per_request


METRICS = (
    Metric(PEAK, "bytes", lambda run: run.peak_bytes),
    Metric("plateau", "bytes", lambda run: run.rest_bytes),
    Metric("startup_peak", "bytes", lambda run: run.startup_peak_bytes),
    Metric("growth_per_request", "bytes/request", lambda run: run.growth_bytes_per_request, relative=False),
    Metric("p95", "ms", lambda run: run.p95_ms, judged=False),
)


def figures(run: AnalysedRun, stored: StoredRun) -> RunFigures:
    """What a run is compared by. Of several services the figures of the whole."""
    summary = run.summary
    status = run_status(run)
    failing = next((finding.message for finding in summary.findings if finding.level == "fail"), "")
    silent = bool(summary.requests) and summary.requests == summary.failures
    failed = status == "fail" and (summary.outcome is not Outcome.COMPLETED or bool(summary.oom_kills) or silent)
    rest = levels.at_rest(stored)
    why = failing or summary.stop_reason or summary.outcome.value
    return RunFigures(
        peak_bytes=summary.peak_unreclaimable_bytes,
        rest_bytes=None if rest is None else round(rest),
        startup_peak_bytes=levels.startup_peak(stored),
        growth_bytes_per_request=summary.growth_bytes_per_request,
        oom_kills=summary.oom_kills or 0,
        p95_ms=summary.p95_ms,
        failure=why if failed else "",
        unusable=_unusable(run) if status == "inconclusive" else "",
        over_budget=failing if status == "fail" and not failed else "",
    )


def _unusable(run: AnalysedRun) -> str:
    if run.result.load_problem:
        return run.result.load_problem
    return "nothing was sent" if not run.summary.requests else "nothing was sampled"


def compare(
    base: Sequence[RunFigures], head: Sequence[RunFigures], tolerances: Tolerances, level: float
) -> tuple[MetricChange, ...]:
    """Each metric's change. `level`: how often each bound alone may be wrong."""
    return tuple(_compare(metric, base, head, tolerances, level) for metric in METRICS)


def _compare(
    metric: Metric, base: Sequence[RunFigures], head: Sequence[RunFigures], tolerances: Tolerances, level: float
) -> MetricChange:
    before = tuple(value for run in base if (value := metric.value(run)) is not None)
    after = tuple(value for run in head if (value := metric.value(run)) is not None)
    tolerance = tolerances.of(metric)
    found, status = None, MetricStatus.UNMEASURED
    if before and after and not (metric.relative and min(*before, *after) <= 0):
        found = (change.relative if metric.relative else change.difference)(before, after, level)
        status = MetricStatus.INFO if tolerance is None else status_of(found, tolerance)
        if status is MetricStatus.UNCLEAR and math.isinf(found.low) and len(before + after) < len(base) + len(head):
            status = MetricStatus.UNMEASURED  # in too many of the runs, and more of them would hardly help
    return MetricChange(
        name=metric.name,
        unit=metric.unit,
        relative=metric.relative,
        base=before,
        head=after,
        change=found and found.estimate,
        low=_finite(found and found.low),
        high=_finite(found and found.high),
        tolerance=tolerance,
        status=status,
    )


def status_of(found: change.Change, tolerance: float) -> MetricStatus:
    """Where the interval lies."""
    if found.low > tolerance:
        return MetricStatus.REGRESSED
    if found.high < -tolerance:
        return MetricStatus.IMPROVED
    return MetricStatus.PASS if found.high <= tolerance else MetricStatus.UNCLEAR


def kills(base: Sequence[RunFigures], head: Sequence[RunFigures]) -> MetricChange:
    """OOM kills: any of head's is one too many, where base has none."""
    before, after = (tuple(run.oom_kills for run in runs) for runs in (base, head))
    if not before or not after:
        status = MetricStatus.UNMEASURED
    elif sum(after) and not sum(before):
        status = MetricStatus.REGRESSED
    elif sum(before) and not sum(after):
        status = MetricStatus.IMPROVED
    else:
        status = MetricStatus.PASS if not sum(after) else MetricStatus.UNCLEAR
    known = bool(before and after)
    return MetricChange(
        name=KILLS,
        unit="count",
        relative=False,
        base=before,
        head=after,
        change=sum(after) / len(after) - sum(before) / len(before) if known else None,
        low=None,
        high=None,
        tolerance=0.0,
        status=status,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
