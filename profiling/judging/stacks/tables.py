"""What changed between two sides: by function, by line of the service's own code, by package; and whether that may be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from profiling.differences import Difference, DiffRun, PackageRow, Row, Side, Source
from profiling.judging.stacks.lines import matched, telling_line
from profiling.judging.stacks.naming import NamedFrame, NamedStacks
from profiling.sources import PACKAGE, TEXT
from profiling.stacks import ProcessMemory, Stacks

_Changed = TypeVar("_Changed", Row, PackageRow)


def difference(run: DiffRun, before: Stacks, after: Stacks, stacks: NamedStacks) -> Difference:
    """Everything that is said of two sides; `stacks` is what `naming.compared` made of them."""
    one, two = _side(run.before, before), _side(run.after, after)
    rows = _functions(stacks)
    return Difference(
        total_bytes=two.total_bytes - one.total_bytes,
        status=_status(one, two, run.fail_above_bytes),
        before=one,
        after=two,
        fail_above_bytes=run.fail_above_bytes,
        rows=rows,
        lines=_own_lines(stacks),
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


@dataclass(frozen=True, slots=True)
class _Held:
    """What one frame held on both sides: line -> bytes."""

    before: Counter[int] = field(default_factory=Counter)
    after: Counter[int] = field(default_factory=Counter)


def _held(
    stacks: NamedStacks, choose: Callable[[Sequence[NamedFrame]], int | None]
) -> Iterator[tuple[NamedFrame, _Held]]:
    """By the frame of each stack that `choose` points to; stacks in which it points to none are left out."""
    held: dict[int, _Held] = defaultdict(_Held)
    chosen: dict[tuple[int, ...], int | None] = {}
    for stack in stacks.stacks:
        if stack.frames not in chosen:
            chosen[stack.frames] = choose([stacks.frames[at] for at in stack.frames])
        at = chosen[stack.frames]
        if at is not None:
            frame = held[stack.frames[at]]
            if stack.before:
                frame.before[stack.lines[at]] += stack.before
            if stack.after:
                frame.after[stack.lines[at]] += stack.after
    for number, sizes in held.items():
        yield stacks.frames[number], sizes


def _functions(stacks: NamedStacks) -> tuple[Row, ...]:
    return _by_change(
        [
            _row(frame, telling_line(sizes.before, sizes.after), sizes.before.total(), sizes.after.total())
            for frame, sizes in _held(stacks, _answering)
        ]
    )


def _own_lines(stacks: NamedStacks) -> tuple[Row, ...]:
    return _by_change(
        [
            _row(frame, line.line, line.before, line.after)
            for frame, sizes in _held(stacks, _own)
            for line in matched(sizes.before, sizes.after)
        ]
    )


def _row(frame: NamedFrame, line: int, before: int, after: int) -> Row:
    # A frame without a file stands for itself: memory that no Python code asked for.
    package = frame.source.package if frame.source.name else frame.function
    return Row(
        function=frame.function,
        file=frame.source.name,
        line=line,
        before_bytes=before,
        after_bytes=after,
        package=package,
    )


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
