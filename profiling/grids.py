"""What `compare --grid` measures and says: axes, cells, and which of them hold their load. Frozen values, sizes in bytes."""

from __future__ import annotations

from enum import StrEnum

from profiling.capacities import LimitedBy
from profiling.values import SCHEMA_VERSION, Outcome, Value

VARIANT, WORKERS, THREADS, PRELOAD, USERS, MEMORY = "variant", "workers", "threads", "preload", "users", "memory"
KEYS = (WORKERS, THREADS, PRELOAD, USERS, MEMORY)
"""What an axis can be called, beside an environment variable's name."""


class Axis(Value, frozen=True, kw_only=True):
    """One thing that is set differently from cell to cell."""

    key: str
    """One of KEYS, `variant`, or the name of an environment variable."""
    values: tuple[str, ...]
    """As they are shown, in the order in which they were named."""


class CellPlace(Value, frozen=True, kw_only=True):
    """One cell as it is set, and where its runs are."""

    settings: dict[str, str]
    """One value of each axis."""
    users: int
    memory_bytes: int
    directories: tuple[str, ...] = ()
    """Relative to the record's own."""

    @property
    def configuration(self) -> tuple[tuple[str, str], ...]:
        """What is set of the service itself: neither its load nor its limit."""
        return tuple((key, value) for key, value in self.settings.items() if key not in (USERS, MEMORY))


class GridRecord(Value, frozen=True, kw_only=True):
    """`grid.json`: what was asked, beside the runs."""

    schema_version: int = SCHEMA_VERSION
    name: str
    """The target's."""
    axes: tuple[Axis, ...]
    repeats: int
    infer: bool
    """Cells that can only be worse than one that ran out of memory are not run."""
    rate: float | None
    """Open loop: requests per second that are due; None: each user sends again once it was answered."""
    cells: tuple[CellPlace, ...]
    """The first axis changes slowest."""


class CellStatus(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"
    INFERRED = "inferred"  # not run: it can only be worse than a cell that ran out of memory
    NOT_MEASURED = "not-measured"  # ended before its turn


class Cell(Value, frozen=True, kw_only=True):
    """One cell, and what its runs say."""

    settings: dict[str, str]
    users: int
    memory_limit_bytes: int
    status: CellStatus
    """`holds`: each of its runs passed; `fails`: at least one did not."""
    run: str | None
    """Directory of the run that tells most; None: there is none."""
    outcome: Outcome | None
    """How that run ended."""
    limited_by: LimitedBy | None
    """What it failed by, or why it says nothing."""
    why: str
    """The same in words; empty where it holds."""
    inferred_from: int | None
    """Number, from 0, of the cell that says it, where it was not run."""
    passed: int
    made: int
    """Runs."""
    oom_kills: int
    """In all runs."""
    peak_unreclaimable_bytes: int | None
    """The highest of its runs."""
    p95_ms: float | None
    """The highest of its runs."""
    throughput: float | None
    """Answers as expected per second within the load's time, of the run that tells most."""

    @property
    def configuration(self) -> tuple[tuple[str, str], ...]:
        """As CellPlace has it."""
        return tuple((key, value) for key, value in self.settings.items() if key not in (USERS, MEMORY))

    @property
    def fails(self) -> bool:
        """Measured, or inferred."""
        return self.status in (CellStatus.FAILS, CellStatus.INFERRED)


class GridJudgement(Value, frozen=True, kw_only=True):
    """What `compare --grid` says."""

    status: str
    """`pass`: all cells are known, and some hold; `fail`: none of them does; `inconclusive`."""
    sentence: str
    evidence: tuple[str, ...]
    name: str
    rate: float | None
    axes: tuple[Axis, ...]
    repeats: int
    cells: tuple[Cell, ...]
    """The first axis changes slowest."""
