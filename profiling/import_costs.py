"""What imports cost: how the starts went that recorded them, and what comes of it. Frozen values, units in the names."""

from __future__ import annotations

from profiling.values import SCHEMA_VERSION, Outcome, PageCache, Value

COLD, WARM, LAZY = "cold", "warm", "lazy"
"""Kinds of starts: the program's files dropped from the page cache before; not; one import statement put off."""


class ImportStart(Value, frozen=True, kw_only=True):
    """One start of the program in a fresh interpreter, recorded."""

    directory: str
    """Relative to that of the whole."""
    kind: str
    """COLD, WARM or LAZY."""
    lazy: str | None = None
    """FILE:LINE of the import statement that was put off to the first use of what it binds."""
    outcome: Outcome
    """COMPLETED: it became ready, or all that was asked for was imported, or it ended by itself with status 0."""
    stop_reason: str | None = None
    said: str | None = None
    """The last line of its output, where it ended badly."""
    oom_kills: int = 0
    page_cache: PageCache = PageCache.UNKNOWN
    elapsed_s: float = 0.0


class ImportsRun(Value, frozen=True, kw_only=True):
    """All starts of one program, as stored; what was recorded lies beside it on disk."""

    schema_version: int = SCHEMA_VERSION
    name: str
    """The target's, or the modules'."""
    modules: tuple[str, ...] = ()
    """What was asked to be imported; empty: a command was started until it was ready."""
    command: tuple[str, ...]
    """What was run, without the recorder."""
    interpreter: str | None = None
    directory: str
    """Where it ran: what its own files are shown relative to."""
    sandbox: str
    sandbox_reason: str
    limit_bytes: int
    walked: bool = False
    """The kernel's counters lag, so page tables were walked."""
    argv: tuple[str, ...] = ()
    created_at: str
    starts: tuple[ImportStart, ...] = ()
    skipped: str | None = None
    """Why nothing could be recorded."""
    interrupted: bool = False


class ModuleCost(Value, frozen=True, kw_only=True):
    """One module. `self_*`: its own code and what it made; without `self_`: with all that its import loaded first.

    Medians over the warm starts; bytes of resident memory, which can be negative where more was given back than taken.
    """

    name: str
    self_anon_bytes: int
    self_file_bytes: int
    anon_bytes: int
    file_bytes: int
    imported_by: str | None
    """The module whose code asked for it; None: nobody in the program, as with `-m`."""
    line: str | None
    """FILE:LINE of the program's own code that was being executed then; None: there is none."""
    statement: str | None
    """FILE:LINE that asked for it, in whosoever's code."""
    parent: str | None
    """The module whose import was on when this one was loaded: it stands below that one in the tree."""
    anon_low_bytes: int
    anon_high_bytes: int
    """The least and the most of `anon_bytes` over all cold and warm starts."""
    time_s: float
    """Wall time of its import with all below it."""
    cold_file_bytes: int | None = None
    """`file_bytes` where its files had been dropped from the page cache before; None: not measured."""
    cold_time_s: float | None = None
    own: bool = False
    """It is the program's own code: neither of the standard library nor of an installed package."""
    process: str = "main"
    """`main`, or `worker`: a forked child."""
    error: str | None = None
    """The name of the exception that its import ended with, or `unfinished`."""


class PackageCost(Value, frozen=True, kw_only=True):
    """A package that the program's own code, or what started it, asked for, with all that it loaded first; or a module of
    the program's own, by itself."""

    name: str
    own: bool = False
    anon_bytes: int
    file_bytes: int
    modules: int
    """How many modules came with it, of whichever package."""
    line: str | None
    """FILE:LINE of the program's own code that first loaded most of it."""


class LazyLine(Value, frozen=True, kw_only=True):
    """An import statement of the program's own code, and what it would save at the start to import there later."""

    line: str
    """FILE:LINE"""
    imports: tuple[str, ...]
    """What the statement names, as far as it was loaded."""
    modules: int
    """How many modules nothing else that remains would load."""
    computed_anon_bytes: int
    """The sum of what those hold themselves."""
    measured_anon_bytes: int | None = None
    """By how much the imports' anonymous memory was less in a start in which it was put off; None: not measured."""
    measured_file_bytes: int | None = None
    note: str = ""
    """Why the measured figure is missing, or differs."""


class ImportCosts(Value, frozen=True, kw_only=True):
    """What the imports of one program cost."""

    name: str
    status: str
    """`pass`: recorded to the end; `fail`: the program was killed, or ended before that; `skipped`."""
    problem: str | None = None
    complete: bool = True
    """False: it ended, was ended or was given up before it was ready, so that more may have come."""
    total_anon_bytes: int = 0
    total_file_bytes: int = 0
    total_low_bytes: int = 0
    total_high_bytes: int = 0
    """The least and the most of `total_anon_bytes` over all cold and warm starts."""
    time_s: float = 0.0
    cold_file_bytes: int | None = None
    cold_time_s: float | None = None
    interpreter_anon_bytes: int = 0
    """What the interpreter held before the first import of the program; not in the totals."""
    python: str | None = None
    starts: int = 0
    """How many warm starts the medians are from."""
    processes: int = 1
    """How many processes recorded something; those beyond the first and its largest line of children are left out."""
    modules: tuple[ModuleCost, ...] = ()
    """In the order in which they were first asked for."""
    packages: tuple[PackageCost, ...] = ()
    """Largest first. No memory is in two of them."""
    lazy: tuple[LazyLine, ...] = ()
    """Largest saving first. They overlap: savings do not add up."""
    notes: tuple[str, ...] = ()
