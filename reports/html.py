"""The page: one file with everything in it, that asks nobody for anything."""

from __future__ import annotations

import base64
import functools
import posixpath
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from profiling.capacities import CapacityJudgement
from profiling.grids import GridJudgement
from profiling.judgements import Summary
from profiling.judging.report import AnalysedRun, Report
from profiling.manifests.secrets import redacted, redacted_words
from profiling.profiles import HeldMemory, Ledger, Profile
from profiling.units import format_bytes, format_ms, format_percent
from profiling.values import Limits, RunResult
from reports import capacities, grids, ledger, plots
from reports.autopsy.words import PAGE_NAME, kill_count, run_name, telling
from reports.figures import GROUPS, NONE, count, headroom, rate
from reports.gating import how_often, line_place, rows
from reports.page import environment
from reports.sizing import limit_rows, measured_with, no_plan, plain_limits, plan_heading, plan_rows
from reports.strips import strip
from reports.words import (
    CHECK_NAMES,
    CHECKS,
    HELD_AT,
    LEVELS,
    OUTCOMES,
    PROBLEMS,
    api_problems,
    by_weight,
    findings_beside_checks,
    is_candidate,
    kills,
    level_sign,
    of_limit,
    outcome_sign,
    peak_share,
    pictured,
    place,
    processes_page,
    relative_link,
    shorten,
    signed,
    source_roots,
    verdict_sign,
)

NARROW_PX = 760
"""Screens up to this wide get the narrow picture."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of the page's tables of facts; `values` holds one text per run, or one for all of them."""

    name: str
    values: tuple[tuple[str, str], ...]
    """(run's name or "", text)."""


def render_html(report: Report) -> str:
    """The page as text; links are relative to `report.directory`."""
    page = _ENVIRONMENT.get_template("report.html.j2")
    return page.render(
        report=report,
        verdict=verdict_sign(report),
        title=f"{report.command}: {report.verdict.sentence}",
        pictures=_pictures(lambda narrow: plots.curves_svgs(report, narrow=narrow)) if report.runs else {},
        ledgers=_ledgers(report),
        picture_alt=_alt(report),
        narrow_px=NARROW_PX,
        groups=GROUPS,
        differing=_differing(report.runs),
        api_problems=api_problems(report),
        findings=findings_beside_checks(report),
        facts=_facts(report),
        command_line=shlex.join(redacted_words(report.argv)),
        roots=source_roots(report),
        change_rows=[(row, strip(row.metric)) for row in rows(report.gate)] if report.gate else [],
        **_capacity(report.capacity),
        sized=_sized(report),
        **_grid(report.grid),
        single=len(report.runs) == 1,
        shows_load=plots.shows_load(report.runs),
        left_out=max(0, len(pictured(report.runs)) - plots.RUNS_AT_MOST),
    )


def _capacity(found: CapacityJudgement | None) -> dict[str, object]:
    """What the page of `capacity` shows beside the runs."""
    if found is None:
        return {}
    return {
        "load_pictures": _pictures(lambda narrow: plots.loads_svgs(found, narrow=narrow)),
        "load_alt": capacities.alt(found),
        "load_unit": capacities.unit(found),
        "trial_rows": capacities.rows(found),
        "forecast_lines": capacities.forecasts(found),
        "latency_pictures": _pictures(lambda narrow: plots.latencies_svgs(found, narrow=narrow))
        if plots.spectra(found)
        else {},
    }


def _grid(found: GridJudgement | None) -> dict[str, object]:
    """What the page of `compare --grid` shows beside the runs."""
    if found is None:
        return {}
    table = grids.heat_map(found)
    cells = [(row, cell) for row in table.rows for cell in row.cells]
    return {
        "heat_map": table,
        "heat_inferred": any(cell.inferred for _, cell in cells),
        "heat_reasons": [(row, cell) for row, cell in cells if cell.why and not cell.inferred],
    }


