"""Plans by name: `plans.toml` with the user's own entries on top."""

from __future__ import annotations

import datetime
import difflib
import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from profiling.manifests.node import Node, shown
from profiling.units import parse_bytes
from profiling.values import Value

_FILE = Path(__file__).with_name("plans.toml")


class Plan(Value, frozen=True, kw_only=True):
    """One plan. None: not known for sure."""

    provider: str
    name: str
    memory_bytes: int
    cpus: float | None = None
    usd_per_month: float | None = None
    """For a month without a pause."""


class Provider(Value, frozen=True, kw_only=True):
    """Where the plans of one provider were looked up, and when."""

    name: str
    as_of: datetime.date
    sources: tuple[str, ...]
    note: str = ""
    """What happens at the limit there, if it is not simply a kill."""


class Catalogue(msgspec.Struct, frozen=True):
    """All plans, by provider and by name as they are compared: case, blanks, `_` and `-` do not count."""

    plans: Mapping[str, Mapping[str, Plan]]
    providers: Mapping[str, Provider] = {}

    def named(self, provider: str, node: Node, default: str | None = None) -> Plan | None:
        """The plan whose name stands in `node`, or `default` where none does. Raises ManifestError for a name that is
        not known, with those that are."""
        name = node.text() or default
        if name is None:
            return None
        known = self.plans.get(provider, {})
        plan = known.get(_compared(name))
        if plan is None:
            node.refuse(
                f"{shown(name)!r} is no plan of {provider} that is known here",
                hint=_known(provider, name, known),
                quote=False,
            )
        return plan

    def note(self, provider: str) -> tuple[str, ...]:
        """What to know of the provider's limits: one sentence or more, or nothing."""
        found = self.providers.get(provider)
        return (found.note,) if found and found.note else ()

    def with_plans(self, added: tuple[Plan, ...]) -> Catalogue:
        """The same with `added` on top, which also replace plans of the same name."""
        plans = {provider: dict(known) for provider, known in self.plans.items()}
        for plan in added:
            plans.setdefault(plan.provider, {})[_compared(plan.name)] = plan
        return Catalogue(plans, self.providers)


class _PlanEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    memory: str
    cpus: float | None = None
    usd_per_month: float | None = None


class _ProviderEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    as_of: datetime.date
    sources: tuple[str, ...]
    plans: dict[str, _PlanEntry]
    note: str = ""


@functools.cache
def load() -> Catalogue:
    """The plans that come with the tool."""
    document: dict[str, Any] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    entries = msgspec.convert(document, dict[str, _ProviderEntry])
    plans = [
        Plan(
            provider=provider,
            name=name,
            memory_bytes=parse_bytes(plan.memory),
            cpus=plan.cpus,
            usd_per_month=plan.usd_per_month,
        )
        for provider, entry in entries.items()
        for name, plan in entry.plans.items()
    ]
    providers = {
        name: Provider(name=name, as_of=entry.as_of, sources=entry.sources, note=entry.note)
        for name, entry in entries.items()
    }
    return Catalogue({}, providers).with_plans(tuple(plans))


def _known(provider: str, name: str, known: Mapping[str, Plan]) -> str:
    """The nearest name, all names, and how to add one."""
    near = difflib.get_close_matches(_compared(name), known, 1)
    hint = f"did you mean {known[near[0]].name!r}? " if near else ""
    names = ", ".join(plan.name for plan in known.values())
    return f"{hint}Known: {names}; add it to the config file as [plans.{provider}.{_key(name)}] with its memory"


def _compared(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().lower())


def _key(name: str) -> str:
    """A TOML key."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else f'"{shown(name)}"'
