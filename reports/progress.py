"""What is known of an experiment while it runs, folded from its events: pure, for any view to show."""

from __future__ import annotations

from dataclasses import dataclass, field

from profiling.measuring.events import Event, ExperimentStarted, PhaseStarted, RunFinished, RunsAhead, RunStarted, Tick

PHASES = {
    "prepare": "preparing",
    "workers": "waiting for the load's workers",
    "drop-caches": "dropping page caches",
    "start": "starting",
    "load": "under load",
    "watch": "watching",
    "quality": "asking how good its answers are",
    "settle": "settling",
    "openapi": "asking by its OpenAPI document",
    "probe": "sending bad input",
    "stop": "stopping",
    "imports": "importing",
    "flame graphs": "drawing flame graphs",
    "report": "writing the report",
}


def phase_words(phase: str) -> str:
    """A phase as people read it; one that is not known here is its own name."""
    return PHASES.get(phase, phase)


@dataclass(slots=True)
class Progress:
    """The state of an experiment; `apply` is called with each event in turn."""

    title: str = ""
    runs: tuple[str, ...] = ()
    finished: list[RunFinished] = field(default_factory=list)
    current: RunStarted | None = None
    run: str = ""
    phase: str = ""
    tick: Tick | None = None
    """The last one of the current phase; None before its first."""
    run_s: list[float] = field(default_factory=list)
    """Duration of each finished run, as far as its ticks tell."""
    _elapsed_s: float = 0.0

    def apply(self, event: Event) -> None:
        match event:
            case ExperimentStarted():
                self.title, self.runs = event.title, event.runs
            case RunsAhead():
                self.runs = (*(run.run for run in self.finished), *event.runs)
            case RunStarted():
                self.current, self.run, self.phase, self.tick = event, event.run, "", None
                self._elapsed_s = 0.0
            case PhaseStarted():
                self.run, self.phase, self.tick = event.run, event.phase, None
            case Tick():
                self.run, self.phase, self.tick = event.run, event.phase, event
                self._elapsed_s = max(self._elapsed_s, event.elapsed_s)
            case RunFinished():
                self.finished.append(event)
                self.run_s.append(self._elapsed_s)
                self.current, self.run, self.phase, self.tick = None, "", "", None
            case _:
                pass

    @property
    def total(self) -> int:
        """Number of runs, those that were not announced included."""
        return max(len(self.runs), len(self.finished) + (self.current is not None))

    @property
    def waiting(self) -> tuple[str, ...]:
        """Titles of the runs that have not begun."""
        return self.runs[len(self.finished) + (self.current is not None) :]

    @property
    def load_remaining_s(self) -> float | None:
        """Seconds of load that are still to come in the current run; None outside the load."""
        if self.current is None or self.phase != "load" or self.tick is None:
            return None
        return max(0.0, self.current.planned_load_s - self.tick.phase_elapsed_s)

    @property
    def remaining_s(self) -> float | None:
        """A guess at the seconds until all runs are over, from what is planned and what runs took so far."""
        if self.current is None:
            each = max(self.run_s, default=0.0)
            return len(self.waiting) * each if each else None
        each = max([*self.run_s, self.current.planned_load_s, self._elapsed_s])
        ahead = self.load_remaining_s
        if ahead is None:
            ahead = self.current.planned_load_s if self.phase in ("", "workers", "drop-caches", "start") else 0.0
        return ahead + len(self.waiting) * each
