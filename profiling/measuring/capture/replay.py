"""Replays a capture up to a moment: which memory was alive then, by address, and which had been given back."""

from __future__ import annotations

import bisect
import os
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from memray import AllocationRecord, AllocatorType, FileReader
from memray._memray import set_log_level
from numpy.typing import NDArray

from profiling.errors import DataError
from profiling.measuring.capture.head import is_blank

StackElement = tuple[str, str, int]  # function, file, line; innermost first: memray's
Addresses = NDArray[np.int64]

_MMAP, _MUNMAP, _FREE = int(AllocatorType.MMAP), int(AllocatorType.MUNMAP), int(AllocatorType.FREE)
_NOT_MALLOC = frozenset({_FREE, _MMAP, _MUNMAP})
_LOG_NOTHING = 60  # above logging.CRITICAL: a torn last record is expected, not an error to print
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAPS_FROM = 128 * 1024
_ALIGNED_AT_MOST = 256
_HEAD_BYTES = 16
_SOON_NOTES = 2
_GAP_BYTES = 64
"""Less between two blocks is malloc's own."""
MAX_RECORDS = 12_000_000
"""At 3 µs each a longer capture would take longer to read than the run took."""


@dataclass(frozen=True, slots=True)
class Alive:
    """What one process had alive at a moment, by address. Arrays of equal length, in no order; ends are exclusive."""

    starts: Addresses
    ends: Addresses
    mapped: NDArray[np.bool_]
    """The program mapped it itself, where the rest comes from malloc."""
    soon: NDArray[np.bool_]
    """It was handed out within some 20 ms after the moment: memory that is there already was then that, or about to be."""
    late: NDArray[np.bool_]
    """It was allocated after the service was ready."""
    site: NDArray[np.int64]
    """Index into `stacks`."""
    stacks: tuple[tuple[StackElement, ...], ...]
    once_starts: Addresses
    once_ends: Addresses
    """All that malloc ever handed out until then, alive or not, in no order."""
    gap_starts: Addresses
    gap_ends: Addresses
    gap_after: NDArray[np.int64]
    gap_before: NDArray[np.int64]
    """Stretches of the heap that nobody recorded, in no order, and between which two recorded allocations the heap grew over
    each: indices into `stacks`, -1 where nothing was recorded before."""


class _Mark(NamedTuple):
    """What a record does not say of itself."""

    late: bool
    """It came after the service was ready."""
    pid: int
    """In whose capture it is: numbers of stacks are each capture's own."""


@dataclass(slots=True)
class _State:
    """What is alive while records are replayed."""

    live: dict[int, tuple[AllocationRecord, _Mark]] = field(default_factory=dict)
    """From malloc, by address."""
    maps: dict[int, _Map] = field(default_factory=dict)
    """What the program mapped itself, by address."""
    once: array[int] = field(default_factory=lambda: array("Q"))
    """Address and size of each block that malloc ever handed out, one after the other."""
    top: int = 0
    """The highest address that was recorded in the heap, which grows upwards only."""
    last: tuple[AllocationRecord, _Mark] | None = None
    """What was recorded there."""
    gaps: list[_Gap] = field(default_factory=list)
    soon: list[tuple[AllocationRecord, _Mark]] = field(default_factory=list)
    """From malloc, after the moment."""

    def copy(self) -> _State:
        return _State(dict(self.live), dict(self.maps), self.once[:], self.top, self.last, self.gaps[:])


_Gap = tuple[int, int, "tuple[AllocationRecord, _Mark] | None", "tuple[AllocationRecord, _Mark]"]
"""Its start, its end, what was recorded below it, and what was recorded above it."""
_Map = tuple[int, AllocationRecord, "_Mark"]
"""Its end, its record, its mark."""


def _unmap(maps: dict[int, _Map], start: int, size: int) -> int:
    """Take a range out, as the kernel does: whatever lies in it goes, if only in part. Answers with how much that was."""
    end = start + size
    exact = maps.get(start)
    if exact is not None and exact[0] == end:
        del maps[start]
        return size
    gone = 0
    for begin, (stop, record, mark) in [item for item in maps.items() if item[0] < end and item[1][0] > start]:
        del maps[begin]
        gone += min(stop, end) - max(begin, start)
        if begin < start:
            maps[begin] = (start, record, mark)
        if stop > end:
            maps[end] = (stop, record, mark)
    return gone


