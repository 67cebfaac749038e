"""What would not be loaded at the start if one import statement of the program's own code were carried out later.

A graph: an edge leads from a module to each module that an import statement in its body, or in a function that was called
while its body was executed, asked for, also where that was loaded already. Without the edges of one statement some
modules cannot be reached any more from what the program was started with: nothing else that remains would load them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from profiling.judging.imports.recording import Begin, Place
from profiling.judging.imports.tree import Start

_ROOT = ""


@dataclass(frozen=True, slots=True)
class Putoff:
    """A statement of the program's own code, and what depends on it alone."""

    line: str
    """FILE:LINE"""
    imports: tuple[str, ...]
    """The modules that the statement names."""
    alone: frozenset[str]
    """The modules that nothing else would load."""


@dataclass(frozen=True, slots=True)
class _Edge:
    target: str
    at: str | None
    """FILE:LINE of the statement."""
    body: str | None
    """FILE:LINE of the module body for whose sake it was executed: a function that it calls may import something."""


def putoffs(start: Start) -> list[Putoff]:
    """Each import statement of the program's own code that something depends on."""
    graph = _graph(start)
    everything = _reachable(graph, None)
    found = []
    for line, imports in _own_statements(start).items():
        alone = everything - _reachable(graph, line)
        if alone:
            found.append(Putoff(line, tuple(dict.fromkeys(imports)), frozenset(alone)))
    return found


def _own_statements(start: Start) -> dict[str, list[str]]:
    """What each line of the program's own code imports, as far as it is loaded."""
    lines: dict[str, list[str]] = defaultdict(list)
    for process in start.processes:
        for statement in process.statements:
            line = statement.at.text
            if statement.own and line and statement.name in start.loads:
                lines[line].append(statement.name)
                lines[line] += _named(statement.name, statement.names, start.loads)
    return lines


def _graph(start: Start) -> dict[str, list[_Edge]]:
    graph: dict[str, list[_Edge]] = defaultdict(list)

    def add(body: Place, at: Place, name: str, names: Collection[str]) -> None:
        source = body.module if body.module in start.loads else _ROOT
        parts = name.split(".")
        wanted = [".".join(parts[: end + 1]) for end in range(len(parts))]
        for target in (*wanted, *_named(name, names, start.loads)):
            if target in start.loads:
                graph[source].append(_Edge(target, at.text, body.text))

    for process in start.processes:
        for statement in process.statements:
            add(statement.body, statement.at, statement.name, statement.names)
        for event in process.events:
            if isinstance(event, Begin):
                add(event.body, event.importer, event.name, ())
    return graph


def _named(name: str, names: Collection[str], known: Collection[str]) -> Iterator[str]:
    """What `from name import names` names that is a module."""
    return (f"{name}.{part}" for part in names if f"{name}.{part}" in known)


def _reachable(graph: dict[str, list[_Edge]], without: str | None) -> set[str]:
    """What is loaded, with the statement at `without` (FILE:LINE) left out."""
    found: set[str] = set()
    pending = [_ROOT]
    while pending:
        for edge in graph.get(pending.pop(), ()):
            if edge.target not in found and (without is None or without not in (edge.at, edge.body)):
                found.add(edge.target)
                pending.append(edge.target)
    return found
