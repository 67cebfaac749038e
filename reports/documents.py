"""The documents that --json prints: what `render.py` fills, and what `report --schema` describes.

Sizes in bytes, shares 0..1, unmeasured null, paths absolute.
"""

from __future__ import annotations

from profiling.autopsies import Autopsy
from profiling.capacities import By, LimitedBy, LoadTrial, MemoryLine, Saturation
from profiling.differences import Difference
from profiling.grids import GridJudgement
from profiling.judgements import Check, Claim, Summary
from profiling.profiles import LedgerEntry, Profile
from profiling.regressions import GateVerdict, GrownLine, MetricChange, Side
from profiling.sizing import FittingPlan, SizeVerdict
from profiling.values import SCHEMA_VERSION, Value


class Comparison(Value, frozen=True, kw_only=True):
    """`compare --json`, and `report --json` of what was no `verify`."""

    schema_version: int = SCHEMA_VERSION
    command: str
    claim: Claim
    candidate: str | None
    runs: tuple[Summary, ...]
    profiles: tuple[Profile, ...]
    autopsies: tuple[Autopsy, ...] = ()
    """Of each run and memray pass in which the kernel killed."""
    report: str
    """Path of the page."""


class GridComparison(Comparison, frozen=True, kw_only=True):
    """`compare --grid --json`: all runs in the order in which they were made, and the autopsies of those that its page shows."""

    grid: GridJudgement
    """Its axes and cells."""


class Verification(Value, frozen=True, kw_only=True):
    """`verify --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str
    verdict: str
    """`pass`, `fail` or `inconclusive`."""
    checks: tuple[Check, ...]
    run: Summary
    autopsies: tuple[Autopsy, ...] = ()
    report: str


class Gated(Value, frozen=True, kw_only=True):
    """`gate --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "gate"
    verdict: GateVerdict
    sentence: str
    base: Side | None
    head: Side
    metrics: tuple[MetricChange, ...]
    confirmed_by_rerun: bool | None
    """None: there was nothing to confirm."""
    notes: tuple[str, ...]
    lines: tuple[GrownLine, ...] = ()
    """Of the service's own code, that hold more in head than in base, most first; empty without memray passes."""
    flamegraph: str | None = None
    """Path of the differential flame graph's page; null without memray passes."""
    report: str


class Capacity(Value, frozen=True, kw_only=True):
    """`capacity --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "capacity"
    verdict: str
    """`pass`, `fail` or `inconclusive`."""
    sentence: str
    by: By
    max_users: int | None
    """The largest number of users that passed, with `by` users."""
    max_rate: float | None
    """The highest rate that passed, in requests per second, with `by` rate."""
    first_failing: float | None
    """In the same unit; null: nothing failed."""
    limited_by: LimitedBy | None
    trials: tuple[LoadTrial, ...]
    memory: MemoryLine | None
    memory_in_flight: MemoryLine | None
    saturation: Saturation | None
    notes: tuple[str, ...]
    autopsies: tuple[Autopsy, ...] = ()
    report: str


class Sized(Value, frozen=True, kw_only=True):
    """`size --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "size"
    verdict: SizeVerdict
    sentence: str
    smallest_passing_bytes: int | None
    largest_failing_bytes: int | None
    largest_killed_bytes: int | None
    """The largest limit at which the kernel killed it; null where what failed was something else."""
    need_bytes: int | None
    """What a plan's headroom is counted from."""
    headroom: float
    """What was asked of a plan, as a fraction of its memory."""
    plans: tuple[FittingPlan, ...]
    trials: tuple[Summary, ...]
    """Every run, in order, confirmations included."""
    autopsies: tuple[Autopsy, ...] = ()
    report: str


class Profiled(Value, frozen=True, kw_only=True):
    """`profile --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "profile"
    captures: tuple[str, ...]
    flamegraphs: tuple[str, ...]
    ledger: tuple[LedgerEntry, ...] = ()
    """The entries of the profile's ledger, which has the moment and the sums; empty where there is none."""
    autopsy: Autopsy | None = None
    """None: the kernel killed nothing."""
    profile: Profile
    report: str


class Differed(Difference, frozen=True, kw_only=True):
    """`diff --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "diff"
    before_bytes: int
    after_bytes: int
    flamegraph: str
    folded: str
    """Folded stacks with two weights."""
    run_dir: str
    report: str
    """The page, which the flame graph stands in."""
