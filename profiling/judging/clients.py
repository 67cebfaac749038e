"""What the clients of a run saw, second by second and in all, gone through a block of requests at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtests.requestlog import RequestOutcome
from profiling.judging.quantiles import percentiles
from profiling.judging.report import Array, LoadSeries
from profiling.measuring.blocks import Blocks, Records
from profiling.measuring.store import StoredRun
from profiling.values import RunResult

_SECOND_NS = 1_000_000_000
_SORTED_AT_MOST = 500_000
"""So many latencies are in memory at once to find each second's p95; more only where one second has more."""
Ints = NDArray[np.int64]


def latency_ns(requests: Records) -> Ints:
    """From when each request was due to its end: a late send counts against the service."""
    latency: Ints = requests["finished_ns"] - requests["intended_ns"]
    return latency


@dataclass(frozen=True, slots=True)
class Tally:
    """The requests of a run, counted."""

    sent: int
    good: int
    """Answered as expected."""
    dark_share: float | None
    """The share of the load's whole seconds in which no answer of any kind came; None: unmeasured."""


def tally(run: StoredRun) -> Tally:
    result, total, good = run.result, 0, 0
    seconds = 0
    if result.load_start_ns is not None:
        seconds = max(0, ((result.load_end_ns or result.end_ns) - result.load_start_ns) // _SECOND_NS)
    lit = np.zeros(seconds, bool)
    for block in run.every_request:
        was_sent = block["outcome"] != RequestOutcome.NOT_SENT
        total += int(was_sent.sum())
        good += int((block["outcome"] == RequestOutcome.OK).sum())
        if seconds:
            answered = _second(block["finished_ns"][was_sent & (block["status"] > 0)], result)
            lit[answered[(answered >= 0) & (answered < seconds)]] = True
    dark = 1.0 - float(lit.sum()) / seconds if seconds and total else None
    return Tally(total, good, dark)


def percentiles_ms(run: StoredRun, wanted: list[float]) -> list[float] | None:
    """Percentiles of the latency of the answers as expected; None: there is none."""

    def latencies() -> Iterator[Ints]:
        for block in run.every_request:
            yield latency_ns(block)[block["outcome"] == RequestOutcome.OK]

    found = percentiles(latencies, wanted)
    return None if found is None else [nanoseconds / 1e6 for nanoseconds in found]


def load_series(run: StoredRun) -> LoadSeries:
    """What the clients saw, in bins of one second from the load's start to the last answer."""
    result, spans = run.result, _spans(run)
    if result.load_start_ns is None or not any(spans):
        empty = np.empty(0)
        return LoadSeries(t_s=empty, users=empty, rps=empty, failures=empty, p95_ms=empty)
    bins = max(span[1] for span in spans if span) + 1
    good, bad = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    for block in run.every_request:
        second, outcome = _second(block["finished_ns"], result).clip(0), block["outcome"]
        right = outcome == RequestOutcome.OK
        good += np.bincount(second[right], minlength=bins)
        bad += np.bincount(second[~right & (outcome != RequestOutcome.NOT_SENT)], minlength=bins)
    plan = result.load
    planned = np.array([plan.users_at(number + 0.5) if plan else 0 for number in range(bins)], dtype=np.float64)
    for worker in result.load_workers:
        if worker.lost_ns is not None:  # its users are no longer there
            planned[max(0, int((worker.lost_ns - result.load_start_ns) // 1_000_000_000)) :] -= worker.lost_users
    planned = planned.clip(0)  # where none are planned, after the end
    return LoadSeries(
        t_s=(result.load_start_ns - result.start_ns) / 1e9 + np.arange(bins, dtype=np.float64),
        users=planned,
        rps=good.astype(np.float64),
        failures=bad.astype(np.float64),
        p95_ms=_p95_of_seconds(run.every_request, spans, good, result),
    )


_Span = tuple[int, int] | None


def _spans(run: StoredRun) -> list[_Span]:
    """Of each block the first and the last second in which a request of it ended; None: nothing in it was sent."""
    if run.result.load_start_ns is None:
        return []
    spans: list[_Span] = []
    for block in run.every_request:
        second = _second(block["finished_ns"][block["outcome"] != RequestOutcome.NOT_SENT], run.result).clip(0)
        spans.append((int(second.min()), int(second.max())) if len(second) else None)
    return spans


def _p95_of_seconds(log: Blocks, spans: list[_Span], good: Ints, result: RunResult) -> Array:
    """Each second's, in ms; NaN where nothing was answered as expected. `good`: how many were, second by second.

    As many seconds at once as have not too many requests; of the log only the blocks that have some of theirs are read.
    """
    p95 = np.full(len(good), np.nan)
    ends = np.cumsum(good)
    start = 0
    while start < len(good):
        before = int(ends[start] - good[start])
        end = max(start + 1, int(np.searchsorted(ends, before + _SORTED_AT_MOST, side="right")))
        seconds, latencies = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for number, span in enumerate(spans):
            if span and span[0] < end and span[1] >= start:
                block = log.block(number)
                second = _second(block["finished_ns"], result).clip(0)
                mine = (second >= start) & (second < end) & (block["outcome"] == RequestOutcome.OK)
                seconds.append(second[mine])
                latencies.append(latency_ns(block)[mine])
        p95[start:end] = _p95(np.concatenate(seconds) - start, np.concatenate(latencies), good[start:end])
        start = end
    return p95


def _p95(second: Ints, latency: Ints, counts: Ints) -> Array:
    """Of each second's latencies, in ms; between two in proportion. `counts`: how many each second has."""
    ordered = latency[np.lexsort((latency, second))].astype(np.float64)
    found = np.full(len(counts), np.nan)
    there = counts > 0
    begins = (np.cumsum(counts) - counts)[there]
    place = 0.95 * (counts[there] - 1)
    lower = begins + np.floor(place).astype(np.int64)
    upper = begins + np.ceil(place).astype(np.int64)
    found[there] = (ordered[lower] + (ordered[upper] - ordered[lower]) * (place % 1)) / 1e6
    return found


def _second(t_ns: Ints, result: RunResult) -> Ints:
    """Whole seconds since the load's start."""
    second: Ints = (t_ns - (result.load_start_ns or 0)) // _SECOND_NS
    return second
