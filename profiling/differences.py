"""Two programs' memory against one another: what comes of it. Frozen values, units in the names."""

from __future__ import annotations

from profiling.stacks import ProcessMemory
from profiling.values import SCHEMA_VERSION, Value

BEFORE, AFTER = "before", "after"
"""The two sides: A and B of the command line."""


class Row(Value, frozen=True, kw_only=True):
    """A function, or one of its lines, and the memory that it held on both sides."""

    function: str
    file: str
    """Relative to the service's own directory, or beginning with `site-packages/`, `lib/python/` or `bin/`."""
    line: int
    """As it is after; of a whole function the one that grew most, or where none did, the one that held most. 0: not known."""
    before_bytes: int
    after_bytes: int
    package: str | None = None
    """The top-level package; `python` for the interpreter's own; None: the service's own code."""

    @property
    def change_bytes(self) -> int:
        return self.after_bytes - self.before_bytes


class PackageRow(Value, frozen=True, kw_only=True):
    """One package and the memory that its code held; the standard library's counts for whoever called it."""

    package: str | None
    """None: the service's own code."""
    before_bytes: int
    after_bytes: int

    @property
    def change_bytes(self) -> int:
        return self.after_bytes - self.before_bytes


class Source(Value, frozen=True, kw_only=True):
    """Where one side of a difference comes from, as stored."""

    path: str
    """Absolute, as it was named: a run's directory or a capture."""
    name: str
    """What a reader calls it: the variant, or the file."""
    captures: tuple[str, ...]
    """Absolute paths."""
    directory: str | None = None
    """The service's own; None: not known."""
    oom_killed: bool = False
    """The kernel killed it, by the run's own record."""


class DiffRun(Value, frozen=True, kw_only=True):
    """What was compared, as stored; the stacks lie beside it on disk."""

    schema_version: int = SCHEMA_VERSION
    before: Source
    after: Source
    at: str | None = None
    """`peak` or `end`, where that was asked for."""
    fail_above_bytes: int | None = None
    argv: tuple[str, ...] = ()
    created_at: str


class Side(Value, frozen=True, kw_only=True):
    """One side of a difference."""

    path: str
    name: str
    at: str
    """`peak`: the high-water mark, of all processes together; `end`: the end of the process in `ended`."""
    ended: str | None
    oom_killed: bool
    total_bytes: int
    processes: tuple[ProcessMemory, ...]
    notes: tuple[str, ...]


class Difference(Value, frozen=True, kw_only=True):
    """What changed between two sides. Rows: the largest change first."""

    total_bytes: int
    """By how much it grew; negative: it shrank."""
    status: str
    """`pass`, `fail`: it grew by more than was allowed, or `inconclusive`: nothing was recorded on a side."""
    before: Side
    after: Side
    fail_above_bytes: int | None
    rows: tuple[Row, ...]
    """By function; together they are the whole."""
    lines: tuple[Row, ...]
    """By the line of the service's own code that was at work, with all that it called; what no own code called is not in
    them."""
    packages: tuple[PackageRow, ...]
    """Together they are the whole."""
