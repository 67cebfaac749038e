"""What `levers` tries and says: settings that may save memory, what each run with them showed, and the best together.

Frozen values. Sizes in bytes, ratios to the service as it is, `None` means unmeasured.
"""

from __future__ import annotations

from enum import StrEnum

from profiling.manifests.catalogue import Plan
from profiling.sizing import Ending
from profiling.values import SCHEMA_VERSION, Value


class Lever(Value, frozen=True, kw_only=True):
    """One piece of advice: what it changes in the environment or the command line, and whose it is."""

    name: str
    advice: str
    """What it does, in a few words."""
    guide: str
    """Which kind of guide gives this advice, and why, in a sentence."""
    group: str = ""
    """Of the levers of one group only one can be in effect."""
    env: dict[str, str] = {}
    prefix: tuple[str, ...] = ()
    """Words before the command."""
    append: tuple[str, ...] = ()
    """Words after the command."""
    command: tuple[str, ...] = ()
    """In place of the command."""
    files: dict[str, str] = {}
    """Text of files that it needs, by name; `{levers}` in its words is the directory that they lie in."""
    bytecode: bool = False
    """It needs bytecode of its own, which is written before anything is measured."""
    dockerfile: tuple[str, ...] = ()
    """Lines that an image needs for it beside its variables."""
    left_out: str = ""
    """Why it is not tried; empty: it is."""
    caveat: str = ""
    """What a reader should know of its figures."""
    elsewhere: bool = False
    """What it takes out of this service other processes hold, which are not counted: it is no candidate for the best."""


class Part(StrEnum):
    """What a run is made for."""

    WARM = "warm"  # a start that writes bytecode and the like, and is not counted
    LIMIT = "limit"  # under the limit that was asked for: does it survive?
    ROUND = "round"  # one lever in turns with the service as it is
    TOGETHER = "together"  # several levers at once


class LeverFigures(Value, frozen=True, kw_only=True):
    """What one run showed."""

    ending: Ending
    reason: str = ""
    at_limit: bool = False
    before_ready: bool = False
    peak_bytes: int | None = None
    """Of unreclaimable memory."""
    rps: float | None = None
    p95_ms: float | None = None
    requests: int | None = None
    quality: float | None = None
    """Share of answers that are as good as they should be, where the service can be asked for it."""


class LeverRun(Value, frozen=True, kw_only=True):
    """A run with some levers at once; with none, the service as it is. `directory` is relative to the experiment's own."""

    levers: tuple[str, ...]
    part: Part
    limit_bytes: int
    directory: str
    figures: LeverFigures


class LeversRecord(Value, frozen=True, kw_only=True):
    """`levers.json`: what was asked, and every run's figures."""

    schema_version: int = SCHEMA_VERSION
    target: str
    command: tuple[str, ...]
    """The service's command line as it is; empty: an image's own."""
    limit_bytes: int
    raised_bytes: int
    """Where sizes are measured if the service as it is does not survive the limit."""
    tolerance: float
    """As a share of the peak as it is: less is no difference worth a setting."""
    users: int
    levers: tuple[Lever, ...]
    plans: tuple[Plan, ...] = ()
    """The next plan up of each provider."""
    runs: tuple[LeverRun, ...] = ()


class LeverOutcome(StrEnum):
    """What becomes of the service under the limit."""

    SURVIVES = "survives"
    OOM_KILLED = "oom-killed"
    DOES_NOT_START = "does-not-start"
    FAILS = "fails"  # failed requests, wrong answers, a broken budget, an end under load
    UNCLEAR = "unclear"  # nothing usable was measured
    NOT_TRIED = "not-tried"


class LeverRow(Value, frozen=True, kw_only=True):
    """One lever by itself against the service as it is."""

    lever: str
    guide: str
    outcome: LeverOutcome
    saved_bytes: int | None
    """Of the peak; negative: it costs memory."""
    saved_low_bytes: int | None
    saved_high_bytes: int | None
    """The 98 % interval; null where there were too few runs for one."""
    rps_ratio: float | None
    p95_ratio: float | None
    quality: float | None
    note: str
    advice: str = ""
    env: dict[str, str] = {}
    options: tuple[str, ...] = ()
    """What it adds to the command line."""
    peak_bytes: int | None = None
    """Median of its runs."""
    runs: int = 0
    """That its figures rest on."""


class BestStep(Value, frozen=True, kw_only=True):
    """One lever on the way to the best together."""

    lever: str
    peak_bytes: int
    """Median with it and those before it."""
    saved_bytes: int
    """Beside those before it."""


class Best(Value, frozen=True, kw_only=True):
    """The best levers together, and what to paste."""

    levers: tuple[str, ...]
    outcome: LeverOutcome
    saved_bytes: int | None
    saved_low_bytes: int | None
    saved_high_bytes: int | None
    peak_bytes: int | None
    """The largest of its runs."""
    headroom: float | None
    """What that leaves of the limit, as a fraction."""
    rps_ratio: float | None
    p95_ratio: float | None
    quality: float | None
    steps: tuple[BestStep, ...]
    env: dict[str, str]
    command: tuple[str, ...]
    """The whole command line; empty: it is as it was."""
    dockerfile: tuple[str, ...]
    files: dict[str, str] = {}


class AsIs(Value, frozen=True, kw_only=True):
    """The service without any lever."""

    outcome: LeverOutcome
    reason: str
    peak_bytes: int | None
    """Median of its runs where nothing cut it off."""
    rps: float | None
    p95_ms: float | None
    quality: float | None
    runs: int


class LeversJudgement(Value, frozen=True, kw_only=True):
    """What all runs say."""

    status: str
    """`pass`, `fail` or `inconclusive`."""
    sentence: str
    evidence: tuple[str, ...]
    limit_bytes: int
    measured_bytes: int
    """The limit under which sizes were measured: the limit itself, or a raised one."""
    as_is: AsIs
    rows: tuple[LeverRow, ...]
    """What saves most first; what was not tried last."""
    best: Best | None
    """None: nothing saves anything that shows."""
