"""The page of OOM kills: one file with everything in it, that asks nobody for anything, made to be read on a phone."""

from __future__ import annotations

import shlex

from profiling.autopsies import Autopsy, Kill, MemoryAtKill
from profiling.judging.report import Report
from profiling.manifests.secrets import redacted_words
from profiling.profiles import HeldMemory
from profiling.units import format_bytes
from reports.autopsy.words import (
    clock,
    kill_count,
    memory_line,
    memory_parts,
    process,
    requests,
    resident,
    run_name,
    seconds_after,
    telling,
    when,
)
from reports.html import held_percent, moment
from reports.page import environment
from reports.words import REPORT_NAME, kills, place, relative_link, shorten, source_roots


def render_html(report: Report) -> str:
    """The page as text; links are relative to `report.directory`."""
    first = telling(report)[0]
    return _ENVIRONMENT.get_template("autopsy.html.j2").render(
        report=report,
        first=first,
        roots=source_roots(report),
        command_line=shlex.join(redacted_words(report.argv)),
    )


def _bar_parts(memory: MemoryAtKill) -> list[tuple[str, float]]:
    """(kind, width) of the parts of the charged memory, in percent of the limit; they never add up to more than 100."""
    parts = memory_parts(memory)
    whole = max(memory.limit_bytes or 0, sum(size for _, size, _ in parts))
    return [(kind, 100 * size / whole) for kind, size, _ in parts] if whole > 0 else []


def _held_whole(kill: Kill) -> int:
    """What the bars of its lines are shares of."""
    limit = kill.memory.limit_bytes if kill.memory else None
    return max(limit or 0, max((held.bytes for held in kill.held), default=0))


def _main_kill(found: Autopsy) -> Kill:
    """The one whose sentence stands for all."""
    return next(kill for kill in found.kills if kill.number == found.most_telling)


def _main_line(held: tuple[HeldMemory, ...], roots: tuple[str, ...]) -> str:
    return f"{place(held[0].frame, roots)} held {format_bytes(held[0].bytes)}" if held else ""


_ENVIRONMENT = environment(
    {"moment": moment},
    REPORT_NAME=REPORT_NAME,
    bar_parts=_bar_parts,
    clock=clock,
    count=kill_count,
    format_bytes=format_bytes,
    held_percent=held_percent,
    held_whole=_held_whole,
    kills=kills,
    main_kill=_main_kill,
    main_line=_main_line,
    memory_line=memory_line,
    memory_parts=memory_parts,
    place=place,
    process=process,
    relative_link=relative_link,
    requests=requests,
    resident=resident,
    run_name=run_name,
    seconds_after=seconds_after,
    shorten=shorten,
    when=when,
)
