"""What a sandbox is: something that runs one service under hard limits and can say what the kernel counted.

A sandbox that cannot enforce what it was asked for raises `NoLimitError`; it never runs anything without a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from profiling.measuring.interior import Interior
from profiling.values import Limits, Service, Target, Value


class SampleSource(Value, frozen=True, kw_only=True):
    """Where the sampler reads: a memory cgroup's directory and its version (1 or 2)."""

    version: int
    directory: str
    ignored: int = 0
    """The pid of a process in there that is none of the service's; 0: there is none."""


class Counters(Value, frozen=True, kw_only=True):
    """The kernel's own counts, cumulative since the start. Bytes."""

    oom_kills: int
    peak_charged_bytes: int | None
    certain: bool = True
    """False: the counts may lack what happened in the cgroup's last milliseconds."""
    engine_flag: bool | None = None
    """What the container engine itself says of an OOM kill, once the container has ended. A hint, at times wrong."""


class Launch(Value, frozen=True, kw_only=True):
    """One start of a service."""

    service: Service
    limits: Limits
    port: int
    directory: str
    """The run's own directory: `{run_dir}`."""
    log: str | None
    """File for the service's output; None: ours."""
    traced: bool = False
    """The command runs under memray's tracker and records into the run's directory."""
    places: dict[str, str] = {}
    """Where the system's other services are, by placeholder: `worker.url`."""


def fill(text: str, **values: str) -> str:
    """`{host}`, `{port}`, `{run_dir}` and the like filled in; any other brace stays as it is."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


class Sampling(Protocol):
    """A sampler at work."""

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """End it; answers with its own account (`samples`, `cpu_s`). Raises SamplerError if it ended badly."""


class Running(Protocol):
    """A service that was started. `close` must be called; it is safe to call it twice."""

    @property
    def cgroup(self) -> str:
        """A part of its cgroup's path that no other cgroup's has: what the kernel's log is searched for."""

    def sample(self, path: Path, hz: float) -> Sampling:
        """Start to append samples of its memory to `path`; of a traced service snapshots as well, into a file beside it."""

    def exit_status(self) -> int | None:
        """The main process's exit status; negative: ended by that signal; None: it runs. Raises EngineError if that
        cannot be known any more."""

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

    @property
    def host(self) -> str:
        """Where a service that was started here is reached: an address or a host name."""

    @property
    def engine(self) -> str | None:
        """The container engine with its version; None without one."""

    @property
    def image(self) -> str | None:
        """The container image in use, with its id; None without one."""

    def reads(self, target: Target) -> Sequence[str] | None:
        """Files and directories of this machine that the target will read; None where they cannot be told."""

    def interior(self, service: Service, shared: Path) -> Interior:
        """The world in which the service's command runs; `shared`, a directory of ours, is seen in there, too."""

    def start(self, launch: Launch) -> Running:
        """Start the service. Raises NoLimitError if a limit cannot be enforced, CommandNotFoundError if there is no
        such command."""

    def close(self) -> None: ...
