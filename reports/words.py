"""The words and signs that every renderer uses for outcomes, claims and findings: never colour alone."""

from __future__ import annotations

import dataclasses
import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import quote

import msgspec

from profiling.capacities import CapacityJudgement
from profiling.experiments.capacity_verdict import named
from profiling.grids import CellStatus, GridJudgement
from profiling.judgements import Claim, Finding, Summary, Verdict
from profiling.judging import conformance
from profiling.judging.findings import STUCK_AT_LIMIT
from profiling.judging.report import AnalysedRun, Report
from profiling.profiles import Frame, HeldMemory, Profile
from profiling.regressions import GateVerdict
from profiling.sizing import SizeVerdict
from profiling.units import format_bytes
from profiling.values import ApiProblem, Outcome

REPORT_NAME = "report.html"
PROCESSES_NAME = "flamegraph-all-processes.html"
GOOD, BAD, UNSURE = "good", "bad", "unsure"


@dataclass(frozen=True, slots=True)
class Sign:
    """How something is shown: a word, a character, and a tone (`good`, `bad` or `unsure`)."""

    word: str
    symbol: str
    tone: str


OUTCOMES: dict[Outcome, Sign] = {
    Outcome.COMPLETED: Sign("completed", "✓", GOOD),
    Outcome.OOM_KILLED: Sign("OOM-killed", "✗", BAD),
    Outcome.CRASHED: Sign("crashed", "✗", BAD),
    Outcome.NEVER_READY: Sign("never ready", "✗", BAD),
    Outcome.TIMED_OUT: Sign("timed out", "✗", BAD),
    Outcome.STOPPED_EARLY: Sign("stopped early", "!", UNSURE),
    Outcome.INTERRUPTED: Sign("interrupted", "!", UNSURE),
}
LEVELS: dict[str, Sign] = {
    "fail": Sign("failure", "✗", BAD),
    "warn": Sign("warning", "!", UNSURE),
    "info": Sign("note", "i", GOOD),
}
CHECKS: dict[str, Sign] = {
    "pass": Sign("pass", "✓", GOOD),
    "warn": Sign("warning", "!", UNSURE),
    "fail": Sign("failure", "✗", BAD),
    "inconclusive": Sign("inconclusive", "?", UNSURE),
    "skipped": Sign("skipped", "–", UNSURE),
}
CHECK_NAMES = {
    "start": "starts in time",
    "startup-memory": "start fits",
    "port": "listens on PORT",
    "ready": "gets ready",
    "contract": "answers as agreed",
    "openapi": "keeps its OpenAPI document",
    "bad-input": "refuses bad input",
    "oom": "is not OOM-killed",
    "alive": "stays alive",
    "timeouts": "answers in time",
    "p95": "p95",
    "headroom": "headroom",
    "growth": "memory is flat",
    "plateau": "back to rest",
    "end": "ends on SIGTERM",
}
"""The points of the checklist in a few words."""
PROBLEMS = {
    "server-error": "server error",
    "schema": "answer breaks its schema",
    "status": "undocumented status",
    "content-type": "undocumented content type",
    "no-answer": "no answer",
    "document": "fault in the document",
}
"""The kinds of `ApiProblem`."""
HELD_AT = {"kill": "the kill", "cut": "the end of the recording, before the kill", "peak": "its peak"}
"""When the memory in `Profile.held` was alive."""
_CLAIMS: dict[Claim, str] = {
    Claim.PROVED: "proved",
    Claim.BASELINE_SURVIVED: "the baseline survived",
    Claim.CANDIDATE_FAILED: "the candidate failed",
    Claim.INCONCLUSIVE: "inconclusive",
}
_VERIFIED = {"pass": "verified", "fail": "not fit", "inconclusive": "inconclusive"}
_WATCHED = {"pass": "held", "inconclusive": "inconclusive"}
_STATUSES: dict[str, Sign] = {
    "pass": Sign("pass", "✓", GOOD),
    "fail": Sign("fail", "✗", BAD),
    "inconclusive": Sign("inconclusive", "?", UNSURE),
}


GATE_VERDICTS: dict[GateVerdict, Sign] = {
    GateVerdict.PASS: Sign("no regression", "✓", GOOD),
    GateVerdict.IMPROVED: Sign("improved", "✓", GOOD),
    GateVerdict.REGRESSED: Sign("regressed", "✗", BAD),
    GateVerdict.OVER_BUDGET: Sign("over budget", "✗", BAD),
    GateVerdict.INCONCLUSIVE: Sign("inconclusive", "?", UNSURE),
}

