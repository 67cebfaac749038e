"""A service that found no memory to start in, with the imports that cost most. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from profiling.import_costs import ImportCosts
from profiling.judgements import Finding
from profiling.judging.findings import named
from profiling.judging.imports.costs import NOISE_BYTES
from profiling.judging.report import AnalysedRun
from profiling.units import format_bytes
from profiling.values import Outcome

_KILLED, _NEVER_READY = "oom-kill-at-start", "never-ready"
_FULL = 0.9
"""From this share of the limit on, a service that never got ready may have hung at it: the kernel takes its code away, over
and over, and with a fast disk finds no reason to kill."""
_NAMED = 3
_SMALL = 0.25
"""Imports that hold less than this share of the limit are not what it died of."""


def starved_at_start(run: AnalysedRun) -> AnalysedRun | None:
    """The run, or of several services the first one's part in it, that was killed before it was ready, or never got ready
    with hardly any memory left; None if none was."""
    return next((part for part in run.services or (run,) if _starved(part)), None)


def _starved(run: AnalysedRun) -> bool:
    summary = run.summary
    if summary.ready or summary.outcome is Outcome.INTERRUPTED:
        return False
    full = (summary.peak_unreclaimable_bytes or 0) >= _FULL * (summary.memory_limit_bytes or 0)
    return bool(summary.oom_kills) or (summary.outcome is Outcome.NEVER_READY and full)


def with_imports(run: AnalysedRun, costs: ImportCosts, directory: str) -> AnalysedRun:
    """The run with the imports named in what is said of its start, or its starved service's; `directory`: where they are
    recorded."""
    starved = starved_at_start(run)
    if starved is None:
        return run
    said = {
        finding: _with(finding, costs, starved.summary.memory_limit_bytes or 0, directory)
        for finding in starved.summary.findings
        if finding.id in (_KILLED, _NEVER_READY)
    }
    if not run.services:
        return _replaced(run, said)
    whole = {named(starved.summary.name, old): named(starved.summary.name, new) for old, new in said.items()}
    services = tuple(_replaced(part, said) if part is starved else part for part in run.services)
    return _replaced(dataclasses.replace(run, services=services), whole)


def _replaced(run: AnalysedRun, said: Mapping[Finding, Finding]) -> AnalysedRun:
    findings = tuple(said.get(finding, finding) for finding in run.summary.findings)
    return dataclasses.replace(run, summary=msgspec.structs.replace(run.summary, findings=findings))


def _with(finding: Finding, costs: ImportCosts, limit: int, directory: str) -> Finding:
    full = f"; it stood at its limit of {format_bytes(limit)}" if finding.id == _NEVER_READY else ""
    message = f"{finding.message}{full}; {in_words(costs)}"
    if costs.status == "skipped":
        return msgspec.structs.replace(finding, message=message)
    if costs.total_anon_bytes < _SMALL * limit:
        hint = "raise the limit, or look at what its own code makes before it is ready: `profile` shows that"
    else:
        hint = "raise the limit, or import later what is not needed at the start"
    return msgspec.structs.replace(finding, message=message, hint=f"{hint}; all its imports: report {directory}")


def in_words(costs: ImportCosts) -> str:
    """ "its imports hold 212 MiB: torch 140 MiB (app.py:3), transformers 48 MiB (app.py:4)"."""
    if costs.status == "skipped":
        return f"its imports could not be recorded: {costs.problem}"
    least = "" if costs.complete else "at least "
    named = [package for package in costs.packages if package.anon_bytes >= NOISE_BYTES][:_NAMED]
    words = ", ".join(
        f"{package.name} {format_bytes(package.anon_bytes)}" + (f" ({package.line})" if package.line else "")
        for package in named
    )
    return f"its imports hold {least}{format_bytes(costs.total_anon_bytes)}" + (f": {words}" if words else "")
