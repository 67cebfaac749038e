"""What comes of measured runs: figures, findings, checks, verdicts. Frozen values, as `--json` prints them."""

from __future__ import annotations

from enum import StrEnum

from profiling.values import Outcome, PageCache, Value


class Finding(Value, frozen=True, kw_only=True):
    """Something that a reader should know about a run, and what to do about it."""

    id: str
    level: str
    """`fail`, `warn` or `info`."""
    message: str
    hint: str = ""


class ServiceSummary(Value, frozen=True, kw_only=True):
    """The figures of one service, as `--json` prints them for each of several. What was only watched may have no limit,
    nothing that counts its kills, and no known start."""

    name: str
    oom_kills: int | None
    restarts: int
    memory_limit_bytes: int | None
    peak_unreclaimable_bytes: int | None
    peak_charged_bytes: int | None
    peak_working_set_bytes: int | None
    peak_rss_bytes: int | None
    peak_pss_bytes: int | None
    headroom_bytes: int | None
    startup_s: float | None
    ready: bool | None
    growth_bytes_per_request: float | None
    growth_low: float | None
    growth_high: float | None
    samples: int


class Summary(ServiceSummary, frozen=True, kw_only=True):
    """The figures of one run, as `--json` prints them.

    Of several services memory, limits, kills and restarts are sums, and the headroom is that of the service with the least.
    """

    outcome: Outcome
    stop_reason: str | None
    requests: int
    failures: int
    availability: float | None
    dark_share: float | None
    rps: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    page_cache: PageCache
    sandbox: str
    findings: tuple[Finding, ...]
    run_dir: str
    services: tuple[ServiceSummary, ...] = ()
    """Each service's own figures, where there are several."""


class Check(Value, frozen=True, kw_only=True):
    """One thing that a service must do before it is deployed, and what was measured."""

    id: str
    status: str
    """`pass`, `warn`, `fail`, `inconclusive` or `skipped`."""
    measured: str
    limit: str
    message: str
    hint: str = ""
    service: str | None = None
    """Whose it is, where there are several services; None: the whole's."""


class Claim(StrEnum):
    """What a comparison showed."""

    PROVED = "proved"
    BASELINE_SURVIVED = "baseline-survived"
    CANDIDATE_FAILED = "candidate-failed"
    INCONCLUSIVE = "inconclusive"


class Verdict(Value, frozen=True, kw_only=True):
    """A judgement in one sentence, with its evidence."""

    claim: Claim
    status: str
    """`pass`, `fail` or `inconclusive`: how the exit code follows from it."""
    sentence: str
    evidence: tuple[str, ...] = ()
