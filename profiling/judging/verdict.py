"""The judgements: does a run pass its budget, and what does a comparison show. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.judgements import Claim, ServiceSummary, Summary, Verdict
from profiling.judging.findings import KILLED_BY_ANOTHER_LIMIT, STUCK_AT_LIMIT
from profiling.judging.report import AnalysedRun
from profiling.judging.watches import judge_watch
from profiling.units import format_bytes, format_ms
from profiling.values import Outcome, RunResult

_STATUS_OF_CLAIM = {
    Claim.PROVED: "pass",
    Claim.BASELINE_SURVIVED: "pass",
    Claim.CANDIDATE_FAILED: "fail",
    Claim.INCONCLUSIVE: "inconclusive",
}


def run_status(run: AnalysedRun) -> str:
    """`pass`, `fail` or `inconclusive` of one run by itself: a failing finding fails; no data is never a pass. A run that
    was stopped early because its outcome was certain has the finding that made it so."""
    summary = run.summary
    if summary.outcome is Outcome.INTERRUPTED:
        return "inconclusive"
    if any(finding.level == "fail" for finding in summary.findings):
        return "fail"
    if summary.outcome is Outcome.STOPPED_EARLY:
        return "inconclusive"
    if summary.outcome is not Outcome.COMPLETED:
        return "fail"
    nothing_sent = not summary.requests and not (run.result.watched and run.result.load is None)
    if run.result.load_problem or nothing_sent or not summary.samples:
        return "inconclusive"
    return "pass"


def users(result: RunResult) -> str:
    """The load of a run in words: `8 users`."""
    count = result.load.peak_users if result.load else 0
    return "1 user" if count == 1 else f"{count} users"


def tightest(summary: Summary) -> ServiceSummary | None:
    """The service of several that keeps the least headroom; None where there is one service, or nothing was measured."""
    measured = [service for service in summary.services if service.headroom_bytes is not None]
    return min(measured, key=lambda service: service.headroom_bytes or 0, default=None)


def judge_one(run: AnalysedRun) -> Verdict:
    """One run by itself: there is nothing to compare it with, so the claim is inconclusive."""
    status, summary = run_status(run), run.summary
    subject = f"{run.result.target.name} ({summary.name})" if summary.name != run.result.target.name else summary.name
    failing = next((finding.message for finding in summary.findings if finding.level == "fail"), None)
    if run.result.watched is not None:
        return judge_watch(run, status, failing, nothing_said(run))
    if status == "pass":
        sentence = f"{subject} holds: {_survival(summary)}."
    elif status == "fail":
        sentence = f"{subject} does not hold: {failing or summary.stop_reason or summary.outcome.value}."
    else:
        sentence = f"Nothing can be said about {subject}: {nothing_said(run)}."
    return Verdict(claim=Claim.INCONCLUSIVE, status=status, sentence=sentence, evidence=(_evidence(summary),))


def judge_comparison(runs: Sequence[AnalysedRun], candidate: str) -> Verdict:
    """Whether `candidate` survives a load that kills another variant, by the kernel's own counters.

    `proved` needs another variant killed, and not surviving in any of its runs, and every run of the candidate to have
    answered everything without a kill. Raises ValueError if there is no run of the candidate.
    """
    mine = [run for run in runs if run.result.variant == candidate]
    if not mine:
        raise ValueError(f"no run of {candidate!r}")
    others: dict[str, list[AnalysedRun]] = {}
    for run in runs:
        if run.result.variant != candidate:
            others.setdefault(run.result.variant, []).append(run)
    if not others:
        worst = min(mine, key=lambda run: ("fail", "inconclusive", "pass").index(run_status(run)))
        return judge_one(worst)
    claim = _claim(mine, list(others.values()))
    shown = next((group for group in others.values() if _killed(group)), next(iter(others.values())))
    return Verdict(
        claim=claim,
        status=_STATUS_OF_CLAIM[claim],
        sentence=_sentence(claim, mine, shown, list(others.values())),
        evidence=tuple(_evidence(run.summary) for run in runs),
    )


def _killed(group: Sequence[AnalysedRun]) -> bool:
    """Whether this limit killed it: in each run, or in some while it hung at the limit in the others.

    A kill by the machine's own lack of memory shows nothing.
    """
    kills = [bool(run.summary.oom_kills) and not _by_another_limit(run) for run in group]
    return any(kills) and all(kill or is_stuck(run) for kill, run in zip(kills, group, strict=True))


def is_stuck(run: AnalysedRun) -> bool:
    """Whether it hung at the limit without being killed: neither a kill nor a survival."""
    return any(finding.id == STUCK_AT_LIMIT for finding in run.summary.findings)


def _by_another_limit(run: AnalysedRun) -> bool:
    return any(finding.id == KILLED_BY_ANOTHER_LIMIT for finding in run.summary.findings)


def _survived(run: AnalysedRun) -> bool:
    summary = run.summary
    return (
        summary.outcome is Outcome.COMPLETED
        and not summary.oom_kills
        and summary.requests > summary.failures
        and summary.samples > 0
        and not run.result.load_problem
    )


def _claim(mine: list[AnalysedRun], others: list[list[AnalysedRun]]) -> Claim:
    statuses = {run_status(run) for run in mine}
    if "fail" in statuses:
        return Claim.CANDIDATE_FAILED
    if "inconclusive" in statuses:
        return Claim.INCONCLUSIVE
    if any(_killed(group) for group in others):
        # Within a budget that allows failures the candidate passes, but it did not answer everything.
        return Claim.INCONCLUSIVE if any(run.summary.failures for run in mine) else Claim.PROVED
    return Claim.BASELINE_SURVIVED if all(_survived(run) for group in others for run in group) else Claim.INCONCLUSIVE


def _sentence(claim: Claim, mine: list[AnalysedRun], shown: list[AnalysedRun], others: list[list[AnalysedRun]]) -> str:
    first = mine[0]
    other = next((run for run in shown if run.summary.oom_kills), shown[0])
    name, other_name = first.result.variant, other.result.variant
    limit, load = format_bytes(first.summary.memory_limit_bytes), users(first.result)
    if claim is Claim.PROVED:
        return (
            f"Proved: under {load} at {limit}, {other_name} is OOM-killed ({_kill_words(other.summary)}{_stuck_too(shown)});"
            f" {name} survives ({_survival(first.summary)})."
        )
    if claim is Claim.BASELINE_SURVIVED:
        return (
            f"Not proved: {other_name} survives {load} at {limit} as well. {name} needs"
            f" {_against(first.summary.peak_unreclaimable_bytes, other.summary.peak_unreclaimable_bytes)} and answers in"
            f" {format_ms(first.summary.p50_ms)} instead of {format_ms(other.summary.p50_ms)} at the median"
            f"{_factor(first.summary, other.summary)}."
        )
    if claim is Claim.CANDIDATE_FAILED:
        failed = next(run for run in mine if run_status(run) == "fail")
        finding = next((f.message for f in failed.summary.findings if f.level == "fail"), failed.summary.outcome.value)
        return f"{name} does not hold under {load} at {limit}: {finding}."
    return f"Nothing is proved: {_why_not(mine, others)}."


def _why_not(mine: list[AnalysedRun], others: list[list[AnalysedRun]]) -> str:
    for run in mine:
        if run_status(run) == "inconclusive":
            return f"{run.result.variant}: {nothing_said(run)}"
        if run.summary.failures:
            return f"{run.result.variant} survived, but {run.summary.failures:,} of {run.summary.requests:,} requests failed"
    for group in others:
        for run in group:
            if _by_another_limit(run):
                return f"{run.result.variant} was killed, but not by this limit: the machine ran out of memory"
            if is_stuck(run) and not any(other.summary.oom_kills for other in group):
                return f"{run.result.variant} hung at the limit and answered nothing, but the kernel did not kill it"
            if not run.summary.oom_kills and not _survived(run):
                return f"{run.result.variant}: {nothing_said(run)}, without an OOM kill"
    return "the runs of one variant contradict each other: killed in one, alive in another"


def nothing_said(run: AnalysedRun) -> str:
    """Why a run shows nothing, in a few words."""
    summary = run.summary
    if run.result.load_problem:
        return run.result.load_problem
    if summary.stop_reason:
        return f"{summary.outcome.value} ({summary.stop_reason})"
    if not summary.requests and run.result.load is not None:
        return "nothing was sent"
    if summary.requests and summary.requests == summary.failures:
        return "nothing was answered as expected"
    return "nothing was sampled" if not summary.samples else summary.outcome.value


def _stuck_too(group: Sequence[AnalysedRun]) -> str:
    count = sum(is_stuck(run) for run in group)
    return f"; in {count} of {len(group)} runs it hung at the limit instead" if count else ""


def _kill_words(summary: Summary) -> str:
    kills = f"{summary.oom_kills} kernel-counted kill{'s' if summary.oom_kills != 1 else ''}"
    return f"{kills}, {summary.requests - summary.failures:,} of {summary.requests:,} requests answered"


def _survival(summary: Summary) -> str:
    return (
        f"0 kills, all {summary.requests:,} requests answered, peak {format_bytes(summary.peak_unreclaimable_bytes)}"
        if not summary.failures
        else f"0 kills, {summary.requests - summary.failures:,} of {summary.requests:,} requests answered,"
        f" peak {format_bytes(summary.peak_unreclaimable_bytes)}"
    )


def _against(mine: int | None, other: int | None) -> str:
    if mine is None or other is None:
        return "an unmeasured amount"
    return f"{format_bytes(mine)} instead of {format_bytes(other)}"


def _factor(mine: Summary, other: Summary) -> str:
    if not mine.p50_ms or not other.p50_ms or other.p50_ms < 1.5 * mine.p50_ms:
        return ""
    return f", {other.p50_ms / mine.p50_ms:.0f} times as fast"


def _evidence(summary: Summary) -> str:
    peak, limit = format_bytes(summary.peak_unreclaimable_bytes), format_bytes(summary.memory_limit_bytes)
    return f"{summary.name}: {summary.outcome.value}, {_kill_words(summary)}, peak {peak} of {limit} unreclaimable"
