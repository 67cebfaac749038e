"""All starts of one program to what its imports cost: medians, their spread, and what a later import would save. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from profiling.import_costs import (
    COLD,
    LAZY,
    WARM,
    ImportCosts,
    ImportsRun,
    ImportStart,
    LazyLine,
    ModuleCost,
    PackageCost,
)
from profiling.judging.imports.lazy import Putoff, putoffs
from profiling.judging.imports.tree import UNFINISHED, WORKER, Load, Start
from profiling.units import KIB, format_bytes
from profiling.values import Outcome, PageCache

NOISE_BYTES = 64 * KIB
"""A figure below this says nothing: allocators take memory in pieces, and a page more or less decides whose it is."""
_WORTH_BYTES = 256 * KIB
"""A saving below this is not worth a line."""
_WORTH_SAYING_BYTES = 1024 * KIB
_MUCH_LESS = 0.5


@dataclass(frozen=True, slots=True)
class Recorded:
    """One start: how it went, and what it loaded."""

    how: ImportStart
    tree: Start


def candidates(starts: Sequence[Recorded]) -> list[Putoff]:
    """The import statements of the program's own code that are worth putting off, largest saving first."""
    counted = _counted(starts)
    if not counted:
        return []
    tree = counted[0].tree
    worth = [(putoff, _held(putoff, tree)) for putoff in putoffs(tree)]
    worth = [(putoff, held) for putoff, held in worth if held >= _WORTH_BYTES]
    return [putoff for putoff, _ in sorted(worth, key=lambda pair: -pair[1])]


def costs(run: ImportsRun, starts: Sequence[Recorded]) -> ImportCosts:
    """What the imports cost, from `starts` in the order in which they were made."""
    counted = _counted(starts)
    if not counted:
        return ImportCosts(name=run.name, status="skipped", problem=run.skipped or "nothing was recorded")
    plain = [start for start in starts if start.how.kind != LAZY and start.tree.loads]
    cold = [start for start in plain if start.how.kind == COLD and counted[0].how.kind != COLD]
    wrong = next((said for start in plain if (said := problem(start, run.modules, run.limit_bytes))), None)
    status = "fail" if wrong else "pass"
    totals = [start.tree.anon for start in plain]
    first = counted[0].tree
    modules = tuple(
        _module(load, counted, cold, plain, run.directory) for load in first.loads.values() if _is_worth_a_row(load)
    )
    return ImportCosts(
        name=run.name,
        status=status,
        problem=wrong,
        complete=status == "pass" and counted[0].how.stop_reason is None,
        total_anon_bytes=_median(counted, lambda tree: tree.anon),
        total_file_bytes=_median(counted, lambda tree: tree.file),
        total_low_bytes=min(totals),
        total_high_bytes=max(totals),
        time_s=_median(counted, lambda tree: tree.ns) / 1e9,
        cold_file_bytes=_median(cold, lambda tree: tree.file) if cold else None,
        cold_time_s=_median(cold, lambda tree: tree.ns) / 1e9 if cold else None,
        interpreter_anon_bytes=_median(counted, lambda tree: tree.processes[0].begin.anon),
        python=first.processes[0].python,
        starts=len(counted),
        processes=first.recorded,
        modules=modules,
        packages=packages(modules),
        lazy=_lazy(run, starts, counted),
        notes=_notes(run, plain, counted, status),
    )


def _counted(starts: Sequence[Recorded]) -> list[Recorded]:
    """The starts whose medians are the figures: the warm ones, or the cold ones where there is none."""
    for kind in (WARM, COLD):
        found = [start for start in starts if start.how.kind == kind and start.tree.loads]
        if found:
            return found
    return []


def _median(starts: Sequence[Recorded], figure: Callable[[Start], int]) -> int:
    return round(statistics.median(figure(start.tree) for start in starts))


def _is_worth_a_row(load: Load) -> bool:
    """Not what was looked for in vain: `try: import x` of something that is not installed costs nothing."""
    failed = load.error is not None and load.error != UNFINISHED
    return not failed or bool(load.children) or max(abs(load.self_anon), abs(load.self_file)) >= NOISE_BYTES


def _module(
    load: Load, counted: Sequence[Recorded], cold: Sequence[Recorded], plain: Sequence[Recorded], directory: str
) -> ModuleCost:
    def figure(starts: Sequence[Recorded], of: Callable[[Load], int]) -> int:
        found = [of(start.tree.loads[load.name]) for start in starts if load.name in start.tree.loads]
        return round(statistics.median(found)) if found else 0

    everywhere = [start.tree.loads[load.name].anon for start in plain if load.name in start.tree.loads]
    return ModuleCost(
        name=load.name,
        self_anon_bytes=figure(counted, lambda found: found.self_anon),
        self_file_bytes=figure(counted, lambda found: found.self_file),
        anon_bytes=figure(counted, lambda found: found.anon),
        file_bytes=figure(counted, lambda found: found.file),
        imported_by=load.importer.module or None,
        line=shown(load.own.text, directory),
        statement=shown(load.importer.text, directory),
        parent=load.parent.name if load.parent else None,
        anon_low_bytes=min(everywhere),
        anon_high_bytes=max(everywhere),
        time_s=figure(counted, lambda found: found.ns) / 1e9,
        cold_file_bytes=figure(cold, lambda found: found.file) if cold else None,
        cold_time_s=figure(cold, lambda found: found.ns) / 1e9 if cold else None,
        own=load.name in counted[0].tree.own,
        process=load.process,
        error=load.error,
    )


