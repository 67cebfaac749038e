"""What looks at a container's cgroup, from wherever it can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from profiling.errors import NoLimitError
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.units import format_bytes
from profiling.values import Limits

APPEARS_WITHIN_S = 5.0
LAST_WORD_S = 2.0
"""How long the last counters are waited for after the end; they come within 10 ms unless the machine stalls."""


class Eyes(Protocol):
    """Opened when the container has been created and does not run yet."""

    def started(self, limits: Limits, pid: int) -> None:
        """The container runs now, its first process as `pid` on the engine's machine (0: it has ended).

        Raises NoLimitError unless the kernel has the limits.
        """

    def sample(self, path: Path, hz: float) -> Sampling:
        """Start to append samples to `path`."""

    def counters(self, *, ended: bool) -> Counters:
        """The kernel's counts; once the container has `ended`, the last ones."""

    def blind(self) -> str | None:
        """Why nothing is seen any more of a container that may still run; None: all is well."""

    def close(self) -> None:
        """Called when the container has been removed."""

    def detach(self) -> None:
        """Called in its place when the engine has gone away: end what still runs and can be reached from here."""


class NothingToSample:
    """For a container that ended before its memory could be looked at."""

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        return {"samples": 0, "cpu_s": 0.0}


def require_limit(asked: int, in_force: int | None) -> None:
    """Raises NoLimitError unless the kernel took the limit, in whole pages."""
    if in_force is None or not asked - 4096 < in_force <= asked:
        shown = "none" if in_force is None else format_bytes(in_force)
        raise NoLimitError(
            f"the container engine was asked for a memory limit of {format_bytes(asked)}, the kernel has {shown}",
            "see whether the engine's `info` has a warning, or use --sandbox cgroup",
        )
