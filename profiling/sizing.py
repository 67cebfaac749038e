"""What `size` asks, tries and says: the limits that were tried, how each run ended, and the plans that hold it. Frozen values.

Sizes in bytes, shares as fractions, `None` means unmeasured or not known.
"""

from __future__ import annotations

import datetime
from enum import StrEnum

from profiling.manifests.catalogue import Plan
from profiling.values import SCHEMA_VERSION, Value


class Ending(StrEnum):
    """What a run under one limit shows."""

    PASSED = "passed"
    KILLED = "killed"  # by the kernel, at this limit
    HUNG = "hung"  # at the limit, not killed, hardly an answer
    THRASHES = "thrashes"  # it fits only by reading its own code again and again, and is over its budget by that
    NEVER_READY = "never-ready"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    FAILURES = "failures"
    SLOW = "slow"  # p95 over its budget
    HEADROOM = "headroom"  # less than the budget asks for
    PEAK = "peak"  # over the budget's
    GROWTH = "growth"
    UNUSABLE = "unusable"  # it says nothing of the service: interrupted, the load generator was too slow


class Tried(Value, frozen=True, kw_only=True):
    """One run under one limit."""

    limit_bytes: int
    ending: Ending
    reason: str = ""
    """Why it did not pass, in a few words."""
    at_limit: bool = False
    """All of the limit was in use at its peak, page cache included: else more memory could not have changed anything."""
    before_ready: bool = False
    """It ended before it was ready once."""
    read_again_bytes: int = 0
    """What it read of its own code and files again, after the kernel had taken them back."""
    peak_bytes: int | None = None
    """Of unreclaimable memory."""
    working_set_bytes: int | None = None
    """What it had in use under load, files included: the median of what platforms call so."""
    p95_ms: float | None = None
    oom_kills: int = 0
    run_dir: str = ""


class Catalogued(Value, frozen=True, kw_only=True):
    """The plans of one provider, and when they were looked up."""

    provider: str
    plans: tuple[Plan, ...]
    as_of: datetime.date | None = None
    """None: the user's own."""
    note: str = ""
    """What happens at the limit there, if it is not simply a kill."""


class SizeRecord(Value, frozen=True, kw_only=True):
    """`size.json`: what was asked, beside the runs that answer it."""

    schema_version: int = SCHEMA_VERSION
    start_bytes: int
    """The limit of the first run."""
    given: bool
    """Somebody said it, or a manifest did; else it is a generous one."""
    highest_bytes: int
    """The largest limit that would be tried."""
    headroom: float
    """What a plan must leave free, as a share of its memory."""
    cpus: float | None
    """What the runs were given; None: all of the machine's."""
    cpu_count: int
    """The machine's."""
    catalogue: tuple[Catalogued, ...]


class SizeVerdict(StrEnum):
    SIZED = "sized"  # a limit that passes and one that fails, close to each other, each confirmed
    NEVER_PASSES = "never-passes"  # not even at the largest limit tried
    INCONCLUSIVE = "inconclusive"


class FittingPlan(Value, frozen=True, kw_only=True):
    """The smallest plan of one provider that holds it."""

    provider: str
    name: str
    memory_bytes: int
    usd_per_month: float | None
    headroom: float
    """What it leaves free of its memory, as a fraction."""
    cpus: float | None = None
    """None: not known."""
    same_memory: tuple[str, ...] = ()
    """The provider's other plans with as much memory."""
    as_of: datetime.date | None = None
    """When it was looked up; None: it is the user's own."""
    note: str = ""


class SizeJudgement(Value, frozen=True, kw_only=True):
    """What the trials show."""

    verdict: SizeVerdict
    sentence: str
    evidence: tuple[str, ...]
    smallest_passing_bytes: int | None
    largest_failing_bytes: int | None
    largest_killed_bytes: int | None
    need_bytes: int | None
    """What a plan's headroom is counted from: the smallest limit that passes, or, where a budget for headroom alone keeps a
    smaller one from passing, the peak."""
    headroom: float
    """What was asked of a plan."""
    cpus: float | None
    cpu_count: int
    """See `SizeRecord`."""
    plans: tuple[FittingPlan, ...]
    trials: tuple[Tried, ...]
    """All runs, in order."""
