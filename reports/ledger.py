"""A ledger in words and rows, for every renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiling.profiles import Ledger, LedgerEntry
from profiling.units import format_bytes, format_percent, format_seconds

HEADROOM, UNEXPLAINED = "headroom", "unexplained"
_SMALL = 0.005
"""Parts below this share of the limit stand together, where room is scarce."""


@dataclass(frozen=True, slots=True)
class Row:
    """A bar of the waterfall: it begins where the one above it ends."""

    name: str
    group: str
    start: int
    bytes: int

    @property
    def end(self) -> int:
        return self.start + self.bytes


def rows(ledger: Ledger) -> tuple[Row, ...]:
    """The ledger from zero to the limit, its small parts as one, what is unexplained always by itself."""
    large: list[tuple[str, str, int]] = []
    small: list[LedgerEntry] = []
    for entry in ledger.entries:
        always = entry.group in (UNEXPLAINED, HEADROOM)
        if always or entry.bytes >= _SMALL * ledger.limit_bytes:
            large.append((entry.part, entry.group, entry.bytes))
        else:
            small.append(entry)
    if small:
        name = small[0].part if len(small) == 1 else f"{len(small)} smaller parts"
        before = next((at for at, (_, group, _) in enumerate(large) if group == UNEXPLAINED), len(large))
        large.insert(before, (name, "small", sum(entry.bytes for entry in small)))
    found, at = [], 0
    for name, group, size in large:
        found.append(Row(name, group, at, size))
        at += size
    return tuple(row for row in found if row.bytes or row.group == UNEXPLAINED)


def explained_share(ledger: Ledger) -> float:
    """The part of the unreclaimable memory that is accounted for; what was counted too much lowers it as well."""
    if not ledger.unreclaimable_bytes:
        return 1.0
    return 1 - abs(ledger.unexplained_bytes) / ledger.unreclaimable_bytes


def sentence(ledger: Ledger) -> str:
    """How much is accounted for and what is not, in one sentence."""
    rest, whole = ledger.unexplained_bytes, format_bytes(ledger.unreclaimable_bytes)
    head = f"{format_percent(explained_share(ledger))} of {whole} accounted for"
    if rest < 0:
        return f"{head}; the parts come to {format_bytes(-rest)} more than that, since memory changed while it was looked at."
    why = next((entry.note for entry in ledger.entries if entry.group == UNEXPLAINED), "")
    return f"{head}; {format_bytes(rest)} unexplained{f' ({why})' if why else ''}."


def moment(ledger: Ledger) -> str:
    """When it was, and how far from the peak."""
    when = f"Seen {format_seconds(ledger.at_s)} after the start"
    if ledger.peak_bytes is None:
        return when
    below = ledger.peak_bytes - ledger.unreclaimable_bytes
    if below <= 0:
        return f"{when}, at the peak of unreclaimable memory"
    return f"{when}, {format_bytes(below)} below the peak of unreclaimable memory"


def used(ledger: Ledger) -> Sequence[LedgerEntry]:
    """The entries of the unreclaimable memory."""
    return [entry for entry in ledger.entries if entry.group != HEADROOM]


def room(ledger: Ledger) -> Sequence[LedgerEntry]:
    """The entries between the unreclaimable memory and the limit."""
    return [entry for entry in ledger.entries if entry.group == HEADROOM]


def size(number: int) -> str:
    """A size with its sign, since what is unexplained may lie below zero."""
    return f"−{format_bytes(-number)}" if number < 0 else format_bytes(number)


def alt(ledger: Ledger) -> str:
    """The picture in words."""
    parts = ", ".join(f"{row.name} {size(row.bytes)}" for row in rows(ledger))
    return f"Where the memory was, part by part up to the limit of {format_bytes(ledger.limit_bytes)}: {parts}."
