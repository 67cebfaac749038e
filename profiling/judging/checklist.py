"""What the checklist as a whole says. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.judgements import Check, Claim, Verdict
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import run_status, tightest, users
from profiling.units import format_bytes


def judge_checks(run: AnalysedRun, checks: Sequence[Check]) -> Verdict:
    """Fail if any check fails, inconclusive if any is, else pass: what was not measured is never a pass."""
    name, limit = run.result.target.name, format_bytes(run.summary.memory_limit_bytes)
    failed = [check for check in checks if check.status == "fail"]
    unsure = [check for check in checks if check.status == "inconclusive"]
    warned = [check for check in checks if check.status == "warn"]
    if failed:
        others = len(failed) - 1
        more = f" ({others} more check{'s fail' if others > 1 else ' fails'})" if others else ""
        status, sentence = "fail", f"{name} is not fit for {limit}: {failed[0].message}{more}."
    elif run_status(run) == "fail":
        why = next((finding.message for finding in run.summary.findings if finding.level == "fail"), None)
        status, sentence = "fail", f"{name} is not fit for {limit}: {why or run.summary.outcome.value}."
    elif unsure or run_status(run) == "inconclusive":
        why = unsure[0].message if unsure else (run.result.load_problem or "too little was measured")
        status, sentence = "inconclusive", f"Nothing can be said about {name} at {limit}: {why}."
    else:
        but = f"; {len(warned)} warning{'s' if len(warned) > 1 else ''}" if warned else ""
        headroom = format_bytes(run.summary.headroom_bytes)
        least = tightest(run.summary)
        where = f" in {least.name}" if least else ""
        status, sentence = (
            "pass",
            f"{name} holds {users(run.result)} at {limit} with {headroom} of headroom{where}{but}.",
        )
    counts = [
        f"{len([c for c in checks if c.status == key])} {key}" for key in ("pass", "warn", "fail", "inconclusive")
    ]
    return Verdict(claim=Claim.INCONCLUSIVE, status=status, sentence=sentence, evidence=(", ".join(counts),))
