"""What a watch of something that runs already has to say: its findings, and its verdict. Pure."""

from __future__ import annotations

from profiling.judgements import Claim, Finding, Summary, Verdict
from profiling.judging.report import AnalysedRun
from profiling.units import format_bytes, format_percent, format_seconds

_SWAPS = "on"
"""How a sandbox's word on swap begins where memory may go there."""


def of_watch(run: AnalysedRun) -> list[Finding]:
    """What a reader should know of it beyond what is said of any run; nothing of a run that was no watch."""
    watched, summary = run.result.watched, run.summary
    if watched is None:
        return []
    found = []
    if summary.headroom_bytes is not None and summary.headroom_bytes < 0 and watched.assumed:
        found.append(
            Finding(
                id="over-limit",
                level="fail",
                message=f"it would not fit: it holds up to {format_bytes(summary.peak_unreclaimable_bytes)}, over the"
                f" {format_bytes(watched.limit_bytes)} that it is held against",
                hint="`verify` under that limit shows what happens then",
            )
        )
    if run.result.environment and run.result.environment.swap.startswith(_SWAPS):
        found.append(
            Finding(
                id="swap",
                level="warn",
                message="swap is on: what was swapped out does not count as its memory, so it may need more than is shown",
                hint="switch it off (swapoff -a) to see all of it; platforms with a hard limit have none",
            )
        )
    if watched.limit_bytes is None:
        found.append(
            Finding(
                id="no-limit",
                level="info",
                message="no memory limit is in force on it, so there is no headroom to speak of",
                hint="--memory SIZE holds it against the limit of a plan",
            )
        )
    return found


def judge_watch(run: AnalysedRun, status: str, failing: str | None, nothing_said: str) -> Verdict:
    """What was seen, in one sentence. Without a limit and without a count of kills there is nothing to judge.

    `status` is that of the run by itself; `failing`: the first failing finding; `nothing_said`: why it shows nothing.
    """
    summary, watched = run.summary, run.result.watched
    assert watched is not None
    if status == "pass" and watched.limit_bytes is None and summary.oom_kills is None:
        status, nothing_said = "inconclusive", f"it holds up to {format_bytes(summary.peak_unreclaimable_bytes)}, and"
        nothing_said += " nothing limits it or counts its kills"
    if status == "pass":
        sentence = f"{watched.what} held for {_watched_for(run)}: {_survival(summary, assumed=watched.assumed)}."
    elif status == "fail":
        sentence = f"{watched.what} does not hold: {failing or summary.stop_reason or summary.outcome.value}."
    else:
        sentence = f"Nothing can be said of {watched.what}: {nothing_said}."
    return Verdict(claim=Claim.INCONCLUSIVE, status=status, sentence=sentence, evidence=(_evidence(summary),))


def _watched_for(run: AnalysedRun) -> str:
    seconds = (run.result.end_ns - run.result.start_ns) / 1e9
    return format_seconds(float(round(seconds)) if seconds >= 10 else seconds)


def _survival(summary: Summary, *, assumed: bool) -> str:
    parts = [] if summary.oom_kills is None else ["0 kills"]
    if summary.requests:
        answered = f"{summary.requests - summary.failures:,} of {summary.requests:,}" if summary.failures else "all"
        parts.append(
            f"{answered} requests answered" if summary.failures else f"all {summary.requests:,} requests answered"
        )
    peak = f"peak {format_bytes(summary.peak_unreclaimable_bytes)}"
    if summary.memory_limit_bytes and summary.headroom_bytes is not None:
        share = format_percent(summary.headroom_bytes / summary.memory_limit_bytes)
        against = "that it is held against" if assumed else "of its limit"
        limit = format_bytes(summary.memory_limit_bytes)
        peak += f" of the {limit} {against}, {share} headroom" if assumed else f" of {limit}, {share} headroom"
    return ", ".join([*parts, peak])


def _evidence(summary: Summary) -> str:
    kills = "kills not counted" if summary.oom_kills is None else f"{summary.oom_kills} kernel-counted kills"
    restarts = f", {summary.restarts} processes replaced" if summary.restarts else ""
    return f"{summary.name}: {kills}, {summary.samples:,} samples{restarts}"