SIZE_VERDICTS: dict[SizeVerdict, Sign] = {
    SizeVerdict.SIZED: Sign("sized", "✓", GOOD),
    SizeVerdict.NEVER_PASSES: Sign("passes at no limit", "✗", BAD),
    SizeVerdict.INCONCLUSIVE: Sign("inconclusive", "?", UNSURE),
}


def outcome_sign(summary: Summary) -> Sign:
    """How a run ended, in a word. One that ran to the end and still failed is not shown as good."""
    sign = OUTCOMES[summary.outcome]
    failing = [finding for finding in summary.findings if finding.level == "fail"]
    if summary.outcome is Outcome.STOPPED_EARLY and failing:
        return Sign("failing, stopped early", "✗", BAD)
    if summary.outcome is not Outcome.COMPLETED or not failing:
        return sign
    hung = any(finding.id == STUCK_AT_LIMIT for finding in failing)
    return Sign("hung at the limit" if hung else "completed, but failing", "✗", BAD)


def verdict_sign(report: Report) -> Sign:
    """The claim in a word with the sign of its status; one run alone has its outcome for a word."""
    verdict: Verdict = report.verdict
    status = _STATUSES.get(verdict.status, _STATUSES["inconclusive"])
    if report.gate is not None:
        return GATE_VERDICTS[report.gate.verdict]
    if report.capacity is not None:
        return _capacity_sign(report.capacity, status)
    if report.size is not None:
        return SIZE_VERDICTS[report.size.verdict]
    if report.grid is not None:
        return _grid_sign(report.grid, status)
    if report.checks:
        return Sign(_VERIFIED[verdict.status], status.symbol, status.tone)
    if len(report.runs) == 1 and report.runs[0].result.watched and verdict.status != "fail":
        word = _WATCHED[verdict.status]
    elif len(report.runs) == 1 and verdict.claim is Claim.INCONCLUSIVE:
        word = outcome_sign(report.runs[0].summary).word
    else:
        word = _CLAIMS[verdict.claim]
    return Sign(word, status.symbol, status.tone)


def _capacity_sign(found: CapacityJudgement, status: Sign) -> Sign:
    """The answer of `capacity` in a few words."""
    if found.status == "pass" and found.holds is not None:
        least = "at least " if found.first_failing is None else ""
        return Sign(f"holds {least}{named(found.by, found.holds)}", status.symbol, status.tone)
    return Sign("does not hold" if found.status == "fail" else status.word, status.symbol, status.tone)


def _grid_sign(found: GridJudgement, status: Sign) -> Sign:
    """The answer of `compare --grid` in a few words."""
    holding = sum(cell.status is CellStatus.HOLDS for cell in found.cells)
    return Sign(f"{holding} of {len(found.cells)} cells hold", status.symbol, status.tone)


def is_candidate(run: AnalysedRun, report: Report) -> bool:
    """Whether this run is one of the variant that the comparison is about."""
    return report.candidate is not None and report.candidate in (run.summary.name, run.result.variant)


def level_sign(finding: Finding) -> Sign:
    return LEVELS.get(finding.level, LEVELS["info"])


def findings_beside_checks(report: Report) -> list[tuple[str, Finding]]:
    """(run's name, finding) of all findings but those that stand in the checklist, at their point."""
    told = {check.message for check in report.checks}
    return [
        (run.summary.name, finding)
        for run in report.runs
        for finding in run.summary.findings
        if finding.message not in told
    ]


def pictured(runs: Sequence[AnalysedRun]) -> tuple[AnalysedRun, ...]:
    """The runs as the picture shows them: one against each limit, so each service of a system by itself."""
    shown: list[AnalysedRun] = []
    for run in runs:
        for part in run.services:
            title = f"{run.summary.name}: {part.summary.name}"
            shown.append(dataclasses.replace(part, summary=msgspec.structs.replace(part.summary, name=title)))
        if not run.services:
            shown.append(run)
    return tuple(shown)


