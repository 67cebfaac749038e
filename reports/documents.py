"""The documents that --json prints: what `render.py` fills, and what `report --schema` describes.

Sizes in bytes, shares 0..1, unmeasured null, paths absolute.
"""

from __future__ import annotations

from profiling.autopsies import Autopsy
from profiling.values import SCHEMA_VERSION, Check, Claim, Profile, Summary, Value


class Comparison(Value, frozen=True, kw_only=True):
    """`compare --json`, and `report --json` of what was no `verify`."""

    schema_version: int = SCHEMA_VERSION
    command: str
    claim: Claim
    candidate: str | None
    runs: tuple[Summary, ...]
    profiles: tuple[Profile, ...]
    autopsies: tuple[Autopsy, ...] = ()
    """Of each run and memray pass in which the kernel killed."""
    report: str
    """Path of the page."""


class Verification(Value, frozen=True, kw_only=True):
    """`verify --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str
    verdict: str
    """`pass`, `fail` or `inconclusive`."""
    checks: tuple[Check, ...]
    run: Summary
    autopsies: tuple[Autopsy, ...] = ()
    report: str


class LedgerEntry(Value, frozen=True, kw_only=True):
    """A part of the memory."""

    part: str
    bytes: int


class Profiled(Value, frozen=True, kw_only=True):
    """`profile --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "profile"
    captures: tuple[str, ...]
    flamegraphs: tuple[str, ...]
    ledger: tuple[LedgerEntry, ...] = ()
    """Not measured yet."""
    autopsy: Autopsy | None = None
    """None: the kernel killed nothing."""
    profile: Profile
    report: str
