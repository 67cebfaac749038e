"""From a run to what it says of its load: does it pass, and if not, what is the load too much for. Pure."""

from __future__ import annotations

from profiling.capacities import By, LimitedBy, LoadTrial
from profiling.judgements import Finding, Summary
from profiling.judging import levels, offered
from profiling.judging.findings import KILLED_BY_ANOTHER_LIMIT, STUCK_AT_LIMIT, THRASHING
from profiling.judging.report import AnalysedRun
from profiling.measuring.store import StoredRun
from profiling.values import Budget, Outcome

GROWTH = "growth"
"""The finding that no load is judged by: a leak is one at any load, and in a short run memory that settles looks like one."""
NOT_KEPT = "the rate is not kept"
_OF_MEMORY = ("oom-kill-at-start", "oom-kill", STUCK_AT_LIMIT, THRASHING, "headroom", "peak")
_OF_LATENCY = ("p95",)

Judged = tuple[str, LimitedBy | None, str]
"""(status, what it failed by, the same in words)."""


def judge_trial(run: AnalysedRun, stored: StoredRun, budget: Budget, by: By) -> LoadTrial:
    """The figures of a run with what they say of its load. Of several services those of the whole."""
    summary, result, requests = run.summary, run.result, stored.requests
    plan = result.load
    load = 0.0 if plan is None else float(plan.peak_users if by is By.USERS else plan.rate or 0.0)
    status, limited_by, why = _judge(run, stored, budget)
    return LoadTrial(
        **{key: getattr(summary, key) for key in Summary.__struct_fields__},
        load=load,
        status=status,
        limited_by=limited_by,
        why=why,
        throughput=offered.throughput(requests, result),
        in_flight=offered.most_in_flight(requests),
        unsent=offered.unsent(requests),
        load_peak_bytes=levels.peak_from_load(stored),
        startup_peak_bytes=levels.startup_peak(stored),
        latencies=offered.percentiles(requests),
    )


def _judge(run: AnalysedRun, stored: StoredRun, budget: Budget) -> Judged:
    failing = [finding for finding in run.summary.findings if finding.level == "fail" and finding.id != GROWTH]
    if why := _disturbed(run.summary, failing):
        return "inconclusive", None, why
    if broken := _broken(failing):
        return "fail", *broken
    if late := _late(failing, stored):
        blame = _generators_fault(run, stored, budget)
        return ("inconclusive", LimitedBy.LOAD_GENERATOR, blame) if blame else ("fail", LimitedBy.LATENCY, late)
    if run.result.load_problem:
        return "inconclusive", LimitedBy.LOAD_GENERATOR, run.result.load_problem
    why = _nothing(run.summary)
    return ("inconclusive" if why else "pass"), None, why


def _disturbed(summary: Summary, failing: list[Finding]) -> str:
    """Why a run says nothing, however it went on; empty where nothing came between."""
    if summary.outcome is Outcome.INTERRUPTED:
        return "it was interrupted"
    elsewhere = _first(failing, (KILLED_BY_ANOTHER_LIMIT,))
    return elsewhere.message if elsewhere else ""


def _broken(failing: list[Finding]) -> tuple[LimitedBy, str] | None:
    """What it failed by, late answers aside: a kill explains failed requests, not the other way round."""
    if memory := _first(failing, _OF_MEMORY):
        return LimitedBy.OOM, memory.message
    errors = next((finding for finding in failing if finding.id not in _OF_LATENCY), None)
    return (LimitedBy.ERRORS, errors.message) if errors else None


def _first(failing: list[Finding], ids: tuple[str, ...]) -> Finding | None:
    return next((finding for finding in failing if finding.id in ids), None)


def _late(failing: list[Finding], stored: StoredRun) -> str:
    """How the answers were too late: over the budget, or later and later; empty where they were in time."""
    if p95 := _first(failing, _OF_LATENCY):
        return p95.message
    backlog = offered.backlog(stored.requests, stored.result)
    if backlog is None or backlog.is_kept:
        return ""
    return (
        f"{NOT_KEPT}: {backlog.grown:,} requests more wait at the end of the load than halfway, and {backlog.due:,} were due in"
        " between"
    )


def _generators_fault(run: AnalysedRun, stored: StoredRun, budget: Budget) -> str:
    """Why it may be the generator that was late, and not the service; empty where it was the service."""
    plan, in_flight = run.result.load, offered.most_in_flight(stored.requests)
    if run.result.load_problem:
        return run.result.load_problem
    if plan is None or plan.rate is None or in_flight is None or in_flight >= plan.peak_users:
        return ""
    # Somebody was free all the time: whatever was sent late, the generator sent late.
    own = offered.p95_from_send_ms(stored.requests)
    in_time = own is not None and budget.max_p95_ms is not None and own <= budget.max_p95_ms
    unsent = offered.unsent(stored.requests)
    if in_time or unsent > 0:
        return "the load generator sent requests late although users were free: it, or this machine, was too busy"
    return ""


def _nothing(summary: Summary) -> str:
    """Why a run in which nothing failed shows nothing; empty where it shows that the load holds."""
    if summary.outcome is not Outcome.COMPLETED:
        return summary.stop_reason or summary.outcome.value
    if not summary.requests:
        return "nothing was sent"
    return "" if summary.samples else "nothing was sampled"
