"""Stored runs out of thin air: 2 s of start-up, 20 s of load, 2 s of watching what stays; 100 samples a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests import requestlog
from loadtests.plan import LoadPlan, RequestTemplate
from loadtests.requestlog import RequestOutcome
from profiling.judgements import Summary
from profiling.judging.analysis import analyse
from profiling.judging.findings import with_findings
from profiling.judging.report import AnalysedRun
from profiling.measuring.samples import FIELDS, UNMEASURED
from profiling.measuring.store import StoredRun
from profiling.units import MIB
from profiling.values import Budget, Limits, Outcome, PageCache, Phase, RunResult, Service, Target

HZ = 100
LIMIT = 512 * MIB
START_NS = 7_000_000_000_000
READY_S, LOAD_S, LOAD_END_S, END_S = 2, 2, 22, 24
Records = NDArray[np.void]


def at(seconds: float) -> int:
    """CLOCK_MONOTONIC, in ns, that many seconds into the run."""
    return START_NS + round(seconds * 1e9)


def result(**changes: Any) -> RunResult:
    """A run that completed and holds; `changes` are laid over it."""
    service = Service(command=("./serve",), directory="/srv/shop")
    fields: dict[str, Any] = {
        "name": changes.get("variant", "singleton"),
        "variant": "singleton",
        "target": Target(name="shop", services=(service,), request=RequestTemplate()),
        "limits": Limits(memory_bytes=LIMIT),
        "load": LoadPlan.constant(8, 20.0),
        "sandbox": "cgroup-v2",
        "argv": ("cli.py", "compare"),
        "started_at": "2026-11-22T09:30:00+00:00",
        "outcome": Outcome.COMPLETED,
        "start_ns": START_NS,
        "ready_ns": at(READY_S),
        "load_start_ns": at(LOAD_S),
        "load_end_ns": at(LOAD_END_S),
        "end_ns": at(END_S),
        "phases": (
            Phase(name="start", start_ns=START_NS, end_ns=at(LOAD_S)),
            Phase(name="load", start_ns=at(LOAD_S), end_ns=at(LOAD_END_S)),
            Phase(name="stop", start_ns=at(23), end_ns=at(END_S)),
        ),
        "clean_end": True,
        "page_cache": PageCache.COLD,
        "sample_fields": FIELDS,
        "request_fields": tuple(requestlog.FIELDS),
    }
    return RunResult(**fields | changes)


def samples(*, t_s: Any = None, **columns: Any) -> Records:
    """Samples at `t_s` seconds into the run, by default at a steady rate all through it; a column is a number or an
    array, 100 MiB for memory that is not named, 0 for counts."""
    t_s = np.arange(0, END_S, 1 / HZ) if t_s is None else np.asarray(t_s, dtype=float)
    rows = np.zeros(len(t_s), dtype=list(FIELDS))
    rows["t_ns"] = START_NS + np.rint(t_s * 1e9).astype(np.int64)
    for name in ("charged", "working_set", "unreclaimable"):
        rows[name] = 100 * MIB
    for name in ("rss", "pss"):
        rows[name] = UNMEASURED
    for name, column in columns.items():
        rows[name] = column
    return rows


def requests(
    finished_s: Any,
    *,
    latency_ms: Any = 50.0,
    sent_late_ms: float = 0.0,
    outcome: RequestOutcome = RequestOutcome.OK,
    status: int = 200,
) -> Records:
    """Requests that ended at `finished_s` seconds into the run, `latency_ms` after they were due."""
    rows = np.zeros(len(finished_s), dtype=requestlog.FIELDS)
    rows["finished_ns"] = START_NS + np.rint(np.asarray(finished_s, dtype=float) * 1e9).astype(np.int64)
    rows["intended_ns"] = rows["finished_ns"] - np.rint(np.asarray(latency_ms) * 1e6).astype(np.int64)
    rows["sent_ns"] = rows["intended_ns"] + round(sent_late_ms * 1e6)
    rows["outcome"], rows["status"] = outcome, status
    return rows


def spread(count: int, from_s: float = LOAD_S, to_s: float = LOAD_END_S) -> NDArray[np.float64]:
    """`count` moments, evenly spaced over a stretch of the run."""
    return from_s + (np.arange(count) + 0.5) * (to_s - from_s) / max(count, 1)


def answers(count: int) -> Records:
    return requests(spread(count))


def failures(count: int) -> Records:
    return requests(spread(count), outcome=RequestOutcome.CONNECTION_ERROR, status=0)


def stored(what: RunResult | None = None, memory: Records | None = None, load: Records | None = None) -> StoredRun:
    what = result() if what is None else what
    return StoredRun(
        directory=Path("/srv/shop/runs") / what.name,
        result=what,
        samples=samples() if memory is None else memory,
        requests=answers(200) if load is None else load,
    )


def summary(what: RunResult | None = None, memory: Records | None = None, load: Records | None = None) -> Summary:
    return analyse(stored(what, memory, load)).summary


def judged(
    what: RunResult | None = None,
    memory: Records | None = None,
    load: Records | None = None,
    budget: Budget | None = None,
) -> AnalysedRun:
    run = stored(what, memory, load)
    return with_findings(analyse(run), run, budget or Budget())
