"""Report -> what a person or a program reads. str or bytes out; whoever calls writes them somewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import PurePath

import msgspec

from profiling.capacities import By, CapacityJudgement
from profiling.grids import GridJudgement
from profiling.judging.report import Report
from profiling.profiles import Profile
from profiling.regressions import GateJudgement
from profiling.sizing import SizeJudgement
from reports.documents import Capacity, Comparison, Gated, GridComparison, Sized, Verification
from reports.text import render_text, terminal
from reports.words import flamegraph_path, report_path


def render_json(report: Report) -> str:
    """The document that --json prints: sizes in bytes, shares 0..1, unmeasured null, paths absolute."""
    if report.checks:
        return _dump(_verification(report))
    if report.gate is not None:
        return _dump(_gated(report, report.gate))
    if report.capacity is not None:
        return _dump(_capacity(report, report.capacity))
    if report.size is not None:
        return _dump(_sized(report, report.size))
    return _dump(_comparison(report, report.grid))


def _comparison(report: Report, grid: GridJudgement | None) -> Comparison:
    """The document of `compare --json` and, of single runs, of `report --json`."""
    document = Comparison(
        command=report.command,
        claim=report.verdict.claim,
        candidate=report.candidate,
        runs=report.trials if grid else tuple(run.summary for run in report.runs),
        profiles=tuple(absolute(profile, report.directory) for profile in report.profiles),
        autopsies=report.autopsies,
        report=report_path(report),
    )
    return document if grid is None else GridComparison(**msgspec.structs.asdict(document), grid=grid)


def _verification(report: Report) -> Verification:
    """The document of `verify --json`."""
    return Verification(
        command=report.command,
        verdict=report.verdict.status,
        checks=report.checks,
        run=report.runs[0].summary,
        autopsies=report.autopsies,
        report=report_path(report),
    )


def _gated(report: Report, found: GateJudgement) -> Gated:
    """The document of `gate --json`."""
    return Gated(
        verdict=found.verdict,
        sentence=found.sentence,
        base=found.base,
        head=found.head,
        metrics=found.metrics,
        confirmed_by_rerun=found.confirmed_by_rerun,
        notes=found.notes,
        lines=found.lines,
        flamegraph=flamegraph_path(report),
        report=report_path(report),
    )


def _capacity(report: Report, found: CapacityJudgement) -> Capacity:
    """The document of `capacity --json`."""
    return Capacity(
        verdict=found.status,
        sentence=found.sentence,
        by=found.by,
        max_users=round(found.holds) if found.by is By.USERS and found.holds is not None else None,
        max_rate=found.holds if found.by is By.RATE else None,
        first_failing=found.first_failing,
        limited_by=found.limited_by,
        trials=found.trials,
        memory=found.memory,
        memory_in_flight=found.memory_in_flight,
        saturation=found.saturation,
        notes=found.notes,
        autopsies=report.autopsies,
        report=report_path(report),
    )


def _sized(report: Report, found: SizeJudgement) -> Sized:
    """The document of `size --json`."""
    return Sized(
        verdict=found.verdict,
        sentence=found.sentence,
        smallest_passing_bytes=found.smallest_passing_bytes,
        largest_failing_bytes=found.largest_failing_bytes,
        largest_killed_bytes=found.largest_killed_bytes,
        need_bytes=found.need_bytes,
        headroom=found.headroom,
        plans=found.plans,
        trials=report.trials,
        autopsies=report.autopsies,
        report=report_path(report),
    )


def _dump(document: object) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def absolute(profile: Profile, directory: str) -> Profile:
    """The profile with its files' whole paths."""
    return profile.with_paths(lambda path: str(PurePath(directory) / path))


def _text(report: Report) -> str:
    width, colour = terminal(sys.stdout, os.environ)
    return render_text(report, width, colour)


def _html(report: Report) -> str:
    from reports.html import render_html  # the picture's library takes a second to load

    return render_html(report)


RENDERERS: dict[str, Callable[[Report], str | bytes]] = {
    "text": _text,
    "json": render_json,
    "html": _html,
}
