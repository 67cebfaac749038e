"""Folded stacks: the one form into which every capture is brought, and from which everything is drawn and compared."""

from __future__ import annotations

from profiling.profiles import Frame
from profiling.values import SCHEMA_VERSION, Value

PEAK, END = "peak", "end"
"""Moments: the high-water mark; the end of a process, which is the kill of one that was killed."""


class Stack(Value, frozen=True, array_like=True):
    """What was alive of all that one stack of calls had allocated."""

    frames: tuple[int, ...]
    """Positions in `Stacks.frames`, outermost first."""
    bytes: int
    allocations: int


class ProcessMemory(Value, frozen=True, kw_only=True):
    """How much one process held at the moment that was looked at."""

    capture: str
    """File name of its capture."""
    pid: int
    forked: bool
    """Its capture lacks what was allocated before it was forked: that is its parent's."""
    killed: bool
    """It was ended by a signal that it did not handle."""
    bytes: int
    """Alive at the moment; 0 where it was not there yet, or no more."""
    peak_bytes: int
    """Its own high-water mark, at whatever time."""

    @property
    def title(self) -> str:
        """`worker 4711 (killed)`: a forked process is a worker, of whatever server."""
        kind = "worker" if self.forked else "parent"
        return f"{kind} {self.pid}{' (killed)' if self.killed else ''}"


class Process(ProcessMemory, frozen=True, kw_only=True):
    """One process with its stacks at that moment."""

    stacks: tuple[Stack, ...] = ()


class Stacks(Value, frozen=True, kw_only=True):
    """The memory of one program, by stack: of one process, or of several at the same moment."""

    schema_version: int = SCHEMA_VERSION
    at: str
    """PEAK or END."""
    ended: str | None = None
    """The capture of the process whose end the moment is."""
    directory: str | None = None
    """The service's own; None: not known."""
    frames: tuple[Frame, ...] = ()
    processes: tuple[Process, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader should know of these figures."""

    @property
    def bytes(self) -> int:
        return sum(process.bytes for process in self.processes)

    @property
    def peaks_bytes(self) -> int:
        """The sum of each process's own high-water mark: more than they ever held together, or as much."""
        return sum(process.peak_bytes for process in self.processes)


class Folded(Value, frozen=True, kw_only=True):
    """What the process that reads captures answers: one of the two."""

    stacks: Stacks | None = None
    problem: tuple[str, str] | None = None
    """Message and hint."""
