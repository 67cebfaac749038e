"""Replays a capture up to a moment: which memory was alive then, by address, and which had been given back."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from memray import AllocationRecord, AllocatorType, FileReader
from memray._memray import set_log_level
from numpy.typing import NDArray

from profiling.errors import DataError
from profiling.measuring.capture.head import is_blank

StackElement = tuple[str, str, int]  # function, file, line; innermost first: memray's
Addresses = NDArray[np.int64]

_MMAP, _MUNMAP, _FREE = int(AllocatorType.MMAP), int(AllocatorType.MUNMAP), int(AllocatorType.FREE)
_LOG_NOTHING = 60  # above logging.CRITICAL: a torn last record is expected, not an error to print
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAPS_FROM = 128 * 1024
_ALIGNED_AT_MOST = 256
_HEAD_BYTES = 16
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
    gap_late: NDArray[np.bool_]


@dataclass(slots=True)
class _State:
    """What is alive while records are replayed."""

    live: dict[int, tuple[AllocationRecord, bool]] = field(default_factory=dict)
    """From malloc, by address, and whether it came late."""
    maps: dict[int, _Map] = field(default_factory=dict)
    """What the program mapped itself, by address."""
    once: array[int] = field(default_factory=lambda: array("Q"))
    """Address and size of each block that malloc ever handed out, one after the other."""
    top: int = 0
    """The highest address that was recorded in the heap, which grows upwards only."""
    last: AllocationRecord | None = None
    """What was recorded there."""
    gaps: list[tuple[int, int, AllocationRecord | None, AllocationRecord, bool]] = field(default_factory=list)

    def copy(self) -> _State:
        return _State(dict(self.live), dict(self.maps), self.once[:], self.top, self.last, self.gaps[:])


_Map = tuple[int, AllocationRecord, bool]
"""Its end, its record, whether it came late."""


def _unmap(maps: dict[int, _Map], start: int, size: int) -> int:
    """Take a range out, as the kernel does: whatever lies in it goes, if only in part. Answers with how much that was."""
    end = start + size
    exact = maps.get(start)
    if exact is not None and exact[0] == end:
        del maps[start]
        return size
    gone = 0
    for begin, (stop, record, late) in [item for item in maps.items() if item[0] < end and item[1][0] > start]:
        del maps[begin]
        gone += min(stop, end) - max(begin, start)
        if begin < start:
            maps[begin] = (start, record, late)
        if stop > end:
            maps[end] = (stop, record, late)
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

    Processes go by the pid that they know themselves by; `parents` gives each one's parent: a forked process starts with what
    its parent had then; `heaps` where each one's `[heap]` lies. Times are in ms since the epoch; `ready_ms`: when the service was ready, None: never. Raises
    DataError where there are captures and none can be read, or where one is too long or contradicts itself.
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
        heap = next((heaps[whose] for _, whose in ordered if whose in heaps), (0, 0))  # where the parent's was, it stays
        found = _replay(readers[pid][0], inherited, heap, moments_ms, ready_ms)
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
            problem = DataError(f"{path.name} cannot be read: {error}", "install the version of memray that recorded it")
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


def _replay(
    reader: FileReader,
    inherited: _State,
    heap: tuple[int, int],
    moments_ms: Sequence[float],
    ready_ms: float | None,
) -> list[_State]:
    """What a process had alive at each of several moments, in their order.

    Records bear no time. But every 10 ms memray notes the time and how much is alive, and the sum over the records before it
    must be as much: they belong where the running sum first agrees with one note after the other, at most 10 ms too early.
    """
    if reader.metadata.total_allocations > MAX_RECORDS:
        count = f"{reader.metadata.total_allocations:,}"
        raise DataError(f"the capture has {count} records, too many to be replayed", "make a shorter run")
    notes = [(float(note.time), int(note.heap)) for note in reader.get_memory_snapshots()]
    stops = [_nearest(notes, moment) for moment in moments_ms]
    state = inherited.copy()
    old_live, old_maps = state.live, state.maps
    # What came from the parent is not in this process's own sum.
    live: dict[int, tuple[AllocationRecord, bool]] = {}
    maps: dict[int, _Map] = {}
    once = state.once
    found: list[_State] = []

    def stop_where_due(at: int) -> None:
        while len(found) < len(stops) and stops[len(found)] <= at:
            found.append(_State({**old_live, **live}, {**old_maps, **maps}, once[:], top, last, gaps[:]))

    gaps, last = state.gaps, state.last
    heap_start, heap_end = heap
    top = max(state.top, heap_start)
    total = at = 0
    late = False
    expected = notes[0][1] if notes else None
    records = iter(reader.get_allocation_records())
    while True:
        while expected == total:
            late = ready_ms is not None and notes[at][0] >= ready_ms
            at += 1
            stop_where_due(at)
            expected = notes[at][1] if at < len(notes) else None
        if len(found) == len(stops):
            return found
        record = next(records, None)
        if record is None:
            break
        allocator, address = record.allocator, record.address
        if allocator == _FREE:
            gone = live.pop(address, None)
            if gone is None:
                old_live.pop(address, None)
            else:
                total -= gone[0].size
        elif allocator == _MUNMAP:
            total -= _unmap(maps, address, record.size)
            if old_maps:
                _unmap(old_maps, address, record.size)
        elif allocator == _MMAP:
            maps[address] = (address + record.size, record, late)
            total += record.size
        else:
            size = record.size
            live[address] = (record, late)
            once.append(address)
            once.append(size)
            total += size
            if top < address < heap_end:
                if address - top > _GAP_BYTES:
                    gaps.append((top, address - _HEAD_BYTES, last, record, late))
                top, last = address + size, record
    if at < len(notes) - 1:
        raise DataError("the capture's records do not agree with its own clock", "make the run again")
    stop_where_due(len(notes) + 1)
    return found


def _nearest(notes: Sequence[tuple[float, int]], moment_ms: float) -> int:
    """How many notes must have been reached at a moment: up to the one that lies nearest to it."""
    if not notes:
        return 0
    return min(range(len(notes)), key=lambda at: abs(notes[at][0] - moment_ms)) + 1


def _values(state: _State) -> Alive:
    """As arrays, with malloc's own share of each block."""
    blocks = [(address, record, late) for address, (record, late) in state.live.items()]
    starts = np.array([address for address, _, _ in blocks], np.int64)
    sizes = np.array([record.size for _, record, _ in blocks], np.int64)
    block_starts, block_ends = _chunks(starts, sizes)
    maps = [(start, end, record, late) for start, (end, record, late) in state.maps.items()]
    sites: dict[tuple[int, int], int] = {}
    stacks: list[tuple[StackElement, ...]] = []

    def site(record: AllocationRecord) -> int:
        where = (record.tid, record.stack_id)
        if where not in sites:
            sites[where] = len(stacks)
            stacks.append(tuple(record.stack_trace()))
        return sites[where]

    gap_after = np.array([-1 if before is None else site(before) for _, _, before, _, _ in state.gaps], np.int64)
    gap_before = np.array([site(after) for _, _, _, after, _ in state.gaps], np.int64)
    once = np.frombuffer(state.once, np.uint64).astype(np.int64).reshape(-1, 2)
    once_starts, once_ends = _chunks(once[:, 0], once[:, 1])
    return Alive(
        starts=np.concatenate((block_starts, np.array([start for start, _, _, _ in maps], np.int64))),
        ends=np.concatenate((block_ends, np.array([end for _, end, _, _ in maps], np.int64))),
        mapped=np.arange(len(blocks) + len(maps)) >= len(blocks),
        late=np.array([late for *_, late in blocks] + [late for *_, late in maps], np.bool_),
        site=np.array([site(record) for _, record, _ in blocks] + [site(record) for _, _, record, _ in maps], np.int64),
        stacks=tuple(stacks),
        once_starts=once_starts,
        once_ends=once_ends,
        gap_starts=np.array([gap[0] for gap in state.gaps], np.int64),
        gap_ends=np.array([gap[1] for gap in state.gaps], np.int64),
        gap_after=gap_after,
        gap_before=gap_before,
        gap_late=np.array([gap[4] for gap in state.gaps], np.bool_),
    )


def _chunks(starts: Addresses, sizes: Addresses) -> tuple[Addresses, Addresses]:
    """From what was asked of malloc to what it took for that: a head of 16 bytes, of which the block before may use 8, the size
    rounded up to 16, at least 32 in all (glibc, malloc/malloc.c); whole pages where it mapped a large block by itself."""
    ends = starts - _HEAD_BYTES + np.maximum(32, (sizes + 8 + 15) // 16 * 16)
    own_mapping = (sizes >= _MAPS_FROM) & ((starts - _HEAD_BYTES) % _PAGE < _ALIGNED_AT_MOST)
    ends = np.where(own_mapping, (starts + sizes + _PAGE - 1) // _PAGE * _PAGE, ends)
    return starts - _HEAD_BYTES, ends
