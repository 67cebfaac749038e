"""Every figure of a run in a human's words: its name, its value with a unit, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from profiling.judgements import Summary
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import tightest
from profiling.units import format_bytes, format_ms, format_number, format_percent, format_seconds
from reports.words import OUTCOMES

NONE = "–"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table of figures; `keys` are the fields of Summary that it shows."""

    name: str
    meaning: str
    text: Callable[[AnalysedRun], str]
    keys: tuple[str, ...] = ()
    exact: Callable[[AnalysedRun], str] | None = None
    """The unrounded value, where `text` rounds."""


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    figures: tuple[Figure, ...]


def _of(form: Callable[[Summary], str]) -> Callable[[AnalysedRun], str]:
    return lambda run: form(run.summary)


def _size(name: str, meaning: str, key: str) -> Figure:
    def exact(run: AnalysedRun) -> str:
        value = getattr(run.summary, key)
        return NONE if value is None else f"{value:,} bytes"

    return Figure(name, meaning, lambda run: format_bytes(getattr(run.summary, key)), (key,), exact)


def _latency(name: str, meaning: str, key: str) -> Figure:
    return Figure(name, meaning, lambda run: format_ms(getattr(run.summary, key)), (key,))


def rate(value: float | None) -> str:
    """Requests per second as people read them: "0", "0.8", "8.4", "110", "2,700"."""
    return NONE if value is None else format_number(value)


def headroom(summary: Summary) -> str:
    """Bytes left below the limit at the peak, and as a share of the limit."""
    if summary.headroom_bytes is None:
        return NONE
    least = tightest(summary)
    whose = f", {least.name}" if least else ""
    return f"{format_bytes(summary.headroom_bytes)} ({format_percent(headroom_share(summary))}{whose})"


def headroom_share(summary: Summary) -> float | None:
    """Headroom as a fraction of the limit that it is kept from; None where unmeasured."""
    limit = (tightest(summary) or summary).memory_limit_bytes
    return summary.headroom_bytes / limit if limit and summary.headroom_bytes is not None else None


def count(number: int | None) -> str:
    """With commas; a dash where nothing counted."""
    return NONE if number is None else f"{number:,}"


def per_request(value: float | None) -> str:
    """Growth in bytes per request with its sign."""
    if value is None:
        return NONE
    sign = "+" if value > 0 else ""
    return f"{sign}{value:.0f} B" if abs(value) < 1024 else f"{sign}{format_bytes(value)}"


def _growth(summary: Summary) -> str:
    return per_request(summary.growth_bytes_per_request)


def _growth_interval(summary: Summary) -> str:
    if summary.growth_low is None or summary.growth_high is None:
        return NONE
    return f"{per_request(summary.growth_low)} to {per_request(summary.growth_high)}"


def _kernel_peak(run: AnalysedRun) -> str:
    return format_bytes(run.result.kernel_peak_charged_bytes)


def _kernel_peak_exact(run: AnalysedRun) -> str:
    peak = run.result.kernel_peak_charged_bytes
    return NONE if peak is None else f"{peak:,} bytes"


def _yes(value: bool | None) -> str:
    return NONE if value is None else "yes" if value else "no"


