"""What is said of OOM kills, in whichever form."""

from __future__ import annotations

import datetime
from pathlib import PurePath

from profiling.autopsies import Autopsy, Kill, KilledProcess, MemoryAtKill, RequestsInFlight
from profiling.judging.cause import named
from profiling.judging.report import Report
from profiling.units import format_bytes, format_seconds
from reports.words import of_limit, shorten

PAGE_NAME = "autopsy.html"
_AGES_SHOWN = 8
_PHASES = {
    "drop-caches": "before the start",
    "start": "while starting",
    "load": "under load",
    "watch": "while it was watched",
    "settle": "after the load",
    "openapi": "while its OpenAPI document was checked",
    "probe": "while bad input was sent",
    "stop": "while stopping",
}
_TOLD_BY = {
    "kernel log": "named by the kernel's log",
    "capture": "the process whose records end at this moment; the kernel's log does not name it",
    "kernel log and capture": "named by the kernel's log; memray's records end with it",
}


def page_path(report: Report) -> str | None:
    """Absolute path of the page of OOM kills; None where there is none."""
    return str(PurePath(report.directory) / PAGE_NAME) if report.autopsies else None


def telling(report: Report) -> list[Autopsy]:
    """One account of each variant, that of the memray pass where there is one: it knows the lines."""
    chosen: dict[str, Autopsy] = {}
    for found in report.autopsies:
        chosen.setdefault(found.variant, found)
    return list(chosen.values())


def run_name(found: Autopsy) -> str:
    """`found`'s run with the note that it is a memray pass."""
    plain = found.run.removesuffix(" (memray pass)")
    return shorten(plain, 60) + (" (memray pass)" if found.memray else "")


def kill_count(found: Autopsy) -> int:
    return len(found.kills) + found.not_shown


def seconds_after(at_s: float) -> str:
    """`0.39 s`, `12.4 s`: two digits behind the point in the first seconds, where a start is told from a first request."""
    return f"{at_s:.2f} s" if at_s < 10 else format_seconds(at_s)


def when(kill: Kill) -> str:
    """`0.39 s after the start, under load`."""
    phase = _PHASES.get(kill.phase or "", "")
    return f"{seconds_after(kill.at_s)} after the start" + (f", {phase}" if phase else "")


def clock(kill: Kill) -> str:
    """The wall clock's time, in the zone of the run."""
    if kill.at is None:
        return ""
    at = datetime.datetime.fromisoformat(kill.at)
    zone = "UTC" if not at.utcoffset() else at.strftime("UTC%z")
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {zone}"


def process(found: KilledProcess | None) -> str:
    """Whom, and how that is known."""
    if found is None:
        return "not known"
    return f"{named(found)}, {_TOLD_BY.get(found.told_by, found.told_by)}"


def resident(found: KilledProcess | None) -> str:
    """What the killed process had resident, by the kernel's log; empty where that does not say."""
    if found is None or found.anon_rss_bytes is None:
        return ""
    parts = [f"{format_bytes(found.anon_rss_bytes)} anonymous"]
    parts += [f"{format_bytes(size)} {name}" for size, name in (
        (found.file_rss_bytes, "of files"), (found.shmem_rss_bytes, "shared"),
    ) if size]  # fmt: skip
    return ", ".join(parts)


def requests(found: RequestsInFlight | None) -> str:
    """How many, of what, how old, and what became of them."""
    if found is None:
        return "none of ours"
    if found.count == 0:
        return "none in flight"
    what = found.path or "of the Locust file"
    ages = ", ".join(_age(age) for age in found.ages_s[:_AGES_SHOWN])
    more = f" and {found.count - _AGES_SHOWN} younger" if found.count > _AGES_SHOWN else ""
    broke = "all of them broke" if found.broken == found.count else f"{found.broken} of them broke"
    old = f"sent {ages}{more} before" if ages else ""
    return f"{found.count} in flight, {what}, {old}; {broke}"


def _age(age_s: float) -> str:
    return f"{age_s * 1000:.0f} ms" if age_s < 1 else f"{age_s:.1f} s"


def memory_parts(memory: MemoryAtKill) -> list[tuple[str, int, str]]:
    """(kind, bytes, what it is) of the charged memory, without what is nothing."""
    parts = [
        ("anon", memory.anon_bytes, "anonymous"),
        ("shmem", memory.shmem_bytes, "shared"),
        ("kernel", memory.kernel_bytes, "the kernel's"),
        ("file", memory.file_bytes, "page cache"),
    ]
    return [part for part in parts if part[1] > 0]


def memory_line(memory: MemoryAtKill | None) -> str:
    """`96 of 102 MiB charged: 95 MiB anonymous, ...`."""
    if memory is None:
        return "not sampled"
    parts = ", ".join(f"{format_bytes(size)} {name}" for _, size, name in memory_parts(memory))
    if memory.limit_bytes is None:
        charged = format_bytes(memory.charged_bytes)
    else:
        charged = of_limit(memory.charged_bytes, memory.limit_bytes)
    return f"{charged} charged" + (f": {parts}" if parts else "")
