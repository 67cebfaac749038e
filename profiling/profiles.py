"""What a memray pass shows: whose memory it was, by line of code and part by part. Frozen values, sizes in bytes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from profiling.values import Outcome, Value


class Frame(Value, frozen=True, kw_only=True):
    function: str
    file: str
    line: int


class HeldMemory(Value, frozen=True, kw_only=True):
    """Memory that one line of the user's own code held, with everything it called."""

    bytes: int
    allocations: int
    frame: Frame
    """The innermost frame outside the standard library and installed packages."""
    stack: tuple[Frame, ...]
    """The largest single stack behind it, outermost first."""
    by_thread: tuple[int, ...] = ()
    """The same bytes by thread, largest first: as many entries as threads were at it."""
    mapped_bytes: int = 0
    """The part that the program mapped itself: a file perhaps, or memory that was never touched."""


class LedgerLine(Value, frozen=True, kw_only=True):
    """A line of code with its part of a ledger's entry."""

    frame: Frame
    bytes: int


class LedgerEntry(Value, frozen=True, kw_only=True):
    """A part of the memory."""

    part: str
    bytes: int
    group: str
    """What kind of thing it is: `imports`, `model`, `kernel`, ...; `headroom` is what lies between the unreclaimable memory
    and the limit."""
    lines: tuple[LedgerLine, ...] = ()
    """The lines of the user's own code that hold most of it, largest first, where code holds it."""
    note: str = ""
    """How that is known, or what is in it."""


class Ledger(Value, frozen=True, kw_only=True):
    """Where the memory was at one moment near the peak of a memray pass. The entries sum up to the limit, and those outside
    the group `headroom` to the unreclaimable memory."""

    entries: tuple[LedgerEntry, ...] = ()
    """Empty: there is none, and `reason` says why."""
    reason: str = ""
    """Why there is none, or why the captures could not be used in it."""
    limit_bytes: int = 0
    unreclaimable_bytes: int = 0
    """At the moment of the ledger."""
    unexplained_bytes: int = 0
    """The part of it that nothing accounts for; below zero: memory that was counted although it went meanwhile."""
    peak_bytes: int | None = None
    """The highest that was sampled in the pass, which is somewhat higher."""
    at_s: float = 0.0
    """The moment, in seconds since the start."""
    changed_bytes: int = 0
    """By how much the unreclaimable memory changed while it was looked at."""
    processes: int = 0


class CaptureEnd(Value, frozen=True, kw_only=True):
    """What the capture of a process says that did not end by itself."""

    capture: str
    """Its file, as in `Profile.captures`."""
    pid: int | None
    """As the process knew itself; None: nothing but the file's head was written."""
    last_ns: int | None
    """When its last record of its RSS was written, in ns since the epoch; memray writes one every 10 ms."""
    rss_bytes: int | None
    """What that said."""
    held: tuple[HeldMemory, ...] = ()
    """Alive then, largest first."""
    cut: bool = False
    """Recording ended before the process did: the capture had reached its limit, or the disk its end."""
    note: str = ""
    """Why `held` is empty, where that is not what the process held."""


class Profile(Value, frozen=True, kw_only=True):
    """What the memray pass of one variant brought."""

    variant: str
    status: str
    """`recorded` or `skipped`."""
    reason: str = ""
    outcome: Outcome | None = None
    oom_kills: int = 0
    limit_bytes: int | None = None
    capture_cost_bytes: int | None = None
    captures: tuple[str, ...] = ()
    flamegraphs: tuple[str, ...] = ()
    processes: str | None = None
    """File of all processes' stacks at one moment, where there were several; the page beside it shows them together."""
    held_at: str = "peak"
    """`kill`: alive in a process that was killed; `cut`: in one whose recording ended earlier, then; `peak`: alive at the
    high-water mark of the largest process."""
    held: tuple[HeldMemory, ...] = ()
    ledger: Ledger | None = None
    """None: of an earlier version, which made none."""
    ends: tuple[CaptureEnd, ...] = ()
    """The processes that did not end by themselves, in a run in which the kernel killed: those it killed are among them."""

    def with_paths(self, change: Callable[[str], str]) -> Profile:
        """The same with `change` made to the path of each file."""
        return msgspec.structs.replace(
            self,
            captures=tuple(map(change, self.captures)),
            flamegraphs=tuple(map(change, self.flamegraphs)),
            processes=self.processes and change(self.processes),
            ends=tuple(msgspec.structs.replace(end, capture=change(end.capture)) for end in self.ends),
        )