def packages(modules: Sequence[ModuleCost]) -> tuple[PackageCost, ...]:
    """What the program's own code asked for, with all below it, but without what of that is the program's own again; and
    each module of its own by itself. No memory is in two of them."""
    by_name = {module.name: module for module in modules}
    heads: dict[str, ModuleCost] = {}
    """Of each module that is not the program's own, the outermost one above it that is neither."""
    for module in modules:
        above = by_name.get(module.parent or "")
        if not module.own:
            heads[module.name] = heads.get(above.name, module) if above and not above.own else module
    anon: dict[str, int] = defaultdict(int)
    file: dict[str, int] = defaultdict(int)
    count: dict[str, int] = defaultdict(int)
    lines: dict[str, ModuleCost] = {}
    for name, head in heads.items():
        package = head.name.partition(".")[0]
        count[package] += 1
        if name == head.name:
            anon[package] += head.anon_bytes
            file[package] += head.file_bytes
            lines[package] = max(lines.get(package, head), head, key=lambda module: module.anon_bytes)
    for module in modules:
        if module.own and module.parent in heads:
            package = heads[module.parent].name.partition(".")[0]
            anon[package] -= module.anon_bytes
            file[package] -= module.file_bytes
    found = [
        PackageCost(name=name, anon_bytes=anon[name], file_bytes=file[name], modules=count[name], line=lines[name].line)
        for name in anon
    ]
    found += [
        PackageCost(
            name=module.name,
            own=True,
            anon_bytes=module.self_anon_bytes,
            file_bytes=module.self_file_bytes,
            modules=1,
            line=module.line,
        )
        for module in modules
        if module.own
    ]
    return tuple(sorted(found, key=lambda package: -package.anon_bytes))


def shown(line: str | None, directory: str) -> str | None:
    """FILE:LINE relative to the directory that the program ran in, where it lies below that."""
    inside = f"{directory.rstrip('/')}/"
    return line.removeprefix(inside) if line else None


def _held(putoff: Putoff, tree: Start) -> int:
    return sum(tree.loads[name].self_anon for name in putoff.alone if name in tree.loads)


def _lazy(run: ImportsRun, starts: Sequence[Recorded], counted: Sequence[Recorded]) -> tuple[LazyLine, ...]:
    made = {start.how.lazy: start for start in starts if start.how.kind == LAZY}
    anon, file = _median(counted, lambda tree: tree.anon), _median(counted, lambda tree: tree.file)
    lines = []
    for putoff in candidates(starts):
        held = round(statistics.median(_held(putoff, start.tree) for start in counted))
        start = made.get(putoff.line)
        measured_anon = measured_file = None
        note = ""
        if start is not None and start.how.outcome is Outcome.COMPLETED:
            measured_anon, measured_file = anon - start.tree.anon, file - start.tree.file
            if measured_anon < _MUCH_LESS * held:
                when = "while the modules are imported" if run.modules else "before it is ready"
                note = f"what it imports is used {when}, so that it is loaded all the same"
        elif start is not None:
            note = f"could not be put off: {start.how.said or start.how.stop_reason or start.how.outcome.value}"
        lines.append(
            LazyLine(
                line=shown(putoff.line, run.directory) or putoff.line,
                imports=putoff.imports,
                modules=len(putoff.alone),
                computed_anon_bytes=held,
                measured_anon_bytes=measured_anon,
                measured_file_bytes=measured_file,
                note=note,
            )
        )
    return tuple(sorted(lines, key=_saving, reverse=True))


def _saving(line: LazyLine) -> int:
    return line.computed_anon_bytes if line.measured_anon_bytes is None else line.measured_anon_bytes


def problem(start: Recorded, modules: Sequence[str], limit_bytes: int) -> str | None:
    """What went wrong in a start in which nothing was put off; `modules`: what was asked to be imported, if not a command."""
    how, during = start.how, start.tree.unfinished
    importing = f" while importing {during.name}" if during else ""
    if how.outcome is Outcome.OOM_KILLED:
        return f"killed at the limit of {format_bytes(limit_bytes)}{importing}"
    if how.outcome is Outcome.CRASHED:
        return f"{how.stop_reason}{importing}" + (f": {how.said}" if how.said else "")
    if how.outcome is Outcome.NEVER_READY and (during or modules):
        return f"{how.stop_reason}{importing}"
    if modules and during:
        return f"the process ended{importing}"
    failed = next((load for name in modules if (load := start.tree.loads.get(name)) and load.error), None)
    return f"{failed.error} while importing {failed.name}" if failed else None


def _notes(run: ImportsRun, starts: Sequence[Recorded], counted: Sequence[Recorded], status: str) -> tuple[str, ...]:
    how, tree = counted[0].how, counted[0].tree
    notes = []
    if any(start.how.kind == COLD and start.how.page_cache is not PageCache.COLD for start in starts):
        notes.append("some of its files could not be dropped from the page cache: another process has them mapped")
    if how.stop_reason and status == "pass":
        notes.append(f"{how.stop_reason}; this is what it had imported until then")
    if tree.recorded > len(tree.processes):
        notes.append(
            f"{tree.recorded} processes imported something; shown are the first and the child that imported most:"
            " each further worker pays for its own imports again"
        )
    in_worker = sum(load.self_anon for load in tree.loads.values() if load.process == WORKER)
    if in_worker >= _WORTH_SAYING_BYTES:
        notes.append(
            f"{format_bytes(in_worker)} are imported in a forked worker; pages that it copies from its parent, which held"
            f" {format_bytes(tree.processes[-1].begin.anon)}, are not counted"
        )
    if run.walked:
        notes.append("this kernel's counters lag: figures were checked against page tables from 256 KiB on")
    return tuple(notes)
