"""What a measurement tells its observer while it happens: for the live view, and for whoever wants to stop early."""

from __future__ import annotations

from typing import Protocol

from profiling.values import Limits, Outcome, Value


class ExperimentStarted(Value, frozen=True, kw_only=True):
    """A set of runs begins; `runs` are their titles, in order."""

    title: str
    runs: tuple[str, ...]


class RunsAhead(Value, frozen=True, kw_only=True):
    """Where an experiment finds out as it goes: titles of the runs that are certain to come now."""

    runs: tuple[str, ...]


class RunStarted(Value, frozen=True, kw_only=True):
    run: str
    limits: Limits | None
    """None: there is none."""
    sandbox: str
    planned_users: int
    planned_load_s: float


class PhaseStarted(Value, frozen=True, kw_only=True):
    """`workers`, `drop-caches`, `start`, `load`, `watch`, `settle`, `openapi`, `probe`, `stop`;
    beside runs: `prepare`, `flame graphs`, `report`."""

    run: str
    phase: str


class Tick(Value, frozen=True, kw_only=True):
    """A few times a second while a run is on. Requests are counts since the load began; `rps` is that of the last second."""

    run: str
    phase: str
    elapsed_s: float
    phase_elapsed_s: float
    unreclaimable_bytes: int | None
    charged_bytes: int | None
    limit_bytes: int | None
    oom_kills: int | None
    users: int
    requests: int
    failures: int
    rps: float


class RunFinished(Value, frozen=True, kw_only=True):
    run: str
    outcome: Outcome
    oom_kills: int | None
    peak_unreclaimable_bytes: int | None
    limit_bytes: int | None
    requests: int | None
    """None: none were to be sent."""
    failures: int
    reason: str | None


class Note(Value, frozen=True, kw_only=True):
    """A line that whoever watches should see: a fallback taken, something skipped."""

    text: str


Event = ExperimentStarted | RunsAhead | RunStarted | PhaseStarted | Tick | RunFinished | Note


class Observer(Protocol):
    def notify(self, event: Event, /) -> None:
        """Called from the measuring thread; must not block for long."""


class Silent:
    """An observer for nobody."""

    def notify(self, event: Event, /) -> None:
        pass
