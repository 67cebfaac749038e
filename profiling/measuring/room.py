"""Whether a run's data will fit on the disk: said before it starts, and looked at again while it is on."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from loadtests import requestlog
from loadtests.plan import LoadPlan
from profiling.errors import OutputError
from profiling.measuring import samples
from profiling.units import MIB, format_bytes
from profiling.values import Value

MOST_REQUESTS_PER_S = 20_000
"""No Locust process sends more; one core is busy before that, with about half as many on today's machines."""
LEAST_FREE_BYTES = 8 * MIB
"""With less a run is ended: its result and its report need some."""
_WORTH_SAYING_S = 600.0


class Need(Value, frozen=True, kw_only=True):
    """What a run writes, in bytes, without what the service itself puts into its log."""

    seconds: float
    samples_bytes: int
    requests_bytes: int
    """Known beforehand only where a rate is planned; else at most so many."""
    requests_planned: bool
    """The number of requests follows from the plan."""

    @property
    def at_most_bytes(self) -> int:
        return self.samples_bytes + self.requests_bytes

    @property
    def certain_bytes(self) -> int:
        return self.samples_bytes + (self.requests_bytes if self.requests_planned else 0)


def need(load: LoadPlan | None, hz: float, services: int = 1, seconds: float | None = None) -> Need:
    """What a run with this load writes. `seconds`: how long is sampled, where it is not as long as the load."""
    load_s = load.duration_s if load else 0.0
    seconds = load_s if seconds is None else seconds
    requests = 0
    if load is not None and load.rate is not None:
        requests = math.ceil(load.rate * load_s)
    elif load is not None:
        each_s = load.think_time_s
        most = MOST_REQUESTS_PER_S * max(1, load.expected_workers)
        per_s = min(most, load.peak_users / each_s if each_s else most)
        requests = math.ceil(per_s * load_s)
    return Need(
        seconds=seconds,
        samples_bytes=math.ceil(seconds * hz) * services * samples.RECORD.size,
        requests_bytes=requests * requestlog.RECORD_SIZE,
        requests_planned=load is None or load.rate is not None,
    )


def check_room(directory: Path, needed: Need, tell: Callable[[str], object]) -> None:
    """Raises OutputError if the disk cannot hold what is certain to come; tells if it may not be enough, and of a long run in
    any case how much it will be."""
    free = free_bytes(directory)
    parts = f"samples {format_bytes(needed.samples_bytes)}"
    if needed.requests_bytes:
        bound = "" if needed.requests_planned else "up to "
        parts += f", requests {bound}{format_bytes(needed.requests_bytes)}"
    if needed.certain_bytes + LEAST_FREE_BYTES > free:
        raise OutputError(
            f"{directory} has room for {format_bytes(free)}, and the run writes {format_bytes(needed.certain_bytes)} there"
            f" ({parts}) and keeps {format_bytes(LEAST_FREE_BYTES)} free",
            "make room there, name a directory on another disk with --out, or make --duration shorter",
        )
    if needed.at_most_bytes > free:
        tell(
            f"the run may fill the disk: at most {format_bytes(needed.at_most_bytes)} ({parts}), {format_bytes(free)} free"
        )
    elif needed.seconds >= _WORTH_SAYING_S:
        tell(
            f"writes at most {format_bytes(needed.at_most_bytes)} ({parts}) and the service's log; {format_bytes(free)} free"
        )


def free_bytes(directory: Path) -> int:
    """What can still be written there."""
    return shutil.disk_usage(directory).free
