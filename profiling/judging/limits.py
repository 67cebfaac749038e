"""What one run says of the limit it was made under. Pure."""

from __future__ import annotations

import numpy as np

from profiling.judging.findings import KILLED_BY_ANOTHER_LIMIT, STUCK_AT_LIMIT, THRASHING, read_again
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import nothing_said, run_status
from profiling.measuring.store import StoredRun
from profiling.sizing import Ending, Tried
from profiling.units import format_bytes

_ENDINGS = {
    "oom-kill": Ending.KILLED,
    "oom-kill-at-start": Ending.KILLED,
    STUCK_AT_LIMIT: Ending.HUNG,
    THRASHING: Ending.THRASHES,
    "never-ready": Ending.NEVER_READY,
    "crashed": Ending.CRASHED,
    "timed-out": Ending.TIMED_OUT,
    "failures": Ending.FAILURES,
    "p95": Ending.SLOW,
    "peak": Ending.PEAK,
    "growth": Ending.GROWTH,
    "headroom": Ending.HEADROOM,
}
"""By the failing finding that says most, first ones first."""
_BY_THRASHING = (Ending.NEVER_READY, Ending.TIMED_OUT, Ending.FAILURES, Ending.SLOW)
_FULL = 0.98
"""From this share of the limit on, all of it was in use."""


def tried(run: AnalysedRun, stored: StoredRun) -> Tried:
    """How the run ended. `run`: with its findings."""
    summary = run.summary
    limit = summary.memory_limit_bytes or 0
    charged = max(summary.peak_charged_bytes or 0, run.result.kernel_peak_charged_bytes or 0)
    at_limit = charged >= _FULL * limit
    again = read_again(stored.every_sample)
    ending, reason = _ending(run)
    if ending in _BY_THRASHING and at_limit and again >= limit:
        ending = Ending.THRASHES
        reason = f"{reason}; it read {format_bytes(again)} of its own code and files again"
    return Tried(
        limit_bytes=limit,
        ending=ending,
        reason=reason,
        at_limit=at_limit,
        before_ready=run.ready_s is None,
        read_again_bytes=again,
        peak_bytes=summary.peak_unreclaimable_bytes,
        working_set_bytes=_in_use(run),
        p95_ms=summary.p95_ms,
        oom_kills=summary.oom_kills or 0,
        run_dir=summary.run_dir,
    )


def _in_use(run: AnalysedRun) -> int | None:
    if run.load_s is None:
        return None
    start_s, end_s = run.load_s
    under_load = run.memory.working_set[(run.memory.t_s >= start_s) & (run.memory.t_s <= end_s)]
    measured = under_load[np.isfinite(under_load)]
    return int(np.median(measured)) if measured.size else None


def _ending(run: AnalysedRun) -> tuple[Ending, str]:
    status = run_status(run)
    if status == "pass":
        return Ending.PASSED, ""
    failing = {finding.id: finding.message for finding in run.summary.findings if finding.level == "fail"}
    if KILLED_BY_ANOTHER_LIMIT in failing:
        return Ending.UNUSABLE, failing[KILLED_BY_ANOTHER_LIMIT]
    if status == "fail":
        for name, ending in _ENDINGS.items():
            if name in failing:
                return ending, failing[name]
    return Ending.UNUSABLE, nothing_said(run)
