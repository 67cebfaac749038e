"""Which plan of each provider is the smallest that holds a service. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.manifests.catalogue import Plan
from profiling.sizing import Catalogued, FittingPlan


def fitting_plans(
    catalogue: Sequence[Catalogued], *, passing_bytes: int, need_bytes: int, headroom: float, cpus: float | None
) -> tuple[FittingPlan, ...]:
    """Of each provider that has one, the smallest plan with at least `passing_bytes` of memory of which `need_bytes` leave
    the share `headroom` free, and with no fewer than the `cpus` that it was measured with (None: not limited)."""

    def holds(plan: Plan) -> bool:
        enough = cpus is None or plan.cpus is None or plan.cpus >= cpus
        return plan.memory_bytes >= passing_bytes and need_bytes <= (1 - headroom) * plan.memory_bytes and enough

    found = []
    for provider in catalogue:
        holding = [plan for plan in provider.plans if holds(plan)]
        if not holding:
            continue
        smallest = min(plan.memory_bytes for plan in holding)
        first, *others = sorted((plan for plan in holding if plan.memory_bytes == smallest), key=_price)
        found.append(
            FittingPlan(
                provider=provider.provider,
                name=first.name,
                memory_bytes=smallest,
                usd_per_month=first.usd_per_month,
                headroom=1 - need_bytes / smallest,
                cpus=first.cpus,
                same_memory=tuple(plan.name for plan in others),
                as_of=provider.as_of,
                note=provider.note,
            )
        )
    return tuple(found)


def _price(plan: Plan) -> float:
    """Those whose price is not known come last."""
    return float("inf") if plan.usd_per_month is None else plan.usd_per_month
