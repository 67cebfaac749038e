"""What is known of each OOM kill of a run: frozen values, as stored runs give them and as --json prints them.

Bytes are ints, times in seconds, `None` means unknown.
"""

from __future__ import annotations

from profiling.profiles import HeldMemory
from profiling.values import Value


class KilledProcess(Value, frozen=True, kw_only=True):
    """Whom the kernel killed."""

    pid: int | None
    """As the process knew itself, where a capture says so; else the kernel's log's."""
    name: str | None
    """As the kernel names it."""
    told_by: str
    """`kernel log`, `capture`: the one whose records end at this moment, or both: `kernel log and capture`."""
    anon_rss_bytes: int | None = None
    file_rss_bytes: int | None = None
    shmem_rss_bytes: int | None = None
    """What it had resident when it was chosen, by the kernel's log."""
    log_line: str = ""


class MemoryAtKill(Value, frozen=True, kw_only=True):
    """The whole cgroup's memory at the last sample before the kill, in bytes."""

    limit_bytes: int | None
    charged_bytes: int
    unreclaimable_bytes: int
    anon_bytes: int
    file_bytes: int
    """Page cache, mapped files included."""
    shmem_bytes: int
    kernel_bytes: int


class RequestsInFlight(Value, frozen=True, kw_only=True):
    """Requests that had been sent and not been answered."""

    count: int
    broken: int
    """How many of them got no answer but a broken connection or none in time."""
    path: str | None
    """`POST /chat`; None: the load is a Locust file's of the user's own, whose paths are not recorded."""
    ages_s: tuple[float, ...]
    """How long each had been under way, longest first; at most 50."""


class Kill(Value, frozen=True, kw_only=True):
    """One OOM kill."""

    number: int
    """From 1, in the run's order."""
    service: str | None
    """Whose, in a system of several."""
    at_s: float
    """Seconds since the run's start: of the last sample before the kill."""
    at: str | None
    """Wall clock, ISO 8601 with offset."""
    within_s: float
    """It happened at most that much later than `at_s`."""
    phase: str | None
    """What the run was doing: `start`, `load`, ..."""
    process: KilledProcess | None
    memory: MemoryAtKill | None
    requests: RequestsInFlight | None
    """None: the load had not begun."""
    held: tuple[HeldMemory, ...] = ()
    """What memray recorded as alive in the process, by line of the service's own code, largest first."""
    held_note: str = ""
    """Why `held` is empty."""
    capture: str | None = None
    records_end_s: float | None = None
    """So long before the kill recording ended, where the capture had reached its limit: `held` is of that moment."""
    like: int | None = None
    """Number of the first kill that the same line and the same process's name stand behind."""
    sentence: str


class Autopsy(Value, frozen=True, kw_only=True):
    """All OOM kills of one run."""

    run: str
    variant: str
    memray: bool
    """The run is a memray pass: its limit was raised by memray's own memory, and lines are known."""
    limit_bytes: int | None
    sentence: str
    """The most telling kill's."""
    most_telling: int
    """That one's number: the one of which most memory is accounted for."""
    kernel_log: str
    """What the kernel's log gave, or why it gave nothing."""
    kills: tuple[Kill, ...]
    not_shown: int = 0
    """How many more kills there were than `kills` holds."""
