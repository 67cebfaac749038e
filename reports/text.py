"""The result on a terminal, or as plain lines in a pipe: the verdict first, then what it rests on."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from profiling.judgements import Summary
from profiling.judging.cause import named
from profiling.judging.report import AnalysedRun, Report
from profiling.profiles import HeldMemory, Profile
from profiling.units import format_bytes, format_ms, format_percent, format_seconds
from reports import capacities, grids, ledger
from reports.autopsy.words import kill_count, page_path, run_name, telling, when
from reports.figures import NONE, count, headroom, rate
from reports.gating import how_often, line_place, line_sizes, plain_lines
from reports.sizing import measured_with, no_plan, plain_limits, plan_heading, plan_rows
from reports.words import (
    BAD,
    CHECK_NAMES,
    CHECKS,
    GOOD,
    HELD_AT,
    OUTCOMES,
    UNSURE,
    api_problems,
    by_weight,
    findings_beside_checks,
    flamegraph_path,
    is_candidate,
    kills,
    level_sign,
    of_limit,
    outcome_sign,
    peak_share,
    place,
    printable,
    report_path,
    shorten,
    signed,
    source_roots,
    verdict_sign,
)
from reports.wrapping import wrapped

PIPE_WIDTH = 80
MAX_WIDTH = 120
_STYLES = {GOOD: "green", BAD: "bold red", UNSURE: "yellow"}
_LABEL_WIDTH = 15
_MIN_COLUMN = 19
_HELD_SHOWN = 3
_GROWN_SHOWN = 5
_PART_WIDTH = 37
_PROBLEMS_SHOWN = 5
# What names and messages may not tell a terminal; colours are ours.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_HARMFUL = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f]")


def render_text(report: Report, width: int = PIPE_WIDTH, colour: bool = False) -> str:
    """The result in lines of at most `width` cells (paths may be longer), with ANSI colours if `colour`."""
    width = max(40, min(width, MAX_WIDTH))
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    _verdict(console, report)
    _changes(console, report)
    if report.capacity is not None:
        capacities.show(console, report.capacity, _STYLES)
    _sizes(console, report)
    if report.grid is not None:
        grids.show(console, report.grid, _STYLES)
    _checks(console, report)
    _api_problems(console, report)
    _runs(console, report)
    _autopsies(console, report)
    _findings(console, report)
    _held(console, report)
    _ledgers(console, report)
    _places(console, report)
    assert isinstance(console.file, io.StringIO)
    return without_commands(console.file.getvalue(), colour)


def without_commands(text: str, colour: bool) -> str:
    """`text` without what names and messages may not tell a terminal, and without blanks at the ends of lines."""
    lines = (_HARMFUL if colour else _CONTROL).sub("\ufffd", text).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def terminal(stream: TextIO, environ: Mapping[str, str]) -> tuple[int, bool]:
    """Width in cells and whether to colour, for what is printed to `stream`; NO_COLOR is honoured."""
    if not stream.isatty():
        return PIPE_WIDTH, False
    colour = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return shutil.get_terminal_size().columns, colour


def _verdict(console: Console, report: Report) -> None:
    sign = verdict_sign(report)
    style = _STYLES[sign.tone]
    head = Text(f"{sign.symbol} {sign.word.upper()}", style=f"bold {style}" if "bold" not in style else style)
    console.print(head)
    wrapped(console, Text(report.verdict.sentence, style="bold"), "  ")
    for line in report.verdict.evidence:
        wrapped(console, Text(line), "  · ")
    console.print()


def _changes(console: Console, report: Report) -> None:
    if report.gate is None:
        return
    heading = "Base → head" if report.gate.base else "Head"
    console.print(Text(heading, style="bold").append(f" ({how_often(report.gate)})", style="not bold dim"))
    for sign, name, text in plain_lines(report.gate):
        style = _STYLES.get(sign.tone, "dim")
        wrapped(
            console, Text(f"{name}: ", style="bold").append(text, style="not bold"), f"  {sign.symbol} ", style=style
        )
    console.print()
    if report.gate.lines:
        console.print(Text("Lines that hold more than in base, by memray", style="bold"))
        for line in report.gate.lines[:_GROWN_SHOWN]:
            what = f"{line_place(line)}, in {line.function} ({line_sizes(line)})"
            wrapped(console, Text(printable(what)), f"  {signed(line.change_bytes):>10}  ", style="bold")
        console.print()


def _sizes(console: Console, report: Report) -> None:
    """The limits that were tried, and the plans."""
    if report.size is None:
        return
    console.print(Text("Limits tried", style="bold"))
    for sign, limit, text in plain_limits(report.size):
        name = Text(f"{limit}: ", style="bold").append(text, style="not bold")
        wrapped(console, name, f"  {sign.symbol} ", style=_STYLES[sign.tone])
    console.print()
    rows = plan_rows(report.size)
    if rows or no_plan(report.size):
        console.print(Text(plan_heading(report.size), style="bold"))
    if not rows and no_plan(report.size):
        wrapped(console, Text(no_plan(report.size)), "  ")
    for plan in rows:
        parts = [plan.memory, f"{plan.headroom} headroom", *(part for part in (plan.cpus, plan.price) if part != NONE)]
        line = Text(f"{plan.provider} {plan.name}: ", style="bold").append(", ".join(parts), style="not bold")
        wrapped(console, line, "  · ")
        if plan.note:
            wrapped(console, Text(plan.note), "    ", style="dim")
    if rows:
        wrapped(console, Text(measured_with(report.size)), "  ", style="dim")
    if rows or no_plan(report.size):
        console.print()


def _checks(console: Console, report: Report) -> None:
    if not report.checks:
        return
    console.print(Text("Checklist", style="bold"))
    for check in report.checks:
        sign = CHECKS[check.status]
        style = "dim" if check.status == "skipped" else _STYLES[sign.tone]
        name = Text(f"{CHECK_NAMES.get(check.id, check.id)}: ", style="bold")
        wrapped(console, name.append(check.message, style="not bold"), f"  {sign.symbol} ", style=style)
        if check.hint and check.status != "pass":
            wrapped(console, Text(check.hint), "    → ", style="dim")
    console.print()


def _api_problems(console: Console, report: Report) -> None:
    problems = api_problems(report)
    if not problems:
        return
    console.print(Text("Against its OpenAPI document", style="bold"))
    for sign, problem in problems[:_PROBLEMS_SHOWN]:
        name = Text(f"{shorten(problem.operation, 60) or 'the document'}: ", style="bold")
        times = f" ({problem.count:,} times)" if problem.count > 1 else ""
        text = name.append(f"{problem.example}{times}", style="not bold")
        wrapped(console, text, f"  {sign.symbol} ", style=_STYLES[sign.tone])
        if problem.sent:
            wrapped(console, Text(shorten(problem.sent, 160)), "    sent ", style="dim")
    rest = len(problems) - _PROBLEMS_SHOWN
    if rest > 0:
        console.print(Text(f"    and {rest} more in the report", style="dim"))
    console.print()


def _runs(console: Console, report: Report) -> None:
    """Figures down, runs across; runs that do not fit side by side follow in a block below."""
    summaries = [run.summary for run in report.runs]
    candidates = {run.summary.name for run in report.runs if is_candidate(run, report)}
    across = max(1, (console.width - 2 - _LABEL_WIDTH) // _MIN_COLUMN)
    for start in range(0, len(summaries), across):
        block = summaries[start : start + across]
        column = min(34, (console.width - 2 - _LABEL_WIDTH) // max(len(block), min(2, across)))
        _block(console, block, candidates, column, loaded=any(run.result.load for run in report.runs))
        console.print()


def _block(console: Console, block: list[Summary], candidates: set[str], column: int, *, loaded: bool) -> None:
    def row(label: str, cell: Callable[[Summary], Text]) -> None:
        line = Text("  ").append(set_cell_size(label, _LABEL_WIDTH), style="dim" if label else "")
        for summary in block:
            text = cell(summary)
            text.truncate(column - 1, overflow="ellipsis")
            text.pad_right(column - cell_len(text.plain))
            line.append_text(text)
        console.print(line, soft_wrap=True)

    def plain(label: str, cell: Callable[[Summary], str]) -> None:
        row(label, lambda summary: Text(cell(summary)))

    row("", lambda summary: _name(summary, summary.name in candidates, column - 1))
    row("outcome", _outcome)
    row(
        "OOM kills",
        lambda summary: Text(count(summary.oom_kills), style="bold red" if summary.oom_kills else ""),
    )
    plain("peak memory", lambda summary: of_limit(summary.peak_unreclaimable_bytes, summary.memory_limit_bytes))
    if any(peak_share(summary) is not None for summary in block):
        row("", lambda summary: _bar(summary, min(20, column - 2)))
    for name in dict.fromkeys(service.name for summary in block for service in summary.services):
        row(f"· {shorten(name, _LABEL_WIDTH - 3)}", partial(_service, name=name))
    plain("headroom", headroom)
    if loaded:
        plain("answered", _answered)
        plain("requests/s", lambda summary: rate(summary.rps))
        plain("p50 / p95", _latencies)
    if any(summary.ready is not None for summary in block):
        plain("start-up", lambda summary: format_seconds(summary.startup_s))


def _sandbox(run: AnalysedRun) -> str:
    """What enforced the limit, and why that."""
    where = run.result.environment
    if where is None:
        return run.summary.sandbox
    return f"{where.engine or run.summary.sandbox} ({where.sandbox_reason})"


def _name(summary: Summary, candidate: bool, width: int) -> Text:
    mark = " (candidate)" if candidate and width >= 20 else ""
    return Text(shorten(summary.name, width - len(mark)), style="bold").append(mark, style="not bold dim")


def _outcome(summary: Summary) -> Text:
    sign = outcome_sign(summary)
    return Text(f"{sign.symbol} {sign.word}", style=_STYLES[sign.tone])


def _bar(summary: Summary, width: int) -> Text:
    share = peak_share(summary)
    if share is None:
        return Text("")
    full = min(width, round(share * width))
    style = "red" if summary.oom_kills else "yellow" if share > 0.9 else "green"
    return Text("█" * full, style=style).append("░" * (width - full), style="dim")


def _service(summary: Summary, name: str) -> Text:
    """One service of several: its own peak in its own limit, and its kills."""
    own = next((service for service in summary.services if service.name == name), None)
    if own is None:
        return Text(NONE)
    text = Text(of_limit(own.peak_unreclaimable_bytes, own.memory_limit_bytes))
    return text.append(f" ✗ {own.oom_kills:,}", style="bold red") if own.oom_kills else text


def _answered(summary: Summary) -> str:
    if summary.availability is None:
        return "nothing was sent" if summary.requests == 0 else NONE
    return f"{format_percent(summary.availability)} of {summary.requests:,}"


def _latencies(summary: Summary) -> str:
    if summary.p50_ms is None and summary.p95_ms is None:
        return NONE
    return f"{format_ms(summary.p50_ms)} / {format_ms(summary.p95_ms)}"


def _findings(console: Console, report: Report) -> None:
    findings = findings_beside_checks(report)
    if not findings:
        return
    console.print(Text("Findings", style="bold"))
    for name, finding in findings:
        sign = level_sign(finding)
        text = Text(f"{shorten(name, 30)}: ", style="bold").append(finding.message, style="not bold")
        wrapped(console, text, f"  {sign.symbol} ", style=_STYLES[sign.tone] if sign.tone != GOOD else "cyan")
        if finding.hint:
            wrapped(console, Text(finding.hint), "    → ", style="dim")
    console.print()


def _autopsies(console: Console, report: Report) -> None:
    if not report.autopsies:
        return
    console.print(Text("Why it was killed", style="bold"))
    for found in telling(report):
        text = Text(f"{run_name(found)}: ", style="bold").append(found.sentence, style="not bold")
        wrapped(console, text, "  ✗ ", style=_STYLES[BAD])
        first = found.kills[0]
        rest = kill_count(found) - 1
        more = f"; {rest} more" if rest else ""
        whom = f": {named(first.process)}" if first.process else ""
        wrapped(console, Text(f"first {when(first)}{whom}{more}"), "    ", style="dim")
    console.print()


def _held(console: Console, report: Report) -> None:
    if not report.profiles:
        return
    roots = source_roots(report)
    console.print(Text("Which line held the memory (memray pass)", style="bold"))
    for profile in report.profiles:
        wrapped(console, _pass(profile), "  ")
        main, _ = by_weight(profile)
        for held in main[:_HELD_SHOWN]:
            wrapped(console, _line(held, roots), "    ")
        rest = len(main) - _HELD_SHOWN
        if rest > 0:
            console.print(Text(f"    and {rest} more in the report", style="dim"))
    console.print()


def _ledgers(console: Console, report: Report) -> None:
    """Of `profile`: where the memory was, part by part."""
    if report.command != "profile":
        return
    for found in [profile.ledger for profile in report.profiles if profile.ledger is not None]:
        console.print(Text("Where the memory was", style="bold"))
        if not found.entries:
            wrapped(console, Text(f"no ledger: {found.reason}"), "  ")
            continue
        wrapped(console, Text(f"{ledger.moment(found)}: {ledger.sentence(found)}"), "  ")
        bar = console.width - 2 - _PART_WIDTH - 10
        for row in ledger.rows(found):
            start, end = (round(bar * min(1.0, max(0.0, at / found.limit_bytes))) for at in (row.start, row.end))
            line = Text("  ").append(set_cell_size(shorten(row.name, _PART_WIDTH - 1), _PART_WIDTH))
            line.append(f"{ledger.size(row.bytes):>9} ").append(" " * start)
            line.append(("░" if row.group == ledger.HEADROOM else "█") * max(end - start, 0) or "▏")
            if row.group == ledger.UNEXPLAINED:
                line.stylize("yellow")
            console.print(line, soft_wrap=True)
        console.print()


def _pass(profile: Profile) -> Text:
    name = Text(shorten(profile.variant, 40), style="bold")
    if profile.status != "recorded":
        return name.append(f": {profile.status}" + (f", {profile.reason}" if profile.reason else ""), style="not bold")
    parts = [OUTCOMES[profile.outcome].word] if profile.outcome else []
    if profile.oom_kills:
        parts.append(kills(profile.oom_kills))
    parts.append(
        f"held at {HELD_AT.get(profile.held_at, profile.held_at)}" if profile.held else "nothing of its own held"
    )
    return name.append(": " + ", ".join(parts), style="not bold")


def _line(held: HeldMemory, roots: tuple[str, ...]) -> Text:
    where = place(held.frame, roots)
    text = Text(where, style="bold").append(f"{' ' if where else ''}{held.frame.function}", style="not bold")
    count = f"{held.allocations:,} allocation{'s' if held.allocations != 1 else ''}"
    return text.append(" held ").append(format_bytes(held.bytes), style="bold").append(f" in {count}")


def _places(console: Console, report: Report) -> None:
    for line in dict.fromkeys(_sandbox(run) for run in report.runs):
        wrapped(console, Text(line, style="not dim"), "sandbox ", style="dim")
    for run in report.runs:
        if run.summary.run_dir:
            console.print(Text("run     ", style="dim").append(run.summary.run_dir, style="not dim"), soft_wrap=True)
    if (flames := flamegraph_path(report)) is not None:
        console.print(Text("flames  ", style="dim").append(flames, style="not dim"), soft_wrap=True)
    if (page := page_path(report)) is not None:
        console.print(Text("autopsy ", style="dim").append(page, style="not dim"), soft_wrap=True)
    console.print(Text("report  ", style="dim").append(report_path(report), style="not dim"), soft_wrap=True)
