"""What changed between two sides: by function, by line of the service's own code, by package; and whether that may be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from profiling.differences import Difference, DiffRun, PackageRow, Row, Side, Source
from profiling.judging.stacks.lines import telling_line
from profiling.judging.stacks.naming import NamedFrame, NamedStacks, WeighedStack
from profiling.sources import PACKAGE, TEXT
from profiling.stacks import ProcessMemory, Stacks

_Changed = TypeVar("_Changed", Row, PackageRow)


def difference(run: DiffRun, before: Stacks, after: Stacks, stacks: NamedStacks) -> Difference:
    """Everything that is said of two sides; `stacks` is what `naming.compared` made of them."""
    one, two = _side(run.before, before), _side(run.after, after)
    rows = _rows(stacks, _answering)
    return Difference(
        total_bytes=two.total_bytes - one.total_bytes,
        status=_status(one, two, run.fail_above_bytes),
        before=one,
        after=two,
        fail_above_bytes=run.fail_above_bytes,
        rows=rows,
        lines=_rows(stacks, _own),
        packages=_packages(rows),
    )


def _status(before: Side, after: Side, fail_above_bytes: int | None) -> str:
    if not (before.total_bytes and after.total_bytes):
        return "inconclusive"
    grown = after.total_bytes - before.total_bytes
    return "fail" if fail_above_bytes is not None and grown > fail_above_bytes else "pass"


def _side(source: Source, stacks: Stacks) -> Side:
    return Side(
        path=source.path,
        name=source.name,
        at=stacks.at,
        ended=stacks.ended,
        oom_killed=source.oom_killed,
        total_bytes=stacks.bytes,
        processes=tuple(
            ProcessMemory(**{key: getattr(process, key) for key in ProcessMemory.__struct_fields__})
            for process in stacks.processes
        ),
        notes=stacks.notes,
    )


def _rows(stacks: NamedStacks, choose: Callable[[Sequence[NamedFrame]], int | None]) -> tuple[Row, ...]:
    """By the frame of each stack that `choose` points to; stacks in which it points to none are left out."""
    before: dict[int, Counter[int]] = defaultdict(Counter)
    after: dict[int, Counter[int]] = defaultdict(Counter)
    chosen: dict[tuple[int, ...], int | None] = {}
    for stack in stacks.stacks:
        if stack.frames not in chosen:
            chosen[stack.frames] = choose([stacks.frames[at] for at in stack.frames])
        at = chosen[stack.frames]
        if at is not None:
            _count(before, stack, at, stack.before)
            _count(after, stack, at, stack.after)
    rows = []
    for number in before.keys() | after.keys():
        frame = stacks.frames[number]
        rows.append(
            Row(
                function=frame.function,
                file=frame.source.name,
                line=telling_line(before[number], after[number]) if frame.source.name else 0,
                before_bytes=before[number].total(),
                after_bytes=after[number].total(),
                package=_package(frame),
            )
        )
    return _by_change(rows)


def _count(side: dict[int, Counter[int]], stack: WeighedStack, at: int, size: int) -> None:
    if size:
        side[stack.frames[at]][stack.lines[at]] += size


def _answering(stack: Sequence[NamedFrame]) -> int | None:
    """The innermost frame of the user's own code or of a package; else the innermost, be it the interpreter's."""
    inwards = range(len(stack) - 1, -1, -1)
    for at in inwards:
        if stack[at].source.rank >= PACKAGE and stack[at].source.rank != TEXT:
            return at
    return next((at for at in inwards if stack[at].source.rank == TEXT), len(stack) - 1)


def _own(stack: Sequence[NamedFrame]) -> int | None:
    """The innermost frame of the user's own code: of what surely is, else of what seems to be."""
    best, best_rank = None, PACKAGE
    for at in range(len(stack) - 1, -1, -1):
        if stack[at].source.rank > best_rank:
            best, best_rank = at, stack[at].source.rank
    return best


def _package(frame: NamedFrame) -> str | None:
    """A frame without a file stands for itself: memory that no Python code asked for."""
    return frame.source.package if frame.source.name else frame.function


def _packages(rows: Sequence[Row]) -> tuple[PackageRow, ...]:
    before: Counter[str | None] = Counter()
    after: Counter[str | None] = Counter()
    for row in rows:
        before[row.package] += row.before_bytes
        after[row.package] += row.after_bytes
    return _by_change(
        [
            PackageRow(package=name, before_bytes=before[name], after_bytes=after[name])
            for name in before.keys() | after.keys()
        ]
    )


def _by_change(rows: list[_Changed]) -> tuple[_Changed, ...]:
    return tuple(
        sorted(rows, key=lambda row: (-abs(row.change_bytes), -max(row.before_bytes, row.after_bytes), repr(row)))
    )
