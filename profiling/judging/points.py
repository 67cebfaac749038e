"""How a point of the checklist is made from what is known: from a finding, or from there being none. Pure."""

from __future__ import annotations

from profiling.judgements import Check, Finding
from profiling.judging.report import AnalysedRun
from profiling.values import Outcome

CANNOT_SAY = "cannot be said: it never became ready"
ENDED = "cannot be said: it had ended by then"
CUT_SHORT = (Outcome.INTERRUPTED, Outcome.STOPPED_EARLY)
"""What did not happen in such a run says nothing of the service."""


def finding(run: AnalysedRun, *ids: str) -> Finding | None:
    """The run's most serious finding with one of these ids."""
    return next((finding for finding in run.summary.findings if finding.id in ids), None)


def of_finding(finding: Finding, check_id: str, measured: str, limit: str, status: str | None = None) -> Check:
    """The point that says what a finding says; `status` where that is not the finding's level."""
    level = status or {"fail": "fail", "warn": "warn"}.get(finding.level, "pass")
    return Check(id=check_id, status=level, measured=measured, limit=limit, message=finding.message, hint=finding.hint)


def failed(check_id: str, run: AnalysedRun, measured: str, limit: str, *ids: str) -> Check:
    """The point that a finding with one of these ids fails; inconclusive where there is none."""
    found = finding(run, *ids)
    if found is not None:
        return of_finding(found, check_id, measured, limit, "fail")
    message = run.summary.stop_reason or run.summary.outcome.value
    return Check(id=check_id, status="inconclusive", measured=measured, limit=limit, message=message)


def broken_off(check_id: str, limit: str) -> Check:
    """The point that could not be reached."""
    message = "the run was over before that"
    return Check(id=check_id, status="inconclusive", measured="–", limit=limit, message=message)


def skipped(check_id: str, why: str) -> Check:
    """The point that was not looked at, and why."""
    return Check(id=check_id, status="skipped", measured="–", limit="", message=why)