def replay(
    captures: Sequence[Path],
    pids: Collection[int],
    parents: Mapping[int, int],
    heaps: Mapping[int, tuple[int, int]],
    moment_ms: float,
    ready_ms: float | None,
) -> dict[int, Alive]:
    """What processes had alive at a moment, for those of `pids` that have a capture.

    Processes go by the pid that they know themselves by. `parents` gives each one's parent: a forked process starts with what
    its parent had then. `heaps`: where each one's `[heap]` lies. Times are in ms since the epoch; `ready_ms`: when the service
    was ready, None: never. Raises DataError where there are captures and none can be read, or where one is too long or
    contradicts itself.
    """
    readers = _readers(captures)
    first = next((pid for pid, (_, is_first) in readers.items() if is_first), None)
    above = {pid: _parent(pid, parents, readers, first) for pid in readers}
    wanted = [pid for pid in pids if pid in readers]
    moments: dict[int, list[tuple[float, int]]] = {pid: [(moment_ms, pid)] for pid in wanted}
    for pid in wanted:
        child = pid
        while (parent := above[child]) is not None:
            at = (readers[child][0].metadata.start_time.timestamp() * 1000, child)
            moments.setdefault(parent, [])
            if at in moments[parent]:
                break
            moments[parent].append(at)
            child = parent
    states: dict[tuple[int, int], _State] = {}

    def run(pid: int) -> None:
        """Fill in what `pid` had at each moment that somebody asks for: at each child's start, and at the end."""
        parent = above[pid]
        if parent is not None and (parent, pid) not in states:
            run(parent)
        inherited = states[parent, pid] if parent is not None else _State()
        ordered = sorted(moments[pid])
        moments_ms = [at for at, _ in ordered]
        heap = next(
            (heaps[whose] for _, whose in ordered if whose in heaps), (0, 0)
        )  # where the parent's was, it stays
        found = _Player(readers[pid][0], inherited, heap, ready_ms).states(moments_ms)
        states.update({(pid, whose): state for (_, whose), state in zip(ordered, found, strict=True)})

    for pid in wanted:
        if (pid, pid) not in states:
            run(pid)
    return {pid: _values(states[pid, pid]) for pid in wanted}


def _readers(captures: Sequence[Path]) -> dict[int, tuple[FileReader, bool]]:
    """By pid: the reader, and whether it is the first process's."""
    set_log_level(_LOG_NOTHING)
    readers: dict[int, tuple[FileReader, bool]] = {}
    problem: DataError | None = None
    for path in captures:
        if is_blank(path):
            continue
        try:
            reader = FileReader(os.fspath(path))
        except OSError as error:
            problem = DataError(
                f"{path.name} cannot be read: {error}", "install the version of memray that recorded it"
            )
            continue
        # The children's files have their pid behind the name.
        readers[reader.metadata.pid] = (reader, not path.suffix[1:].isdecimal())
    if not readers and problem is not None:
        raise problem
    return readers


def _parent(pid: int, parents: Mapping[int, int], among: Collection[int], first: int | None) -> int | None:
    """The nearest ancestor among those with a capture; where that cannot be told, the first process."""
    above, seen = parents.get(pid), {pid}
    while above is not None and above not in seen:
        if above in among:
            return above
        seen.add(above)
        above = parents.get(above)
    return first if pid != first else None


class _Player:
    """Runs the records of one process over what it inherited.

    Records bear no time. But every 10 ms memray notes the time and how much is alive, and the sum over the records before it
    must be as much: they belong where the running sum first agrees with one note after the other, at most 10 ms too early.
    """

    def __init__(self, reader: FileReader, inherited: _State, heap: tuple[int, int], ready_ms: float | None) -> None:
        self._reader = reader
        self._notes = [(float(note.time), int(note.heap)) for note in reader.get_memory_snapshots()]
        self._old = inherited.copy()  # what came from the parent is not in this process's own sum
        self._own = _State(
            once=self._old.once, top=max(self._old.top, heap[0]), last=self._old.last, gaps=self._old.gaps
        )
        self._heap_end = heap[1]
        self._ready_ms = ready_ms
        self._total = self._reached = 0
        self._expected: int | None = None
        """What the next note says."""
        self._mark = _Mark(False, reader.metadata.pid)

    def states(self, moments_ms: Sequence[float]) -> list[_State]:
        """What was alive at each of several moments, in their order. Raises DataError if that cannot be told."""
        count = self._reader.metadata.total_allocations
        if count > MAX_RECORDS:
            raise DataError(f"the capture has {count:,} records, too many to be replayed", "make a shorter run")
        stops = [_reached_by(self._notes, moment) for moment in moments_ms]
        end = min(len(self._notes), stops[-1] + _SOON_NOTES)
        found: list[_State] = []
        awaited = stops[0]
        records = iter(self._reader.get_allocation_records())
        self._agree()
        while True:
            if self._reached >= awaited:
                found += [self._state() for stop in stops[len(found) :] if stop <= self._reached]
                awaited = stops[len(found)] if len(found) < len(stops) else end
                if len(found) == len(stops) and self._reached >= end:
                    return found
            record = next(records, None)
            if record is None:
                break
            self._take(record)
            if self._total == self._expected:
                self._agree()
            if len(found) == len(stops) and record.allocator not in _NOT_MALLOC:
                found[-1].soon.append((record, self._mark))
        if self._reached < stops[-1] - 1:
            raise DataError("the capture's records do not agree with its own clock", "make the run again")
        # Killed in mid-record: the last note is one whose records never came.
        return found + [self._state() for _ in stops[len(found) :]]

    def _agree(self) -> None:
        """Go on to the last note in a row that agrees with what was taken so far."""
        while self._reached < len(self._notes) and self._notes[self._reached][1] == self._total:
            if not self._mark.late and self._ready_ms is not None and self._notes[self._reached][0] >= self._ready_ms:
                self._mark = self._mark._replace(late=True)
            self._reached += 1
        self._expected = self._notes[self._reached][1] if self._reached < len(self._notes) else None

    def _take(self, record: AllocationRecord) -> None:
        allocator, address, own = record.allocator, record.address, self._own
        if allocator == _FREE:
            gone = own.live.pop(address, None)
            if gone is None:
                self._old.live.pop(address, None)
            else:
                self._total -= gone[0].size
        elif allocator == _MUNMAP:
            self._total -= _unmap(own.maps, address, record.size)
            if self._old.maps:
                _unmap(self._old.maps, address, record.size)
        elif allocator == _MMAP:
            own.maps[address] = (address + record.size, record, self._mark)
            self._total += record.size
        else:
            size = record.size
            own.live[address] = (record, self._mark)
            own.once.append(address)
            own.once.append(size)
            self._total += size
            if own.top < address < self._heap_end:
                if address - own.top > _GAP_BYTES:
                    own.gaps.append((own.top, address - _HEAD_BYTES, own.last, (record, self._mark)))
                own.top, own.last = address + size, (record, self._mark)

    def _state(self) -> _State:
        own, old = self._own, self._old
        return _State({**old.live, **own.live}, {**old.maps, **own.maps}, own.once[:], own.top, own.last, own.gaps[:])