GROUPS: tuple[Group, ...] = (
    Group(
        "How it ended",
        (
            Figure("Outcome", "How the run ended.", _of(lambda s: OUTCOMES[s.outcome].word), ("outcome",)),
            Figure("Reason", "Why it ended so.", _of(lambda s: s.stop_reason or NONE), ("stop_reason",)),
            Figure(
                "OOM kills",
                "Processes that the kernel killed at the limit, by its own counter.",
                _of(lambda s: count(s.oom_kills)),
                ("oom_kills",),
            ),
            Figure(
                "Restarts",
                "How often a worker was started again.",
                _of(lambda s: f"{s.restarts:,}"),
                ("restarts",),
            ),
            Figure(
                "Ready",
                "The service once answered its readiness check with success.",
                _of(lambda s: _yes(s.ready)),
                ("ready",),
            ),
            Figure(
                "Start-up",
                "From the start of the process to the first success of that check.",
                _of(lambda s: format_seconds(s.startup_s)),
                ("startup_s",),
            ),
            Figure("Clean end", "Gone within 10 s of SIGTERM.", lambda run: _yes(run.result.clean_end)),
        ),
    ),
    Group(
        "Memory",
        (
            _size(
                "Limit",
                "The kernel kills when this is reached and nothing can be given back.",
                "memory_limit_bytes",
            ),
            _size(
                "Peak unreclaimable",
                "What the kernel could not take back. The verdict rests on this.",
                "peak_unreclaimable_bytes",
            ),
            Figure(
                "Headroom",
                "The limit minus the peak of unreclaimable memory.",
                _of(headroom),
                ("headroom_bytes",),
                _of(lambda s: NONE if s.headroom_bytes is None else f"{s.headroom_bytes:,} bytes"),
            ),
            _size(
                "Peak charged",
                "Everything charged to the limit, page cache included, as sampled.",
                "peak_charged_bytes",
            ),
            Figure(
                "Kernel's own peak",
                "The kernel's exact high-water mark of charged memory.",
                _kernel_peak,
                (),
                _kernel_peak_exact,
            ),
            _size(
                "Peak working set",
                "The platform's view (kubelet, docker stats): charged minus inactive page cache.",
                "peak_working_set_bytes",
            ),
            _size(
                "Peak RSS",
                "Resident pages summed over processes: shared ones count once per process.",
                "peak_rss_bytes",
            ),
            _size(
                "Peak PSS",
                "As RSS, but a page shared by n processes counts as 1/n in each.",
                "peak_pss_bytes",
            ),
            Figure(
                "Growth per request",
                "Slope of unreclaimable memory over answered requests.",
                _of(_growth),
                ("growth_bytes_per_request",),
            ),
            Figure(
                "Growth, 95 % interval",
                "A leak shows as an interval wholly above zero.",
                _of(_growth_interval),
                ("growth_low", "growth_high"),
            ),
        ),
    ),
    Group(
        "Load",
        (
            Figure("Requests", "Sent by the load generator.", _of(lambda s: f"{s.requests:,}"), ("requests",)),
            Figure(
                "Failures",
                "Refused, cut off, or answered otherwise than expected.",
                _of(lambda s: f"{s.failures:,}"),
                ("failures",),
            ),
            Figure(
                "Availability",
                "Answered as expected, as a share of those sent.",
                _of(lambda s: format_percent(s.availability)),
                ("availability",),
            ),
            Figure(
                "Dark seconds",
                "Share of the load's seconds in which nothing was answered.",
                _of(lambda s: format_percent(s.dark_share)),
                ("dark_share",),
            ),
            Figure(
                "Requests per second",
                "Answers as expected per second of load.",
                _of(lambda s: rate(s.rps)),
                ("rps",),
            ),
            _latency("Latency p50", "Half of the answers as expected were faster.", "p50_ms"),
            _latency("Latency p95", "95 % of the answers as expected were faster.", "p95_ms"),
            _latency("Latency p99", "99 % of the answers as expected were faster.", "p99_ms"),
        ),
    ),
    Group(
        "How it was measured",
        (
            Figure("Sandbox", "What enforced the limit.", _of(lambda s: s.sandbox), ("sandbox",)),
            Figure(
                "Page cache",
                "Cold: the service's files were dropped from it before the run.",
                _of(lambda s: str(s.page_cache)),
                ("page_cache",),
            ),
            Figure(
                "Memory samples",
                "Readings of the kernel's counters.",
                _of(lambda s: f"{s.samples:,}"),
                ("samples",),
            ),
            Figure(
                "Run directory",
                "Samples, requests and logs of this run.",
                _of(lambda s: s.run_dir),
                ("run_dir",),
            ),
        ),
    ),
)
SHOWN_ELSEWHERE = frozenset({"name", "findings", "services"})
"""Fields of Summary that the page shows in a section of their own."""
