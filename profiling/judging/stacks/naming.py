"""Frames by names that are the same on both sides of a difference: function and file, wherever the file lies."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from profiling.sources import OWN_BY_GUESS, Source, source
from profiling.stacks import Stacks

_CANDIDATES = 50
"""A file is compared with so many of its own name on the other side."""
_PROCESS = Source("", None, -1)


@dataclass(frozen=True, slots=True)
class NamedFrame:
    """What a frame is matched by."""

    function: str
    source: Source

    @property
    def is_process(self) -> bool:
        return self.source is _PROCESS


@dataclass(frozen=True, slots=True)
class WeighedStack:
    """One stack of calls with the memory that it held on both sides, in bytes."""

    frames: tuple[int, ...]
    """Positions in `NamedStacks.frames`, outermost first."""
    lines: tuple[int, ...]
    """Line numbers of those frames; 0: not known. They may differ between the sides."""
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class NamedStacks:
    frames: tuple[NamedFrame, ...]
    stacks: tuple[WeighedStack, ...]
    """Those of either side, one after the other."""


def compared(before: Stacks, after: Stacks) -> NamedStacks:
    """Both sides by common names; all processes of a side together."""
    # Where one is not known, both are told by the files that they have in common.
    both = bool(before.directory and after.directory)
    known_before, known_after = (_known(before), _known(after)) if both else ((), ())
    roots = aligned(_strays(before, known_before), _strays(after, known_after))
    table: dict[NamedFrame, int] = {}
    stacks = [
        *_weighed(before, (*known_before, *roots[0]), table, is_after=False),
        *_weighed(after, (*known_after, *roots[1]), table, is_after=True),
    ]
    return NamedStacks(tuple(table), tuple(stacks))


def by_process(stacks: Stacks) -> NamedStacks:
    """One side alone (`after`), with the process as the outermost frame of each stack."""
    known = _known(stacks)
    common = _common(_strays(stacks, known))
    table: dict[NamedFrame, int] = {}
    found = tuple(_weighed(stacks, (*known, *common), table, is_after=True, processes=True))
    return NamedStacks(tuple(table), found)


def aligned(before: Sequence[str], after: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two directories below which most of these files are the same: a checkout and another one, say.

    The files are absolute. The directory that is common to all of them, twice, where no file has a namesake at another
    place.
    """
    same = set(before) & set(after)
    namesakes: dict[str, list[list[str]]] = defaultdict(list)
    for file in set(after) - same:
        parts = file.split("/")
        namesakes[parts[-1]].append(parts)
    votes: Counter[tuple[str, str]] = Counter()
    for file in set(before) - same:
        parts = file.split("/")
        found = namesakes.get(parts[-1], [])[:_CANDIDATES]
        if found:
            other = max(found, key=lambda candidate: _common_tail(parts, candidate))
            tail = _common_tail(parts, other)
            votes["/".join(parts[:-tail]), "/".join(other[:-tail])] += tail
    if not votes:
        common = _common([*before, *after])
        return common, common
    one, two = max(votes, key=lambda pair: (votes[pair], pair))
    return (one,), (two,)


def _common_tail(one: Sequence[str], two: Sequence[str]) -> int:
    """How many of the last parts are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(two), strict=False)))


def _common(files: Sequence[str]) -> tuple[str, ...]:
    """The directory in which all of them lie, where there is one below the root's."""
    common = posixpath.commonpath([posixpath.dirname(file) for file in files]) if files else ""
    return (common,) if common.strip("/") else ()


def _known(stacks: Stacks) -> tuple[str, ...]:
    return (stacks.directory,) if stacks.directory else ()


def _strays(stacks: Stacks, roots: tuple[str, ...]) -> list[str]:
    """Files of the user's own code below none of the roots."""
    files = {frame.file for frame in stacks.frames}
    return sorted(file for file in files if file.startswith("/") and source(file, roots).rank == OWN_BY_GUESS)


def _weighed(
    stacks: Stacks, roots: tuple[str, ...], table: dict[NamedFrame, int], *, is_after: bool, processes: bool = False
) -> Iterator[WeighedStack]:
    sources = {file: source(file, roots) for file in {frame.file for frame in stacks.frames}}
    numbers, lines = [], []
    for frame in stacks.frames:
        numbers.append(_number(NamedFrame(frame.function, sources[frame.file]), table))
        lines.append(frame.line)
    for process in stacks.processes:
        head: tuple[int, ...] = ()
        if processes:
            head = (_number(NamedFrame(process.title, _PROCESS), table),)
        for stack in process.stacks:
            yield WeighedStack(
                (*head, *(numbers[at] for at in stack.frames)),
                (*(0 for _ in head), *(lines[at] for at in stack.frames)),
                0 if is_after else stack.bytes,
                stack.bytes if is_after else 0,
            )


def _number(frame: NamedFrame, table: dict[NamedFrame, int]) -> int:
    return table.setdefault(frame, len(table))


def merged(stacks: Iterable[WeighedStack]) -> dict[tuple[int, ...], tuple[int, int]]:
    """Bytes before and after by stack of names, whatever the lines."""
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    for stack in stacks:
        before, after = found.get(stack.frames, (0, 0))
        found[stack.frames] = (before + stack.before, after + stack.after)
    return found
