"""What `size` says, as rows that every renderer shows alike: the limits that were tried, and the plans that hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from profiling.sizing import Ending, FittingPlan, SizeJudgement, Tried
from profiling.units import format_bytes, format_ms, format_percent
from reports.words import BAD, GOOD, UNSURE, Sign

ENDINGS: dict[Ending, Sign] = {
    Ending.PASSED: Sign("passes", "✓", GOOD),
    Ending.KILLED: Sign("OOM-killed", "✗", BAD),
    Ending.HUNG: Sign("hung at the limit", "✗", BAD),
    Ending.THRASHES: Sign("thrashes", "✗", BAD),
    Ending.NEVER_READY: Sign("never ready", "✗", BAD),
    Ending.CRASHED: Sign("crashed", "✗", BAD),
    Ending.TIMED_OUT: Sign("timed out", "✗", BAD),
    Ending.FAILURES: Sign("failed requests", "✗", BAD),
    Ending.SLOW: Sign("too slow", "✗", BAD),
    Ending.HEADROOM: Sign("too little headroom", "✗", BAD),
    Ending.PEAK: Sign("over its peak's budget", "✗", BAD),
    Ending.GROWTH: Sign("grows", "✗", BAD),
    Ending.UNUSABLE: Sign("says nothing", "?", UNSURE),
}
_AGAIN_WORTH_A_WORD = 2**20


@dataclass(frozen=True, slots=True)
class LimitRow:
    """All runs under one limit, smallest limit first."""

    limit_bytes: int
    limit: str
    signs: tuple[Sign, ...]
    """Of each run, in the order in which they were made."""
    p95: str
    peak: str
    note: str
    """Why it failed, or what it cost."""
    end: str
    """`passing`, `failing` or empty: whether it is one side of the answer."""


def limit_rows(found: SizeJudgement) -> tuple[LimitRow, ...]:
    limits = sorted({run.limit_bytes for run in found.trials})
    return tuple(_row(limit, [run for run in found.trials if run.limit_bytes == limit], found) for limit in limits)


def _row(limit: int, runs: list[Tried], found: SizeJudgement) -> LimitRow:
    ends = {found.smallest_passing_bytes: "passing", found.largest_failing_bytes: "failing"}
    return LimitRow(
        limit_bytes=limit,
        limit=limit_text(limit),
        signs=tuple(ENDINGS[run.ending] for run in runs),
        p95=_from_to([run.p95_ms for run in runs], format_ms),
        peak=_from_to([run.peak_bytes for run in runs], format_bytes),
        note=_note(runs),
        end=ends.get(limit, ""),
    )


def _note(runs: list[Tried]) -> str:
    reason = next((run.reason for run in runs if run.reason), "")
    if reason:
        return reason
    again = max(run.read_again_bytes for run in runs)
    return f"read {format_bytes(again)} of its own files again" if again >= _AGAIN_WORTH_A_WORD else ""


def _from_to(values: Sequence[float | None], form: Callable[[float], str]) -> str:
    texts = [form(value) for value in sorted(value for value in values if value is not None)]
    if not texts:
        return "–"
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def limit_text(size: int) -> str:
    """A limit exactly enough to be told from its neighbour."""
    mib = size / 2**20
    return f"{mib:,.0f} MiB" if abs(mib - round(mib)) < 0.005 else f"{mib:,.1f} MiB"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The smallest plan of one provider."""

    provider: str
    name: str
    memory: str
    headroom: str
    price: str
    cpus: str
    note: str


def plan_rows(found: SizeJudgement) -> tuple[PlanRow, ...]:
    return tuple(_plan(plan) for plan in found.plans)


def _plan(plan: FittingPlan) -> PlanRow:
    also = f"as much memory: {', '.join(plan.same_memory)}" if plan.same_memory else ""
    return PlanRow(
        provider=plan.provider,
        name=plan.name,
        memory=format_bytes(plan.memory_bytes),
        headroom=format_percent(round(plan.headroom, 3)),
        price=_price(plan),
        cpus="–" if plan.cpus is None else _cpus(plan.cpus),
        note="; ".join(part for part in (also, plan.note) if part),
    )


def _price(plan: FittingPlan) -> str:
    if plan.usd_per_month is None:
        return "–"
    when = f" (as of {plan.as_of:%B %Y})" if plan.as_of else ""
    return f"${plan.usd_per_month:,.0f} a month{when}"


def plan_heading(found: SizeJudgement) -> str:
    return f"The smallest plans with {format_percent(found.headroom)} of headroom"


def measured_with(found: SizeJudgement) -> str:
    """The CPUs of the runs, which a plan's may be fewer than."""
    if found.cpus is not None:
        return f"Measured with {_cpus(found.cpus)}; plans that are known to have fewer are left out."
    return (
        f"Measured without a limit of CPUs, on {_cpus(found.cpu_count)}: a plan with fewer is slower and holds more requests"
        " at once; --cpus measures that."
    )


def _cpus(count: float) -> str:
    return f"{count:g} CPU{'' if count == 1 else 's'}"


def no_plan(found: SizeJudgement) -> str:
    """Why there is none, where there is none."""
    if found.smallest_passing_bytes is None:
        return ""
    return "no plan of the catalogue holds it; add your own to the config file as [plans.PROVIDER.NAME]"


def plain_limits(found: SizeJudgement) -> Iterator[tuple[Sign, str, str]]:
    """For a terminal: (sign, limit, what happened)."""
    for row in limit_rows(found):
        words = ", ".join(_counted(row.signs))
        figures = [f"p95 {row.p95}"] if row.p95 != "–" else []
        figures += [f"peak {row.peak}"] if row.peak != "–" else []
        worst = next((sign for sign in row.signs if sign.tone == BAD), row.signs[0])
        yield worst, row.limit, "; ".join([words, *figures])


def _counted(signs: tuple[Sign, ...]) -> list[str]:
    return [f"{sign.word} {signs.count(sign)} of {len(signs)}" for sign in dict.fromkeys(signs)]