def _pictures(draw: Callable[[bool], tuple[str, str]]) -> dict[str, str]:
    """Data URIs of a picture, by theme and width; `draw` is told whether it is to be narrow."""
    pictures = {}
    for width in ("wide", "narrow"):
        light, dark = draw(width == "narrow")
        pictures[f"light_{width}"], pictures[f"dark_{width}"] = _data_uri(light), _data_uri(dark)
    return pictures


def _sized(report: Report) -> dict[str, Any] | None:
    """What the section of `size` shows: its picture, the limits and the plans."""
    found = report.size
    if found is None:
        return None
    return {
        "pictures": _pictures(lambda narrow: plots.limits_svgs(found, narrow=narrow)),
        "alt": "; ".join(f"{limit}: {text}" for _, limit, text in plain_limits(found)),
        "limits": limit_rows(found),
        "plans": plan_rows(found),
        "plan_heading": plan_heading(found),
        "measured_with": measured_with(found),
        "no_plan": no_plan(found),
    }


def _ledgers(report: Report) -> list[tuple[Profile, dict[str, str]]]:
    """The passes that have a ledger or a reason for having none, each with the pictures of its ledger."""
    found = []
    for profile in report.profiles:
        if profile.ledger is not None:
            draw = functools.partial(_waterfall, profile.ledger)
            found.append((profile, _pictures(draw) if profile.ledger.entries else {}))
    return found


def _waterfall(ledger: Ledger, narrow: bool) -> tuple[str, str]:
    return plots.waterfall_svgs(ledger, narrow=narrow)


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _alt(report: Report) -> str:
    """The picture in words."""
    parts = []
    for run in pictured(report.runs):
        figures = run.summary
        peak, limit = format_bytes(figures.peak_unreclaimable_bytes), format_bytes(figures.memory_limit_bytes)
        parts.append(f"{figures.name}: unreclaimable memory peaks at {peak} of {limit}, {kills(figures.oom_kills)}")
    return "Memory over time against the limit. " + "; ".join(parts) + "."


def _differing(runs: Sequence[AnalysedRun]) -> list[str]:
    """For each run, the settings of its environment that not all runs share, as one line. Runs of earlier versions hold
    secrets as they were."""
    environments = [
        {key: value for service in run.result.target.services for key, value in service.env.items()} for run in runs
    ]
    keys = sorted({key for env in environments for key in env if len({e.get(key) for e in environments}) > 1})
    shown = [redacted({key: env[key] for key in keys if key in env}) for env in environments]
    return [" ".join(f"{key}={value}" for key, value in env.items()) for env in shown]


def _facts(report: Report) -> list[Fact]:
    """Where and how it was measured; what is the same for all runs is said once."""
    facts: list[Fact] = []

    def add(name: str, text: Callable[[AnalysedRun], str | None]) -> None:
        found = [(run.summary.name, text(run) or NONE) for run in report.runs]
        values = {value for _, value in found}
        if values and values != {NONE}:
            facts.append(Fact(name, tuple(found) if len(values) > 1 else (("", found[0][1]),)))

    def where(name: str, key: str, form: Callable[[object], str] = str) -> None:
        def text(run: AnalysedRun) -> str | None:
            value = getattr(run.result.environment, key, None)
            return None if value is None else form(value)

        add(name, text)

    add("Sandbox", lambda run: run.summary.sandbox)
    where("Why this sandbox", "sandbox_reason")
    where("Engine", "engine")
    where("Image", "image")
    where("Swap", "swap")
    add("Page cache before the run", lambda run: str(run.summary.page_cache))
    add("CPU limit", _cpus)
    add("Load", _load)
    add("Service", _command)
    where("Machine", "machine")
    where("CPUs", "cpu_count")
    where("Memory of the machine", "memory_total_bytes", lambda size: format_bytes(float(str(size))))
    where("Kernel", "kernel")
    where("Python of the tool", "python")
    where("oomproof", "tool_version")
    add("Packages", _packages)
    add("Measured at", lambda run: run.result.started_at)
    if report.beside_share is not None:
        share = f"{format_percent(report.beside_share)} of the time that the runs themselves took"
        facts.append(Fact("Time spent beside the runs", (("", share),)))
    return facts


