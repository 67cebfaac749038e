"""The curves as CSV, for whoever wants to compute on. Units are in the header, unmeasured is empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profiling.judging.report import AnalysedRun, Array

_MEMORY_BYTES = ("charged", "unreclaimable", "working_set", "rss", "pss", "anon", "file", "shmem", "kernel")
_MEMORY_COUNTS = ("processes", "oom_kills")
_ROWS = 10_000
"""So many rows at once are cells, of which each takes several times as much memory as its text."""


def series_csv(run: AnalysedRun) -> str:
    """The memory curves: `t_s` is seconds since the run's start, sizes are bytes, kills are cumulative."""
    memory = run.memory
    columns: list[tuple[str, Array, Callable[[float], str]]] = [("t_s", memory.t_s, _seconds)]
    columns += [(f"{name}_bytes", getattr(memory, name), _whole) for name in _MEMORY_BYTES]
    columns += [(name, getattr(memory, name), _whole) for name in _MEMORY_COUNTS]
    return _csv(columns)


def load_csv(run: AnalysedRun) -> str:
    """What the clients saw, in one-second bins: `t_s` is the bin's start in seconds since the run's start."""
    load = run.load
    return _csv(
        [
            ("t_s", load.t_s, _seconds),
            ("users", load.users, _whole),
            ("answers_per_s", load.rps, _number),
            ("failures_per_s", load.failures, _number),
            ("p95_ms", load.p95_ms, _number),
        ]
    )


def _csv(columns: list[tuple[str, Array, Callable[[float], str]]]) -> str:
    parts = [",".join(name for name, _, _ in columns)]
    for start in range(0, len(columns[0][1]), _ROWS):
        cells = [
            [form(value) if np.isfinite(value) else "" for value in array[start : start + _ROWS].tolist()]
            for _, array, form in columns
        ]
        parts.append("\n".join(map(",".join, zip(*cells, strict=True))))
    return "\n".join([*parts, ""])


def _seconds(value: float) -> str:
    return f"{value:.4f}"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