def api_problems(report: Report) -> list[tuple[Sign, ApiProblem]]:
    """What `verify` found against the OpenAPI document, worst first, each with the sign of what it means."""
    if not report.checks or not report.runs:
        return []
    document, found = report.runs[0].result.target.openapi, report.runs[0].result.openapi
    if document is None or found is None:
        return []
    return [
        (CHECKS[conformance.problem_status(problem, document, found)], problem)
        for problem in conformance.by_weight(found)
    ]


def kills(count: int | None) -> str:
    """The count in words: no OOM kill, 1 OOM kill, 5 OOM kills."""
    if count is None:
        return "kills not counted"
    return "no OOM kill" if count == 0 else f"{count:,} OOM kill{'s' if count != 1 else ''}"


def by_weight(profile: Profile) -> tuple[tuple[HeldMemory, ...], tuple[HeldMemory, ...]]:
    """The lines that held the memory, and those that held less than a hundredth of what the first one did."""
    least = max((held.bytes for held in profile.held), default=0) / 100
    main = tuple(held for held in profile.held if held.bytes >= least)
    return main, tuple(held for held in profile.held if held.bytes < least)


def place(frame: Frame, roots: tuple[str, ...]) -> str:
    """Where a frame is, as "backend/model.py:31"; empty for a frame that no file is known of."""
    return f"{short_path(frame.file, roots)}:{frame.line}" if frame.file else ""


def of_limit(size: int | None, limit: int | None) -> str:
    """A size beside its limit: "408 of 512 MiB", "900 MiB of 1 GiB"; a common unit is said once."""
    if limit is None:
        return format_bytes(size)
    whole = format_bytes(limit)
    if size is None:
        return f"– of {whole}"
    number, unit = format_bytes(size).split(" ")
    return f"{number} of {whole}" if whole.endswith(f" {unit}") else f"{number} {unit} of {whole}"


def peak_share(summary: Summary) -> float | None:
    """Peak of the unreclaimable memory as a fraction of the limit; None where unmeasured."""
    if summary.peak_unreclaimable_bytes is None or not summary.memory_limit_bytes:
        return None
    return summary.peak_unreclaimable_bytes / summary.memory_limit_bytes


def printable(text: str) -> str:
    """`text` on one line, and without the characters that command a terminal and that XML cannot hold."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def shorten(text: str, length: int) -> str:
    """`text` in at most `length` characters, elided in its middle: the ends tell names apart."""
    if len(text) <= length:
        return text
    head = length // 2
    tail = length - 1 - head
    return text[:head] + "…" + (text[-tail:] if tail > 0 else "")


def short_path(file: str, roots: tuple[str, ...]) -> str:
    """A source file as a reader knows it: relative to the first root that holds it, else its last parts."""
    path = PurePath(file)
    for root in roots:
        if root and path.is_relative_to(root):
            return str(path.relative_to(root))
    for marker in ("site-packages", "dist-packages"):
        if marker in path.parts:
            return "/".join(path.parts[path.parts.index(marker) + 1 :])
    return file if len(path.parts) <= 3 else "…/" + "/".join(path.parts[-3:])


def source_roots(report: Report) -> tuple[str, ...]:
    """Directories of the services measured: what their own code's paths are relative to."""
    return tuple(dict.fromkeys(s.directory for run in report.runs for s in run.result.target.services))


def relative_link(path: str, directory: str) -> str:
    """`path` as a URL seen from `directory`; a relative path is taken to be so already."""
    seen = os.path.relpath(path, directory) if PurePath(path).is_absolute() else path
    return quote(seen)  # a colon too: a first part such as "a:b" would be a scheme


def processes_page(stacks: str) -> str:
    """Path of the page that shows all processes of a memray pass together, by that of their stacks."""
    return str(PurePath(stacks).parent / PROCESSES_NAME)


def signed(change: int) -> str:
    """`+40 MiB`, `−3.2 MiB`, `±0`."""
    if not change:
        return "±0"
    return f"{'+' if change > 0 else '−'}{format_bytes(abs(change))}"


def flamegraph_path(report: Report) -> str | None:
    """Absolute path of the page with a gate's differential flame graph; None where there is none."""
    if report.gate is None or report.gate.difference is None:
        return None
    return str(PurePath(report.directory) / report.gate.difference / REPORT_NAME)


def report_path(report: Report) -> str:
    """Absolute path of the page."""
    return str(PurePath(report.directory) / REPORT_NAME)