def _reached_by(notes: Sequence[tuple[float, int]], moment_ms: float) -> int:
    """How many notes there were at a moment; what comes next in a capture may have come after it."""
    return min(len(notes), max(1, bisect.bisect_right(notes, moment_ms, key=lambda note: note[0])))


def _values(state: _State) -> Alive:
    """As arrays, with malloc's own share of each block."""
    blocks = list(state.live.values())
    block_starts, block_ends = _extents(blocks)
    maps = [(start, end, record, mark) for start, (end, record, mark) in state.maps.items()]
    soon = list({record.address: (record, mark) for record, mark in state.soon}.values())
    soon_starts, soon_ends = _extents(soon)
    counts = (len(blocks), len(maps), len(soon))
    sites: dict[tuple[int, int, int], int] = {}
    stacks: list[tuple[StackElement, ...]] = []

    def site(record: AllocationRecord, mark: _Mark) -> int:
        where = (mark.pid, record.tid, record.stack_id)
        if where not in sites:
            sites[where] = len(stacks)
            stacks.append(tuple(record.stack_trace()))
        return sites[where]

    everything = [*blocks, *((record, mark) for _, _, record, mark in maps), *soon]
    gap_after = np.array([-1 if below is None else site(*below) for _, _, below, _ in state.gaps], np.int64)
    gap_before = np.array([site(*above) for _, _, _, above in state.gaps], np.int64)
    once = np.frombuffer(state.once, np.uint64).astype(np.int64).reshape(-1, 2)
    once_starts, once_ends = _chunks(once[:, 0], once[:, 1])
    return Alive(
        starts=np.concatenate((block_starts, np.array([start for start, _, _, _ in maps], np.int64), soon_starts)),
        ends=np.concatenate((block_ends, np.array([end for _, end, _, _ in maps], np.int64), soon_ends)),
        mapped=np.repeat((False, True, False), counts),
        soon=np.repeat((False, False, True), counts),
        late=np.array([mark.late for _, mark in everything], np.bool_),
        site=np.array([site(record, mark) for record, mark in everything], np.int64),
        stacks=tuple(stacks),
        once_starts=once_starts,
        once_ends=once_ends,
        gap_starts=np.array([gap[0] for gap in state.gaps], np.int64),
        gap_ends=np.array([gap[1] for gap in state.gaps], np.int64),
        gap_after=gap_after,
        gap_before=gap_before,
    )


def _extents(blocks: Sequence[tuple[AllocationRecord, _Mark]]) -> tuple[Addresses, Addresses]:
    return _chunks(
        np.array([record.address for record, _ in blocks], np.int64),
        np.array([record.size for record, _ in blocks], np.int64),
    )


def _chunks(starts: Addresses, sizes: Addresses) -> tuple[Addresses, Addresses]:
    """From what was asked of malloc to what it took for that: a head of 16 bytes, of which the block before may use 8, the size
    rounded up to 16, at least 32 in all (glibc, malloc/malloc.c); whole pages where it mapped a large block by itself."""
    ends = starts - _HEAD_BYTES + np.maximum(32, (sizes + 8 + 15) // 16 * 16)
    own_mapping = (sizes >= _MAPS_FROM) & ((starts - _HEAD_BYTES) % _PAGE < _ALIGNED_AT_MOST)
    ends = np.where(own_mapping, (starts + sizes + _PAGE - 1) // _PAGE * _PAGE, ends)
    return starts - _HEAD_BYTES, ends
