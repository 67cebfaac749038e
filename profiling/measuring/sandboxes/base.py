"""What a sandbox is: something that runs one service under hard limits and can say what the kernel counted.

A sandbox that cannot enforce what it was asked for raises `NoLimitError`; it never runs anything without a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from profiling.values import Limits, Value


class SampleSource(Value, frozen=True, kw_only=True):
    """Where the sampler reads: a memory cgroup's directory and its version (1 or 2)."""

    version: int
    directory: str


class Counters(Value, frozen=True, kw_only=True):
    """The kernel's own counts, cumulative since the start. Bytes."""

    oom_kills: int
    peak_charged_bytes: int | None


class Running(Protocol):
    """A service that was started. `close` must be called; it is safe to call it twice."""

    @property
    def source(self) -> SampleSource: ...

    def exit_status(self) -> int | None:
        """The main process's exit status; negative: ended by that signal; None: it runs."""

    def counters(self) -> Counters:
        """Read from the kernel now; the last known values once the cgroup is gone."""

    def stop(self, grace_s: float) -> bool:
        """SIGTERM, and SIGKILL for what is left after `grace_s`. True: everything was gone within the grace time."""

    def close(self) -> None:
        """Kill whatever still runs and remove the cgroup."""


class Sandbox(Protocol):
    """Starts services under limits. `close` when done."""

    @property
    def name(self) -> str:
        """`cgroup-v1`, `cgroup-v2`, `docker` or `podman`."""

    @property
    def reason(self) -> str:
        """Why this one was chosen, in a few words."""

    @property
    def swap(self) -> str:
        """What keeps swap off, in a few words."""

    def start(
        self, command: Sequence[str], *, directory: Path, env: Mapping[str, str], limits: Limits, log: Path | None
    ) -> Running:
        """Start `command` in `directory` with exactly `env`; output goes to `log`, or to ours where it is None.

        Raises NoLimitError if a limit cannot be enforced, CommandNotFoundError if there is no such command.
        """

    def close(self) -> None: ...
