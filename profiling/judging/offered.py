"""How a load went, by the request log: how many requests were in flight, whether a rate was kept, exact percentiles. Pure.

All of it is exact: the log holds every request, so that nothing is gained by a histogram of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtests.requestlog import RequestOutcome
from profiling.capacities import Percentile
from profiling.judging.clients import latency_ns
from profiling.values import RunResult

SHARES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999)
_BEHIND = 0.05
"""A rate is not kept when so large a share of what was due in the load's second half comes on top of what waited already."""
_FEW = 3
"""But so few requests are the moment's."""
Records = NDArray[np.void]


def sent(requests: Records) -> Records:
    """Without those that were due and never sent."""
    return requests[requests["outcome"] != RequestOutcome.NOT_SENT] if len(requests) else requests


def unsent(requests: Records) -> int:
    return len(requests) - len(sent(requests))


def throughput(requests: Records, result: RunResult) -> float | None:
    """Answers as expected per second, of those that came while the load was on: what waits at its end was not kept up with.
    None where there was no load."""
    start, end = result.load_start_ns, result.load_end_ns
    if start is None or end is None or end <= start:
        return None
    over = requests["finished_ns"][requests["outcome"] == RequestOutcome.OK]
    return float((over <= end).sum()) / ((end - start) / 1e9)


def most_in_flight(requests: Records) -> int | None:
    """The largest number of requests that were in flight at one moment; None where none was sent."""
    found = sent(requests)
    if not len(found):
        return None
    begun, over = np.sort(found["sent_ns"]), np.sort(found["finished_ns"])
    return int((np.arange(1, len(begun) + 1) - np.searchsorted(over, begun, side="right")).max())


def percentiles(requests: Records) -> tuple[Percentile, ...]:
    """Of the answers as expected, counted from when they were due; a share stands here if at least one answer lies beyond
    it. The slowest is the last."""
    good = requests[requests["outcome"] == RequestOutcome.OK] if len(requests) else requests
    if not len(good):
        return ()
    latency = latency_ns(good) / 1e6
    shares = [share for share in SHARES if len(good) * (1 - share) >= 1 - 1e-9]
    found = np.percentile(latency, [100 * share for share in (*shares, 1.0)])
    return tuple(Percentile(share=share, ms=float(ms)) for share, ms in zip((*shares, 1.0), found, strict=True))


def p95_from_send_ms(requests: Records) -> float | None:
    """The p95 that the service alone is to blame for: counted from when a request really was sent."""
    good = requests[requests["outcome"] == RequestOutcome.OK] if len(requests) else requests
    return float(np.percentile((good["finished_ns"] - good["sent_ns"]) / 1e6, 95)) if len(good) else None


class Backlog(NamedTuple):
    """What came to wait in the second half of an open loop's load."""

    due: int
    """Requests that were due in it."""
    grown: int
    """By so many more than at its start waited at its end."""

    @property
    def is_kept(self) -> bool:
        return self.grown <= max(_FEW, _BEHIND * self.due)


def backlog(requests: Records, result: RunResult) -> Backlog | None:
    """None where there is nothing to be kept: a closed loop, or a load that did not begin or end."""
    start, end = result.load_start_ns, result.load_end_ns
    if result.load is None or result.load.rate is None or start is None or end is None or not len(requests):
        return None
    due = np.sort(requests["intended_ns"])
    over = np.sort(sent(requests)["finished_ns"])
    middle = (start + end) // 2

    def waiting(at: int) -> int:
        return int(np.searchsorted(due, at, side="right") - np.searchsorted(over, at, side="right"))

    in_half = int(np.searchsorted(due, end, side="right") - np.searchsorted(due, middle, side="right"))
    return Backlog(due=in_half, grown=waiting(end) - waiting(middle))
