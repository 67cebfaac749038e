"""When a run may end before its time: as soon as its outcome is certain, by the kernel's count or by the answers so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.plan import LoadPlan
from loadtests.requestlog import RequestOutcome
from profiling.measuring.store import REQUESTS_FILE
from profiling.measuring.watch import REQUEST, Tail
from profiling.units import format_ms, format_percent
from profiling.values import Budget, Value

_FASTER = 4
"""In a closed loop nobody knows how many requests are still to come: so many times the busiest second so far, at most."""
_FIRST_S = 2.0
"""Before that the busiest second says nothing of those that follow."""
_P95 = 0.05


class StopWhen(Value, frozen=True, kw_only=True):
    """What decides a run's outcome, whatever may still follow."""

    oom_kill: bool = True
    """The first kill by the kernel."""
    max_failures: float | None = None
    """So large a share of failed requests may there be in all; None: failures decide nothing."""
    max_p95_ms: float | None = None
    """So high may the p95 of the good answers be; None: latency decides nothing."""

    @classmethod
    def decided(cls, budget: Budget) -> StopWhen:
        """A kill, or failures or a latency that `budget` does not allow."""
        return cls(max_failures=budget.max_failures, max_p95_ms=budget.max_p95_ms)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the clients saw so far."""

    requests: int
    failures: int
    slow: int
    """Good answers that took longer than `max_p95_ms`."""
    busiest: int
    """The most requests that ended within one second of the load."""


def certain(stop: StopWhen, seen: Answers, plan: LoadPlan, elapsed_s: float) -> str | None:
    """Why the budget cannot be kept any more after `elapsed_s` seconds of the load, in words; None: it still can."""
    if (
        stop.max_failures is not None
        and seen.failures
        and seen.failures > stop.max_failures * _most(seen, plan, elapsed_s, stop.max_failures)
    ):
        allowed = format_percent(stop.max_failures)
        return f"{seen.failures:,} of {seen.requests:,} requests failed so far, and {allowed} may fail in all"
    # Of n answers p95 lies between two of them: one more than a twentieth must be slow for it to be so.
    if stop.max_p95_ms is not None and seen.slow > 1 + _P95 * _most(seen, plan, elapsed_s, _P95):
        return (
            f"{seen.slow:,} of {seen.requests:,} answers took longer than {format_ms(stop.max_p95_ms)} so far: their p95"
            " cannot come below it any more"
        )
    return None


def _most(seen: Answers, plan: LoadPlan, elapsed_s: float, share: float) -> float:
    """How many requests there can be in the whole load, at most. `share`: what it is multiplied by; 0 needs no answer."""
    if share == 0:
        return 0.0
    if plan.rate is not None:
        return max(seen.requests, math.ceil(plan.rate * plan.duration_s))
    if elapsed_s < _FIRST_S:
        return math.inf
    left_s = max(0.0, plan.duration_s - elapsed_s)
    return seen.requests + plan.peak_users + _FASTER * seen.busiest * left_s


class Decision:
    """Reads the request log as it grows, and says when it has decided the run."""

    def __init__(self, stop: StopWhen, plan: LoadPlan, directory: Path) -> None:
        self._stop = stop
        self._plan = plan
        self._log = Tail(directory / REQUESTS_FILE, REQUEST)
        self._requests = self._failures = self._slow = 0
        self._by_second: dict[int, int] = {}

    def look(self, started_ns: int | None, now_ns: int) -> str | None:
        """Take in what was logged since the last look. `started_ns`: when the load began, None: not yet."""
        if started_ns is None:
            return None
        fresh = self._log.new_records()
        fresh = fresh[fresh["outcome"] != RequestOutcome.NOT_SENT]
        if len(fresh):
            self._take_in(fresh, started_ns)
        seen = Answers(self._requests, self._failures, self._slow, max(self._by_second.values(), default=0))
        return certain(self._stop, seen, self._plan, (now_ns - started_ns) / 1e9)

    def _take_in(self, fresh: np.ndarray[tuple[int], np.dtype[np.void]], started_ns: int) -> None:
        good = fresh["outcome"] == RequestOutcome.OK
        self._requests += len(fresh)
        self._failures += int(len(fresh) - good.sum())
        if self._stop.max_p95_ms is not None:
            took_ms = (fresh["finished_ns"] - fresh["intended_ns"])[good] / 1e6
            self._slow += int((took_ms > self._stop.max_p95_ms).sum())
        seconds, counts = np.unique((fresh["finished_ns"] - started_ns) // 1_000_000_000, return_counts=True)
        for second, count in zip(seconds.tolist(), counts.tolist(), strict=True):
            self._by_second[second] = self._by_second.get(second, 0) + count
