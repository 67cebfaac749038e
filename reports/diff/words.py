"""What is said of a difference, in whichever form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from profiling.differences import Difference, PackageRow, Row, Side
from profiling.units import format_bytes, format_percent
from reports.words import BAD, GOOD, UNSURE, Sign, signed

OWN_CODE = "own code"
PLAIN = "plain"
"""The tone where nobody asked for a judgement."""
_LEAST_SHARE = 0.001
"""A change below this share of the larger side is not worth a sentence."""
_Changed = TypeVar("_Changed", Row, PackageRow)


def sign_of(found: Difference) -> Sign:
    if found.status == "inconclusive":
        return Sign("inconclusive", "?", UNSURE)
    if found.status == "fail":
        return Sign("grew too much", "✗", BAD)
    if found.fail_above_bytes is not None:
        return Sign("within what is allowed", "✓", GOOD)
    return Sign("compared", "i", PLAIN)


def summary(found: Difference) -> list[str]:
    """The result in a sentence, and what should be known of it."""
    lines = [_sentence(found)]
    if found.status == "inconclusive":
        empty = [side for side, one in (("before", found.before), ("after", found.after)) if not one.total_bytes]
        lines.append(f"nothing was recorded {' and '.join(empty)}: the process ended before it had allocated anything")
    elif found.fail_above_bytes is not None:
        word = "more" if found.status == "fail" else "not more"
        lines.append(f"that is {word} than the {format_bytes(found.fail_above_bytes)} that it may grow (--fail-above)")
    least = _LEAST_SHARE * max(found.before.total_bytes, found.after.total_bytes)
    for row in found.lines[:3]:
        if abs(row.change_bytes) >= max(least, 1):
            sizes = f"{format_bytes(row.before_bytes)} → {format_bytes(row.after_bytes)}"
            lines.append(f"{signed(row.change_bytes)} in {row.function}, {place(row)} ({sizes})")
    lines += [f"{name}: {at_words(side)}" for name, side in (("before", found.before), ("after", found.after))]
    for name, side in (("before", found.before), ("after", found.after)):
        lines += [f"{name}: {note}" for note in side.notes]
    return lines


def _sentence(found: Difference) -> str:
    before, after, change = found.before.total_bytes, found.after.total_bytes, found.total_bytes
    sizes = f"{format_bytes(before)} before, {format_bytes(after)} after"
    if not change:
        return f"In all nothing changed: {sizes}."
    share = f" ({format_percent(abs(change) / before)})" if before else ""
    return f"Memory {'grew' if change > 0 else 'shrank'} by {format_bytes(abs(change))}{share}: {sizes}."


def at_words(side: Side) -> str:
    """Which memory of a side was looked at."""
    several = len(side.processes) > 1
    whole = f"{format_bytes(side.total_bytes)} of {side.name}"
    if side.at == "peak":
        return f"{whole} at the moment when its {len(side.processes)} processes held most together" if several else (
            f"{whole} at its high-water mark"
        )  # fmt: skip
    ended = next((process for process in side.processes if process.capture == side.ended), None)
    if ended is None:
        return f"{whole} at its end"
    how = "was killed" if ended.killed else "ended"
    return f"{whole}, alive in its {len(side.processes)} processes when process {ended.pid} {how}" if several else (
        f"{whole}, alive when it {how}"
    )  # fmt: skip


def place(row: Row) -> str:
    return f"{row.file}:{row.line}" if row.file and row.line else row.file


def package_name(row: PackageRow) -> str:
    return OWN_CODE if row.package is None else row.package


def worth_showing(rows: Sequence[_Changed], most: int) -> tuple[tuple[_Changed, ...], tuple[_Changed, ...]]:
    """The rows to show each by itself, and the rest: those that changed by less than 1 KiB are no news."""
    shown = [row for row in rows if abs(row.change_bytes) >= 1024][:most]
    return tuple(shown), tuple(rows[len(shown) :])
