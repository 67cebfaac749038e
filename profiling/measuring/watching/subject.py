"""What can be watched while it runs: something that was started by others, and goes on when the watch ends."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.values import Value


class Nature(Value, frozen=True, kw_only=True):
    """What is being watched, as far as it is known before the watch."""

    name: str
    what: str
    """In words: `container web (docker)`."""
    kind: str
    """`container`, `cgroup` or `process`."""
    sandbox: str
    """What holds it: `cgroup-v1`, `cgroup-v2`, `docker`, `podman`; `processes`: nothing of its own."""
    reason: str
    """How it is looked at, in a few words."""
    limit_bytes: int | None
    """The smallest limit in force on it; None: there is none."""
    swap: str
    """Whether its memory may go to swap, in a few words."""
    engine: str | None = None
    image: str | None = None
    notes: tuple[str, ...] = ()
    """What a reader should know of how it is looked at."""


class Subject(Protocol):
    """It is only ever read. `close` when done."""

    @property
    def nature(self) -> Nature: ...

    def sample(self, path: Path, hz: float) -> Sampling:
        """Start to append samples of its memory to `path`."""

    def counters(self) -> Counters | None:
        """The kernel's counts since it began, long before the watch perhaps; the last known ones once it is gone. None
        where nothing counts for it."""

    def gone(self) -> str | None:
        """How it ended, in a few words; None: it is there. Raises EngineError, SamplerError if that cannot be known."""

    @property
    def exit_status(self) -> int | None:
        """Of its first process, once `gone`; negative: a signal; None: not known."""

    def close(self) -> None: ...


SWAP_OFF = "off (this machine has none)"


def swap_of(version: int, directory: Path) -> str:
    """Whether what is in a memory cgroup may be swapped out, in a few words."""
    try:
        if len(Path("/proc/swaps").read_text().splitlines()) <= 1:
            return SWAP_OFF
        if version == 2 and (directory / "memory.swap.max").read_text().strip() == "0":
            return "off (memory.swap.max = 0)"
    except OSError:
        return "unknown"
    return "on: what is swapped out does not count as its memory"
