"""The tree of imports as a reader wants it: largest first, what is small put together, the program's own code for free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from profiling.import_costs import ImportCosts, ModuleCost, PackageCost

_ROWS_AT_MOST = 12
"""Children of one module that are shown each in a row of its own."""
_LEAST_BYTES = 64 * 1024
_LEAST_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree: a module, or what is left of its neighbours."""

    module: ModuleCost | None
    """None: `count` smaller ones together."""
    anon_bytes: int
    file_bytes: int
    level: int
    """0: nobody in the program asked for it while it was being imported itself."""
    last: tuple[bool, ...]
    """For each level down to this one, whether it is the last of its neighbours."""
    count: int = 1


class Forest:
    """Modules by the module whose import loaded them."""

    def __init__(self, modules: Sequence[ModuleCost]) -> None:
        self._below: dict[str, list[ModuleCost]] = defaultdict(list)
        known = {module.name for module in modules}
        self._roots = [module for module in modules if module.parent not in known]
        for module in modules:
            if module.parent in known and module.parent is not None:
                self._below[module.parent].append(module)

    def below(self, module: ModuleCost | None) -> list[ModuleCost]:
        """What it loaded, largest first; None: what nothing else loaded."""
        found = self._roots if module is None else self._below.get(module.name, [])
        return sorted(found, key=lambda child: (-child.anon_bytes, -child.file_bytes, child.name))


def packages(costs: ImportCosts, most: int) -> tuple[tuple[PackageCost, ...], tuple[PackageCost, ...]]:
    """The packages to show each in a row of its own, at most so many, and those that are too small or too many."""
    shown = [p for p in costs.packages if max(p.anon_bytes, p.file_bytes) >= _LEAST_BYTES][:most]
    return tuple(shown), tuple(package for package in costs.packages if package not in shown)


def rows(costs: ImportCosts, depth: int) -> Iterator[Row]:
    """The tree's lines down to `depth` levels below the program's own code, whose levels are not counted."""
    forest = Forest(costs.modules)
    least = max(_LEAST_BYTES, _LEAST_SHARE * costs.total_anon_bytes)
    yield from _rows(forest, None, least, depth, ())


def _rows(forest: Forest, above: ModuleCost | None, least: float, depth: int, last: tuple[bool, ...]) -> Iterator[Row]:
    children = forest.below(above)
    large = [child for child in children if max(child.anon_bytes, child.file_bytes) >= least][:_ROWS_AT_MOST]
    small = [child for child in children if child not in large]
    for number, child in enumerate(large):
        ends = number == len(large) - 1 and not small
        yield Row(child, child.anon_bytes, child.file_bytes, len(last), (*last, ends))
        left = depth if child.own else depth - 1
        if left > 0:
            yield from _rows(forest, child, least, left, (*last, ends))
    if small:
        anon, file = sum(child.anon_bytes for child in small), sum(child.file_bytes for child in small)
        yield Row(None, anon, file, len(last), (*last, True), len(small))
