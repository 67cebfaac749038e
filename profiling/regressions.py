"""What a gate measures and says: the figures of each run, how each metric changed, and the verdict. Frozen values.

Sizes in bytes, changes as fractions where the metric is relative and in its unit where not, `None` means unmeasured.
"""

from __future__ import annotations

from enum import StrEnum

from profiling.differences import Row
from profiling.values import SCHEMA_VERSION, Environment, Value

BASE, HEAD = "base", "head"


class GateVerdict(StrEnum):
    PASS = "pass"  # noqa: S105 - no password
    IMPROVED = "improved"
    REGRESSED = "regressed"
    OVER_BUDGET = "over-budget"
    INCONCLUSIVE = "inconclusive"


class MetricStatus(StrEnum):
    PASS = "pass"  # noqa: S105 - the interval lies below the tolerance
    IMPROVED = "improved"  # it lies below minus the tolerance
    REGRESSED = "regressed"  # it lies above the tolerance
    UNCLEAR = "unclear"  # it reaches across the tolerance, or a second set of runs did not confirm it
    INFO = "info"  # shown, never judged
    UNMEASURED = "unmeasured"


class RunFigures(Value, frozen=True, kw_only=True):
    """What one run is compared by."""

    peak_bytes: int | None = None
    """Of unreclaimable memory, like all sizes here."""
    rest_bytes: int | None = None
    """Held at rest after the load."""
    startup_peak_bytes: int | None = None
    growth_bytes_per_request: float | None = None
    oom_kills: int = 0
    p95_ms: float | None = None
    failure: str = ""
    """How it failed, where it did not serve to the end: killed, crashed, never ready, no answer at all."""
    unusable: str = ""
    """Why it says nothing about the service: the load generator was the bottleneck, for one."""
    over_budget: str = ""
    """What it broke of the absolute budget."""


class MetricChange(Value, frozen=True, kw_only=True):
    """One metric of both sides, and what became of it."""

    name: str
    unit: str
    """`bytes`, `bytes/request`, `count` or `ms`: that of `base` and `head`."""
    relative: bool
    """`change`, `low`, `high` and `tolerance` are fractions of base; else they have the unit."""
    base: tuple[int | float, ...]
    head: tuple[int | float, ...]
    change: float | None
    low: float | None
    high: float | None
    tolerance: float | None
    """None: it is not judged."""
    status: MetricStatus


class Side(Value, frozen=True, kw_only=True):
    """One of the two revisions."""

    label: str
    """As a reader knows it: `origin/main (1a2b3c4)`, `working tree (5d6e7f8 and changes)`."""
    commit: str | None = None


class GateRun(Value, frozen=True, kw_only=True):
    """A run of one side. `directory` is relative to the gate's own."""

    side: str
    set: int
    """0: a first start, which is not counted; 1: the first set; 2: the one that confirms it."""
    directory: str
    figures: RunFigures


class GatePass(Value, frozen=True, kw_only=True):
    """The memray pass of one side."""

    side: str
    directory: str | None
    """Relative to the gate's own; None: there was none."""
    peak_heap_bytes: int | None = None
    """What its processes had allocated when they held most together, by memray's count."""
    reason: str = ""
    """Why there is no peak."""


class GrownLine(Row, frozen=True, kw_only=True):
    """A line of the service's own code that holds more in head than in base, by the memray passes."""

    path: str | None
    """In the repository, relative to its root; None: it lies elsewhere."""


class Against(StrEnum):
    """What head is held against."""

    BASE = "base"
    BASELINE = "baseline"
    BUDGET = "budget"


class GateRecord(Value, frozen=True, kw_only=True):
    """`gate.json`: all that is judged, beside the runs."""

    schema_version: int = SCHEMA_VERSION
    base: Side | None
    """None: there is none, head is held against its budget."""
    head: Side
    tolerance: float
    growth_tolerance_bytes: float
    max_turns: int
    warm: bool
    against: Against = Against.BASE
    stored: tuple[RunFigures, ...] = ()
    """The baseline's runs."""
    doubt: str = ""
    """Why a regression against the baseline may be the machine's."""
    runs: tuple[GateRun, ...] = ()
    passes: tuple[GatePass, ...] = ()
    """One of each side; none where none was asked for."""
    difference: str | None = None
    """Directory of what `diff` says of the passes, relative to the gate's own."""
    lines: tuple[GrownLine, ...] = ()
    """By that, those that grew, most first."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it came about."""


class Baseline(Value, frozen=True, kw_only=True):
    """`baseline update FILE`: what a service needed once, to hold a later one against."""

    schema_version: int = SCHEMA_VERSION
    created_at: str
    target: str
    revision: str
    """The commit, if it was made in a repository, else empty."""
    memory_limit_bytes: int
    users: int
    duration_s: float
    rate: float | None
    sandbox: str
    environment: Environment
    runs: tuple[RunFigures, ...]


class GateJudgement(Value, frozen=True, kw_only=True):
    """What the gate says."""

    verdict: GateVerdict
    sentence: str
    metrics: tuple[MetricChange, ...]
    confirmed_by_rerun: bool | None
    """None: nothing had to be confirmed."""
    base: Side | None
    """None: there is none, head is held against its budget."""
    head: Side
    against: Against
    turns: int
    """Runs of head, and of base in turns with it, that were judged."""
    difference: str | None = None
    """Directory of the differential flame graph, relative to the gate's own."""
    lines: tuple[GrownLine, ...] = ()
    """Of the service's own code, that grew, most first."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it came about."""
