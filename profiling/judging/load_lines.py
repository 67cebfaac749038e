"""What the trials show together: how memory goes with the load, and from where on throughput does not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from profiling.capacities import By, Forecast, LimitedBy, LoadTrial, MemoryLine, Saturation
from profiling.judging import straight
from profiling.values import Outcome

TIMES = (10, 100)
"""Multiples of the load that holds, for which the memory is foretold."""
_BEYOND_KNEE = 1.5
_STILL_GROWS = 1.10
"""Throughput that grows by so much while the load grows by half is not at its end."""


def undisturbed(trials: Sequence[LoadTrial]) -> list[LoadTrial]:
    """The trials whose figures are those of a service at work through the whole load: none killed or failing, none stopped
    early, the generator no bottleneck. That answers came late is no disturbance."""
    at_work = (trial for trial in trials if trial.status == "pass" or trial.limited_by is LimitedBy.LATENCY)
    return [trial for trial in at_work if trial.outcome is Outcome.COMPLETED]


def memory_per_load(trials: Sequence[LoadTrial], by: By, holds: float | None) -> MemoryLine | None:
    """The line over users or requests per second, and what it foretells for TIMES the load that `holds`; None where there
    are too few trials."""
    per = "user" if by is By.USERS else "request per second"
    return _line(trials, lambda trial: trial.load, per, holds)


def memory_in_flight(trials: Sequence[LoadTrial], by: By) -> MemoryLine | None:
    """Open loop: the line over the most requests in flight. In a closed loop these are the users."""
    return _line(trials, lambda trial: trial.in_flight, "request in flight", None) if by is By.RATE else None


def _line(
    trials: Sequence[LoadTrial], place: Callable[[LoadTrial], float | None], per: str, holds: float | None
) -> MemoryLine | None:
    points = [
        (float(x), float(trial.load_peak_bytes))
        for trial in undisturbed(trials)
        if (x := place(trial)) is not None and trial.load_peak_bytes is not None
    ]
    line = straight.fit([x for x, _ in points], [y for _, y in points])
    if line is None:
        return None
    least = max((trial.startup_peak_bytes or 0 for trial in trials), default=0)
    return MemoryLine(
        per=per,
        start_bytes=line.start.estimate,
        start_low=line.start.low,
        start_high=line.start.high,
        bytes_per=line.slope.estimate,
        low=line.slope.low,
        high=line.slope.high,
        points=len(points),
        bend=line.bend,
        is_straight=line.is_straight,
        forecasts=tuple(_forecast(line, holds, times, least) for times in TIMES) if holds and line.is_straight else (),
    )


def _forecast(line: straight.Line, holds: float, times: int, least: int) -> Forecast:
    found = line.foretell(holds * times)
    estimate, low, high = (max(0, round(size)) for size in found)
    return Forecast(load=holds * times, times=times, bytes=estimate, low=low, high=high, limit_bytes=max(high, least))


def saturation(trials: Sequence[LoadTrial], by: By) -> Saturation | None:
    """Closed loop: the knee, and the throughput beyond it; None where throughput still grew at the largest load.

    By the asymptotic bounds of a closed system: with n users throughput is at most n / R, where R is the time that one
    user alone takes from one request to the next, and at most the service's own most X; they meet at n = R * X. E. D. Lazowska,
    J. Zahorjan, G. S. Graham, K. C. Sevcik, Quantitative System Performance (1984), chapter 5. R is taken from the smallest load,
    by Little's law: users / throughput.
    """
    if by is not By.USERS:
        return None
    by_load: dict[float, list[LoadTrial]] = {}
    for trial in undisturbed(trials):
        if trial.throughput:
            by_load.setdefault(trial.load, []).append(trial)
    if len(by_load) < straight.FEWEST_PLACES:
        return None
    loads = sorted(by_load)
    rps = {load: median(trial.throughput or 0.0 for trial in by_load[load]) for load in loads}
    most, first, last = max(rps.values()), loads[0], loads[-1]
    knee = most * first / rps[first]
    before = [rps[load] for load in loads if load * _BEYOND_KNEE <= last]
    if last < _BEYOND_KNEE * knee or not before or rps[last] > _STILL_GROWS * max(before):
        return None
    latest = [trial.p95_ms for trial in by_load[last] if trial.p95_ms is not None]
    return Saturation(users=knee, rps=most, largest=last, p95_ms=median(latest) if latest else None)
