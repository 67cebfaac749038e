"""The page of `imports`: one file with everything in it, that asks nobody for anything."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.import_costs import ImportCosts, ImportsRun, ModuleCost
from profiling.manifests.secrets import redacted_words
from profiling.units import format_bytes, format_percent, format_seconds
from reports.html import moment
from reports.imports.forest import Forest, packages, rows
from reports.imports.words import LAZY_WORDS, imported, module_words, modules, sign_of, summary, where
from reports.page import environment

_LEVELS = 9
_NARROWEST = 0.004
"""A module that takes less of the picture's width is not drawn: nobody would see it."""
_READABLE = 0.03
"""Narrower ones bear no name: a letter or two say nothing."""
_DEPTH = 4
_PACKAGES = 30


@dataclass(frozen=True, slots=True)
class Brick:
    """One module in the picture. Lengths are percent of the width; `tone` tells packages apart."""

    module: ModuleCost
    left: float
    width: float
    level: int
    tone: int

    @property
    def name(self) -> str:
        return self.module.name if self.width >= 100 * _READABLE else ""


def render_html(run: ImportsRun, costs: ImportCosts) -> str:
    """The page as text."""
    found = list(_bricks(costs))
    shown, rest = packages(costs, _PACKAGES)
    return _ENVIRONMENT.get_template("imports.html.j2").render(
        run=run,
        costs=costs,
        sign=sign_of(costs),
        summary=summary(run, costs),
        bricks=found,
        levels=max((brick.level for brick in found), default=0) + 1,
        packages=shown,
        packages_left=rest,
        rows=list(rows(costs, _DEPTH)) if costs.modules else [],
        where=where(run),
        lazy_words=LAZY_WORDS,
        command_line=shlex.join(redacted_words(run.argv)),
    )


def _bricks(costs: ImportCosts) -> Iterator[Brick]:
    """The picture: below each module what it loaded, as wide as the anonymous memory that it holds with all below it."""
    forest = Forest(costs.modules)
    whole = sum(max(0, module.anon_bytes) for module in forest.below(None))
    tones: dict[str, int] = {}
    pending: list[tuple[ModuleCost | None, float, float, int]] = [(None, 0.0, 1.0, 0)]
    while pending and whole > 0:
        above, left, room, level = pending.pop(0)
        for module in forest.below(above):
            # Medians of parts need not add up to the median of the whole.
            width = min(module.anon_bytes / whole, room)
            if width < _NARROWEST:
                continue
            package = module.name.partition(".")[0]
            tone = 0 if module.own else tones.setdefault(package, 1 + len(tones) % 5)
            yield Brick(module, 100 * left, 100 * width, level, tone)
            if level + 1 < _LEVELS:
                pending.append((module, left, width, level + 1))
            left, room = left + width, room - width


def _bar(part: int, whole: int) -> str:
    return f"{100 * max(0.0, min(1.0, part / whole)) if whole > 0 else 0.0:.1f}"


_ENVIRONMENT = environment(
    {"moment": moment},
    bar=_bar,
    format_bytes=format_bytes,
    format_percent=format_percent,
    format_seconds=format_seconds,
    imported=imported,
    module_words=module_words,
    modules=modules,
)
