"""Levels of one run's unreclaimable memory, in bytes: at its start, under load, and at rest after it. Pure."""

from __future__ import annotations

from profiling.judging.quantiles import percentiles
from profiling.measuring.blocks import Readings
from profiling.measuring.store import StoredRun


def startup_peak(run: StoredRun) -> int | None:
    """The highest until it was ready; until its end where it never was. None: nothing was sampled."""
    readings, ready_ns = run.every_sample, run.result.ready_ns
    peaks = [_highest(readings.between(None, None if ready_ns is None else ready_ns + 1))]
    if peaks == [None]:  # what is ready before the first sample has its start in that one
        peaks = [int(sample["unreclaimable"]) for sample in readings.ends()[:1]]
    return max((peak for peak in peaks if peak is not None), default=None)


def peak_from_load(run: StoredRun) -> int | None:
    """The highest from the load's start on. None: there was none, or nothing was sampled since."""
    start = run.result.load_start_ns
    return None if start is None else _highest(run.every_sample.between(start, run.result.end_ns))


def under_load(run: StoredRun) -> float | None:
    """The 95th percentile in the second half of the load. None: there was none, or nothing was sampled in it."""
    result = run.result
    if result.load_start_ns is None or result.load_end_ns is None:
        return None
    middle = (result.load_start_ns + result.load_end_ns) // 2
    return _percentile(run.every_sample.between(middle, result.load_end_ns), 95)


def at_rest(run: StoredRun) -> float | None:
    """The median in the second half of the quiet time after the load. None: there was none, or nothing was sampled in it."""
    settle = next((phase for phase in run.result.phases if phase.name == "settle"), None)
    if settle is None:
        return None
    return _percentile(run.every_sample.between((settle.start_ns + settle.end_ns) // 2, settle.end_ns), 50)


def _highest(readings: Readings) -> int | None:
    found = (block["unreclaimable"] for block in readings.only("unreclaimable"))
    return max((int(values.max()) for values in found if len(values)), default=None)


def _percentile(readings: Readings, share: float) -> float | None:
    found = percentiles(lambda: (block["unreclaimable"] for block in readings.only("unreclaimable")), [share])
    return found[0] if found else None
