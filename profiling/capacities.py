"""What `capacity` measures and says: its trials, how memory goes with the load, where throughput ends. Frozen values.

Sizes in bytes, latencies in ms, loads in users or in requests per second as `By` says, `None` means unmeasured.
"""

from __future__ import annotations

from enum import StrEnum

from profiling.judgements import Summary
from profiling.values import SCHEMA_VERSION, Value


class By(StrEnum):
    """What is raised from trial to trial."""

    USERS = "users"  # closed loop: each sends again once it was answered
    RATE = "rate"  # open loop: so many requests per second are due, whatever the answers


class LimitedBy(StrEnum):
    """What a load is too much for."""

    OOM = "oom"
    LATENCY = "latency"
    ERRORS = "errors"
    LOAD_GENERATOR = "load-generator"


class TrialPlace(Value, frozen=True, kw_only=True):
    """One trial as it was made: its load in steps of the record's, and the run's directory, relative to the record's own."""

    steps: int
    directory: str


class CapacityRecord(Value, frozen=True, kw_only=True):
    """`capacity.json`: how the search went, beside its runs. Loads are counted in steps of `step`."""

    schema_version: int = SCHEMA_VERSION
    by: By
    step: float
    """One user, or so many requests per second."""
    start: int
    lowest: int
    highest: int
    max_trials: int
    trials: tuple[TrialPlace, ...] = ()


class Percentile(Value, frozen=True, kw_only=True):
    """So large a share of the answers as expected took no longer; 1.0 is the slowest."""

    share: float
    ms: float


class LoadTrial(Summary, frozen=True, kw_only=True):
    """The figures of one run, with what they say of its load."""

    load: float
    """Users, or requests per second that were due."""
    status: str
    """`pass`, `fail` or `inconclusive`."""
    limited_by: LimitedBy | None
    """What it failed by, or why it says nothing."""
    why: str
    """The same in words; empty where it passed."""
    throughput: float | None
    """Answers as expected per second that came within the load's time: `rps` counts those that came after it as well."""
    in_flight: int | None
    """The most requests that were in flight at once."""
    unsent: int
    """Open loop: requests that were due and found nobody free to send them before the end."""
    load_peak_bytes: int | None
    """Peak of unreclaimable memory from the load's start on."""
    startup_peak_bytes: int | None
    latencies: tuple[Percentile, ...]
    """Exact, from every request; only those shares that as many answers can tell."""


class Forecast(Value, frozen=True, kw_only=True):
    """What a line says of a load beyond those that were tried: an extrapolation. The interval is that of one measurement."""

    load: float
    times: int
    """That load as a multiple of the largest that passed."""
    bytes: int
    low: int
    high: int
    limit_bytes: int
    """The limit that the interval asks for: its upper end, and no less than the start-up needs."""


class MemoryLine(Value, frozen=True, kw_only=True):
    """The peak under load as a straight line over the trials, with 95 % intervals."""

    per: str
    """What x is: `user`, `request per second` or `request in flight`."""
    start_bytes: float
    start_low: float
    start_high: float
    bytes_per: float
    low: float
    high: float
    points: int
    """Runs that it goes through."""
    bend: float
    """By how much the points bend away from a line, as a share of its rise, where that is sure; else 0. Above 0: steeper."""
    is_straight: bool
    """False: the points bend by so much that the line foretells nothing."""
    forecasts: tuple[Forecast, ...] = ()


class Saturation(Value, frozen=True, kw_only=True):
    """Where more users only wait longer: closed loop, by the asymptotic bounds of throughput."""

    users: float
    """The knee: as many users as keep the service busy without waiting for each other."""
    rps: float
    """The throughput that is not exceeded with more."""
    largest: float
    """The most users with whom it was seen."""
    p95_ms: float | None
    """With these."""


class CapacityJudgement(Value, frozen=True, kw_only=True):
    """What `capacity` says."""

    by: By
    status: str
    """`pass`: there is an answer; `fail`: even the smallest load fails; `inconclusive`."""
    sentence: str
    holds: float | None
    """The largest load that passed, with none below it that failed."""
    first_failing: float | None
    limited_by: LimitedBy | None
    """None: nothing failed up to the most that was asked for, or nothing can be said."""
    memory_limit_bytes: int | None
    trials: tuple[LoadTrial, ...]
    """In the order in which they were made."""
    memory: MemoryLine | None
    """Over users, or over requests per second."""
    memory_in_flight: MemoryLine | None
    """Open loop: over the requests in flight."""
    saturation: Saturation | None
    """None: throughput still grew at the largest load that passed, or too little is known."""
    notes: tuple[str, ...] = ()
