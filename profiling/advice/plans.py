"""The advice that is bought: the next plan up. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from profiling.manifests.catalogue import Plan

NAME = "next-plan"
GUIDE = "every provider's own page on running out of memory: upgrade"


def next_plans(plans: Mapping[str, Mapping[str, Plan]], limit_bytes: int) -> tuple[Plan, ...]:
    """Of each provider the smallest plan with more memory than `limit_bytes`, the cheapest of that size; those whose price
    is known first, cheapest first."""
    found = []
    for known in plans.values():
        larger = [plan for plan in known.values() if plan.memory_bytes > limit_bytes]
        if larger:
            found.append(min(larger, key=lambda plan: (plan.memory_bytes, _price(plan))))
    return tuple(sorted(found, key=_price))


def _price(plan: Plan) -> float:
    return float("inf") if plan.usd_per_month is None else plan.usd_per_month
