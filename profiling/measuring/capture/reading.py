"""Reads captures: whose memory was alive at a kill or at the peak, by the line of the user's own code that held it."""

from __future__ import annotations

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from memray import AllocationRecord, AllocatorType, FileReader
from memray._memray import set_log_level

from profiling.errors import DataError
from profiling.measuring.capture.head import ended_cleanly, is_blank
from profiling.profiles import Frame, HeldMemory
from profiling.sources import LIBRARY, SCRIPT, WITHOUT_FILE

At = Literal["kill", "peak"]
StackElement = tuple[str, str, int]  # function, file, line: memray's
_Where = tuple[int, int]  # thread, stack
_MMAP = int(AllocatorType.MMAP)
_MUNMAP = int(AllocatorType.MUNMAP)

NO_FRAME = Frame(function="(no Python frame)", file="", line=0)

# Of the unique stacks the largest are looked at: at 30 us each this bounds the time, and the rest are crumbs.
MAX_STACKS = 50_000
# A capture with more allocations is not searched for mapped memory, at 1 us each.
MAX_RECORDS = 4_000_000
# memray reads about 12 MB of capture a second, so that looking for the right one of many ends in time.
MAX_SEARCH_BYTES = 100 * 2**20

_TORN_HEAD = "Failed to read input file header"
_LOG_NOTHING = 60  # above logging.CRITICAL: a torn last record is expected, not an error to print

_ARENA_BYTES = frozenset({2**18, 2**20})  # what pymalloc maps at a time: until Python 3.9, and since


def check_readable(capture: Path) -> None:
    """Raises `DataError` if memray, as installed here, cannot read this capture."""
    open_capture(capture)


def held(
    captures: Iterable[Path], at: At = "kill", *, directory: Path, own_roots: Sequence[Path] = (), top: int = 10
) -> tuple[HeldMemory, ...]:
    """What held the memory, by line of the user's own code, largest first.

    `at="kill"`: alive at the end of the one capture that belongs to a killed process; of several, the process that
    had the largest RSS at its end, which is whom the kernel's OOM killer picks. `at="peak"`: alive at the high-water
    mark of the process with the highest one. A forked process's capture lacks what was allocated before the fork.

    `directory` is the target's: frames inside it get paths relative to it. Own code is what lies in `own_roots`
    (default: `directory`) and belongs to no library; where a stack has none there, whatever file is no library's.
    Empty if no capture answers. Raises `DataError` where there are captures and none can be read.
    """
    chosen = choose(captures, at)
    return () if chosen is None else held_in(chosen, directory=directory, own_roots=own_roots, top=top)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The capture that answers a question, already read once."""

    capture: Path
    at: At
    reader: FileReader


def choose(captures: Iterable[Path], at: At = "kill", *, ended: bool = False) -> Chosen | None:
    """The capture that `held` looks into; `ended`: be its process's end clean or not. Raises `DataError` as `held` does."""
    paths = [path for path in captures if not is_blank(path)]
    if at == "kill" and not ended:
        paths = [path for path in paths if not ended_cleanly(path)]
    best: Chosen | None = None
    best_bytes = -1
    problem: DataError | None = None
    searched = 0
    # The larger the file, the more that process did: if not all can be looked at, then the small ones are left.
    for path in sorted(paths, key=_size_of, reverse=True):
        searched += _size_of(path)
        if best is not None and searched > MAX_SEARCH_BYTES:
            break
        try:
            reader = open_capture(path)
        except DataError as error:
            problem = error
            continue
        if reader is None:
            continue
        size = reader.metadata.peak_memory if at == "peak" else _last_rss_bytes(reader)
        if size > best_bytes:
            best, best_bytes = Chosen(path, at, reader), size
    if best is None and problem is not None:
        raise problem
    return best


def held_in(
    chosen: Chosen, *, directory: Path, own_roots: Sequence[Path] = (), top: int = 10
) -> tuple[HeldMemory, ...]:
    """What `held` says, for a capture that was chosen before."""
    code = OwnCode(directory, tuple(own_roots) or (directory,))
    groups: dict[Frame, _Group] = defaultdict(_Group)
    if chosen.at == "kill":
        records = chosen.reader.get_leaked_allocation_records(merge_threads=False)
    else:
        records = chosen.reader.get_high_watermark_allocation_records(merge_threads=False)
    mapped = _mapped(chosen)
    for record in heapq.nlargest(MAX_STACKS, records, key=_size):
        stack: list[StackElement] = record.stack_trace()
        groups[code.blamed(stack)].add(record, stack, mapped.get((record.tid, record.stack_id), 0))
    largest = heapq.nlargest(top, groups.items(), key=lambda item: (item[1].heap_bytes, item[1].bytes))
    return tuple(group.value(frame, code) for frame, group in largest)


