"""What a renderer gets: everything about a set of runs, already analysed and judged.

Arrays are NumPy float64 of equal length within one series; `t_s` is seconds since the run's start; NaN means unmeasured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiling.autopsies import Autopsy
from profiling.capacities import CapacityJudgement
from profiling.grids import GridJudgement
from profiling.judgements import Check, Summary, Verdict
from profiling.profiles import Profile
from profiling.regressions import GateJudgement
from profiling.sizing import SizeJudgement
from profiling.values import RunResult

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MemorySeries:
    """The memory curves of one run, in bytes."""

    t_s: Array
    charged: Array
    unreclaimable: Array
    working_set: Array
    rss: Array
    pss: Array
    anon: Array
    file: Array
    shmem: Array
    kernel: Array
    processes: Array
    oom_kills: Array
    """Cumulative count."""


@dataclass(frozen=True, slots=True)
class LoadSeries:
    """What the clients saw, second by second."""

    t_s: Array
    """Start of each one-second bin."""
    users: Array
    rps: Array
    """Answers as expected per second."""
    failures: Array
    """Failed requests per second."""
    p95_ms: Array
    """Of the answers as expected that ended in the bin; NaN where there is none."""


@dataclass(frozen=True, slots=True)
class AnalysedRun:
    """One run: its figures, its curves, and how it was made."""

    summary: Summary
    result: RunResult
    memory: MemorySeries
    load: LoadSeries
    kills_s: tuple[float, ...]
    """When each kernel-counted kill was seen, in seconds since the run's start; a kill that was counted twice in one
    sample stands here twice."""
    ready_s: float | None
    load_s: tuple[float, float] | None
    """Start and end of the load."""
    services: tuple[AnalysedRun, ...] = ()
    """Where there are several: the run as each alone had it, under its own limit; all share the load."""


@dataclass(frozen=True, slots=True)
class Report:
    """A page: one verdict over one or more runs."""

    command: str
    """Name of the command: `compare`, `profile`, `report`."""
    verdict: Verdict
    candidate: str | None
    runs: tuple[AnalysedRun, ...]
    profiles: tuple[Profile, ...]
    argv: tuple[str, ...]
    created_at: str
    beside_share: float | None
    """Time spent beside the runs themselves (start-up and load), as a fraction of theirs."""
    directory: str
    """Absolute path of the directory that the page lies in; links are relative to it."""
    checks: tuple[Check, ...] = ()
    """The checklist of `verify`."""
    gate: GateJudgement | None = None
    """What `gate` says; the runs are then one of each side."""
    capacity: CapacityJudgement | None = None
    """What `capacity` says; the runs are then the largest load that passed and the smallest that failed."""
    autopsies: tuple[Autopsy, ...] = ()
    """Of the runs and memray passes in which the kernel killed; paths in them are absolute."""
    size: SizeJudgement | None = None
    """What `size` says; the runs are then one on each side of the border."""
    grid: GridJudgement | None = None
    """What `compare --grid` says; the runs are then one that holds and one that does not."""
    trials: tuple[Summary, ...] = ()
    """All runs of a search, of which `runs` shows some."""