def _cpus(run: AnalysedRun) -> str:
    def text(limits: Limits | None) -> str:
        return f"{limits.cpus:g} CPUs" if limits and limits.cpus else "none"

    if not run.services:
        return text(run.result.limits)
    return "; ".join(f"{part.summary.name}: {text(part.result.limits)}" for part in run.services)


def _command(run: AnalysedRun) -> str:
    if run.result.watched is not None:
        return f"{run.result.watched.what}, which ran already"
    contained = run.result.environment and run.result.environment.image
    lines = []
    for service in run.result.target.services:
        whose = f"{service.name}: " if run.services else ""
        if contained and service.image is not None:
            words = shlex.join(redacted_words(service.image.command)) or "the image's own command"
        else:
            words = shlex.join(redacted_words(service.command))
        lines.append(whose + words)
    return "; ".join(lines)


def _load(run: AnalysedRun) -> str:
    plan = run.result.load
    if plan is None:
        return "none of ours"
    where = f" at {run.result.watched.url}" if run.result.watched else ""
    kind = f", {plan.rate:g} requests/s (open loop)" if plan.rate is not None else ""
    stages = len(plan.stages)
    shape = f" in {stages} stages" if stages > 1 else ""
    return f"up to {plan.peak_users:,} users for {plan.duration_s:g} s{shape}{kind}, seed {plan.seed}{where}{_senders(run.result)}"


def _senders(result: RunResult) -> str:
    """Who sent the load, where it was shared out."""
    workers = result.load_workers
    if not workers:
        return ""
    hosts = Counter(worker.host for worker in workers)
    lost = sum(worker.lost is not None for worker in workers)
    off_ms = max(worker.clock_error_ns for worker in workers) / 1e6
    words = ", ".join(f"{count} on {host}" for host, count in hosts.items())
    clocks = f"; times of other machines are right within {off_ms:.1f} ms" if off_ms else ""
    return f"; sent by {len(workers)} workers ({words}){f', {lost} of them lost' if lost else ''}{clocks}"


def _packages(run: AnalysedRun) -> str | None:
    where = run.result.environment
    return ", ".join(f"{name} {version}" for name, version in sorted(where.packages.items())) if where else None


def moment(iso: str) -> str:
    """A moment as people read it, in the zone it was written in."""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{at:%Y-%m-%d %H:%M} {'UTC' if not at.utcoffset() else at.strftime('UTC%z')}"


def held_percent(held: HeldMemory, whole: int) -> float:
    """Width of a line's bar: percent of `whole` bytes."""
    return 100 * min(1.0, held.bytes / whole) if whole else 0.0


def _held_whole(profile: Profile) -> int:
    """What the bars of a pass's lines are shares of: its limit, or the largest line where that is not known."""
    return profile.limit_bytes or max((held.bytes for held in profile.held), default=0)


def _bar_percent(summary: Summary) -> float:
    """Width of the peak's bar in percent of the limit's, within 0..100."""
    return 100 * min(1.0, max(0.0, peak_share(summary) or 0.0))


_ENVIRONMENT = environment(
    {"basename": posixpath.basename, "moment": moment},
    CHECKS=CHECKS,
    CHECK_NAMES=CHECK_NAMES,
    OUTCOMES=OUTCOMES,
    PROBLEMS=PROBLEMS,
    outcome_sign=outcome_sign,
    HELD_AT=HELD_AT,
    LEVELS=LEVELS,
    level_sign=level_sign,
    is_candidate=is_candidate,
    how_often=how_often,
    line_place=line_place,
    signed=signed,
    kills=kills,
    count=count,
    headroom=headroom,
    rate=rate,
    bar_percent=_bar_percent,
    of_limit=of_limit,
    peak_share=peak_share,
    held_percent=held_percent,
    held_whole=_held_whole,
    AUTOPSY_NAME=PAGE_NAME,
    killed=kill_count,
    run_name=run_name,
    telling=telling,
    place=place,
    by_weight=by_weight,
    shorten=shorten,
    relative_link=relative_link,
    processes_page=processes_page,
    ledger=ledger,
    format_bytes=format_bytes,
    format_ms=format_ms,
    format_percent=format_percent,
)