@dataclass(slots=True)
class OwnCode:
    """Tells the user's own code from everybody else's, by path."""

    directory: Path
    roots: tuple[Path, ...]
    _ranks: dict[str, int] = field(default_factory=dict)

    def blamed(self, stack: Sequence[StackElement]) -> Frame:
        """The frame that answers for a stack (innermost first, as memray gives it): the innermost of the user's own."""
        best, best_rank = None, 0
        for element in stack:
            rank = self._rank(element[1])
            if rank > best_rank:
                best, best_rank = element, rank
        return self.frame(best) if best else NO_FRAME

    def frame(self, element: StackElement) -> Frame:
        """The frame with its path relative to the target's directory, where it lies inside it."""
        function, file, line = element
        root = f"{self.directory}{os.sep}"
        return Frame(function=function, file=file.removeprefix(root), line=line)

    def _rank(self, file: str) -> int:
        if file not in self._ranks:
            self._ranks[file] = self._ranked(file)
        return self._ranks[file]

    def _ranked(self, file: str) -> int:
        """4 own, 3 own by guess, 2 code without a file (`python -c`, exec), 1 a library's, 0 the interpreter's."""
        if file.startswith("<"):
            return 2 if file in WITHOUT_FILE else 0
        if LIBRARY.search(file):
            return 1
        if SCRIPT.search(file):
            return 1
        return 4 if any(Path(file).is_relative_to(root) for root in self.roots) else 3


@dataclass(slots=True)
class _Group:
    """What one frame of own code held."""

    bytes: int = 0
    mapped_bytes: int = 0
    allocations: int = 0
    by_thread: Counter[int] = field(default_factory=Counter)
    largest_bytes: int = 0
    largest_stack: list[StackElement] = field(default_factory=list)

    def add(self, record: AllocationRecord, stack: list[StackElement], mapped_bytes: int) -> None:
        self.bytes += record.size
        self.allocations += record.n_allocations
        self.by_thread[record.tid] += record.size
        self.mapped_bytes += min(mapped_bytes, record.size)
        if record.size > self.largest_bytes:
            self.largest_bytes, self.largest_stack = record.size, stack

    @property
    def heap_bytes(self) -> int:
        return self.bytes - self.mapped_bytes

    def value(self, frame: Frame, code: OwnCode) -> HeldMemory:
        stack = tuple(
            code.frame(element) for element in reversed(self.largest_stack) if not element[1].startswith("<frozen ")
        )
        return HeldMemory(
            bytes=self.bytes,
            allocations=self.allocations,
            frame=frame,
            stack=stack,
            by_thread=tuple(size for _, size in self.by_thread.most_common()),
            mapped_bytes=self.mapped_bytes,
        )


def _size(record: AllocationRecord) -> int:
    return record.size


def _mapped(chosen: Chosen) -> Mapping[_Where, int]:
    """Bytes that the program mapped itself, by thread and stack: alive at the end, or the most that ever were.

    A pass of its own over all records, because memray's snapshots add mapped to other memory of the same stack.
    Left out are the arenas of Python's own object allocator, which are mapped and used.
    """
    alive: Counter[_Where] = Counter()
    most: Counter[_Where] = Counter()
    if chosen.reader.metadata.total_allocations > MAX_RECORDS:
        return most
    maps: dict[int, tuple[int, _Where]] = {}
    for record in chosen.reader.get_allocation_records():
        allocator = record.allocator
        if allocator == _MMAP and record.size not in _ARENA_BYTES:
            where = (record.tid, record.stack_id)
            maps[record.address] = (record.size, where)
            alive[where] += record.size
            most[where] = max(most[where], alive[where])
        elif allocator == _MUNMAP and record.address in maps:
            size, where = maps.pop(record.address)
            alive[where] -= min(size, record.size)
            if record.size < size:
                maps[record.address + record.size] = (size - record.size, where)
    return alive if chosen.at == "kill" else most


def _last_rss_bytes(reader: FileReader) -> int:
    last = 0
    for snapshot in reader.get_memory_snapshots():
        last = snapshot.rss
    return last


def _size_of(path: Path) -> int:
    return path.stat().st_size


def open_capture(capture: Path) -> FileReader | None:
    """None if the process was killed before anything was recorded."""
    set_log_level(_LOG_NOTHING)
    try:
        return FileReader(os.fspath(capture))
    except OSError as error:
        # Only the head is there and, as it ends in zeros like the room behind it, memray takes it for cut off.
        if _TORN_HEAD in str(error):
            return None
        raise DataError(
            f"{capture} cannot be read as a memray capture: {error}",
            "was it recorded by another version of memray? Install the same one for oomproof and for the target",
        ) from None
