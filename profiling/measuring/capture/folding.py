"""Captures to folded stacks. Of several processes it is what they held at one and the same moment, so that their sum was true.

Run as a module it is a process of its own (`folded` in this package starts it): what breaks memray breaks nothing else.

    python -m profiling.measuring.capture.folding peak|end CAPTURE...     a Folded in msgpack on stdout
"""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from memray import AllocationRecord, FileFormat, FileReader
from memray._memray import TemporalAllocationRecord
from numpy.typing import NDArray

from profiling.errors import DataError
from profiling.measuring.capture.head import ended_cleanly, is_blank, recorded
from profiling.measuring.capture.reading import StackElement, open_capture
from profiling.profiles import Frame
from profiling.stacks import END, Folded, Process, Stack, Stacks

# Of the unique stacks the largest are looked at: at 30 us each this bounds the time, and the rest are crumbs.
MAX_STACKS = 50_000
# Of a deeper stack the outermost and innermost halves of so many frames are kept.
MAX_DEPTH = 400
# Each stays open until the moment is known.
MAX_PROCESSES = 200
# A process's own peak that lies higher above all that was noted every 10 ms is looked for between the notes.
MISSED_SHARE = 0.001

NO_FRAME = ("(no Python frame)", "", 0)
SMALLER = ("(smaller)", "", 0)
LEFT_OUT = ("(frames left out)", "", 0)

_Table = dict[StackElement, int]
_Record = AllocationRecord | TemporalAllocationRecord
_Sized = tuple[int, int, _Record]
"""Bytes and allocations alive at the moment, and a record whose stack it is."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A capture that was read once."""

    path: Path
    reader: FileReader
    killed: bool
    times: NDArray[np.int64]
    """Milliseconds of the wall clock, ascending, ten apart where the process had the processor."""
    heaps: NDArray[np.int64]
    """Bytes alive at those times."""
    until: int
    """The last millisecond of the recording: of a killed process the last one noted, and up to ten before its end."""
    last_rss_bytes: int

    @property
    def is_timed(self) -> bool:
        """Whether it can say what was alive at any time; a capture of `memray run --aggregate` cannot."""
        return len(self.times) > 0 and self.reader.metadata.file_format is FileFormat.ALL_ALLOCATIONS

    def heap_at(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes alive at each of `times`; 0 before its begin and after its end."""
        if not len(self.times):
            return np.zeros(len(times), np.int64)
        position = np.searchsorted(self.times, times, side="right") - 1
        inside = (position >= 0) & (times <= self.until)
        return np.where(inside, self.heaps[position], 0)


def fold(captures: Sequence[Path], at: str) -> Stacks:
    """What the processes of one program held, by stack.

    One process: at its exact high-water mark (`at=PEAK`) or its end. Several: at the moment when they held most
    together, or at the end of the killed one with the largest RSS then, or of the one with the largest RSS where none
    was killed; to the 10 ms in which memray notes the time, but the one whose own high-water mark or end the moment is,
    exactly. Forked children's captures lack what was allocated before the fork, and the parent has it, so nothing counts twice.

    A capture without any record counts as nothing. Raises `DataError` where there are captures and none can be read.
    """
    opened, notes = _open_all(captures)
    moment, whose = (None, None) if len(opened) < 2 else _moment(opened, at)
    if len(opened) == 1:
        whose = opened[0]
    table: _Table = {}
    processes = []
    for one in opened:
        if moment is None or one is whose:
            alive = _own_moment(one, at)
        elif one.is_timed:
            alive = _at(one, moment)
        else:
            alive = _own_moment(one, at)
            notes.append(f"{one.path.name} has no times (--aggregate): it counts as at its own {at}")
        processes.append(_process(one, alive, table))
    return Stacks(
        at=at,
        ended=whose.path.name if whose and at == END else None,
        frames=tuple(Frame(function=function, file=file, line=line) for function, file, line in table),
        processes=tuple(processes),
        notes=tuple(notes),
    )


def _open_all(captures: Sequence[Path]) -> tuple[list[_Opened], list[str]]:
    paths = [path for path in captures if not is_blank(path)]
    notes: list[str] = []
    if len(paths) > MAX_PROCESSES:
        notes.append(f"{len(paths) - MAX_PROCESSES} processes left out, those with the smallest captures")
        largest = set(heapq.nlargest(MAX_PROCESSES, paths, key=lambda path: path.stat().st_size))
        paths = [path for path in paths if path in largest]
    opened: list[_Opened] = []
    problem: DataError | None = None
    for path in paths:
        try:
            reader = open_capture(path)
        except DataError as error:
            problem = error
            notes.append(f"{path.name} left out: {error.message}")
            continue
        if reader is not None:
            opened.append(_opened(path, reader))
            if reader.metadata.total_allocations < recorded(path):
                notes.append(f"{path.name} is damaged: it was read up to there")
    if problem is not None and not opened:
        raise problem
    return opened, notes


def _opened(path: Path, reader: FileReader) -> _Opened:
    snapshots = list(reader.get_memory_snapshots())
    killed = not ended_cleanly(path)
    times = np.array([snapshot.time for snapshot in snapshots], np.int64)
    until = int(times[-1]) if len(times) else 0
    if not killed:
        until = max(until, int(reader.metadata.end_time.timestamp() * 1000))
    return _Opened(
        path,
        reader,
        killed,
        times,
        np.array([snapshot.heap for snapshot in snapshots], np.int64),
        until,
        snapshots[-1].rss if snapshots else 0,
    )


def _moment(opened: Sequence[_Opened], at: str) -> tuple[int, _Opened | None]:
    """When to look at several processes, in ms, and whose own end or high-water mark that is, if anyone's."""
    if at == END:
        ended = max(opened, key=lambda one: (one.killed, one.last_rss_bytes))
        return int(ended.times[-1]) if len(ended.times) else 0, ended
    times = np.unique(np.concatenate([one.times for one in opened]))
    if not len(times):
        return 0, None
    together = sum((one.heap_at(times) for one in opened), np.zeros(len(times), np.int64))
    best = int(np.argmax(together))
    moment, most, whose = int(times[best]), int(together[best]), None
    for one in opened:
        if not one.is_timed or one.reader.metadata.peak_memory <= (1 + MISSED_SHARE) * int(one.heaps.max()):
            continue
        before = _note_before_peak(one)
        others = sum(int(other.heap_at(np.array([before]))[0]) for other in opened if other is not one)
        if one.reader.metadata.peak_memory + others > most:
            moment, most, whose = before, one.reader.metadata.peak_memory + others, one
    return moment, whose


def _note_before_peak(one: _Opened) -> int:
    """The last time noted before a process's own high-water mark, in ms."""
    _, highest = one.reader.get_temporal_high_water_mark_allocation_records(merge_threads=False)
    return int(
        one.times[max(0, highest.index(max(highest)) - 1)]
    )  # the highest of an interval stands at the note after it


# merge_threads=False throughout: only then does memray leave out the frames above the one that started its tracker, all
# of the launcher's. Threads that came the same way are merged here.
def _own_moment(one: _Opened, at: str) -> Iterable[_Sized]:
    """At its own high-water mark or end."""
    if at == END:
        records = one.reader.get_leaked_allocation_records(merge_threads=False)
    else:
        records = one.reader.get_high_watermark_allocation_records(merge_threads=False)
    return ((record.size, record.n_allocations, record) for record in records)


def _at(one: _Opened, moment: int) -> Iterable[_Sized]:
    """At a moment in ms; nothing where the process was not there then."""
    position = int(np.searchsorted(one.times, moment, side="right")) - 1
    if position < 0 or moment > one.until:
        return
    for record in one.reader.get_temporal_allocation_records(merge_threads=False):
        size = count = 0
        for interval in record.intervals:
            gone = interval.deallocated_before_snapshot
            if interval.allocated_before_snapshot <= position and (gone is None or gone > position):
                size += interval.n_bytes
                count += interval.n_allocations
        if size:
            yield size, count, record


def _process(one: _Opened, alive: Iterable[_Sized], table: _Table) -> Process:
    """The process with its stacks; frames new to `table` get the next numbers there."""
    sizes: Counter[tuple[int, ...]] = Counter()
    counts: Counter[tuple[int, ...]] = Counter()
    known: dict[tuple[int, int], tuple[int, ...]] = {}
    every = _Summed(alive)
    for size, count, record in heapq.nlargest(MAX_STACKS, every, key=_bytes):
        where = (record.tid, record.stack_id)
        frames = known.get(where)
        if frames is None:
            frames = known[where] = _frames(record, table)
        sizes[frames] += size
        counts[frames] += count
    if crumbs := every.bytes - sizes.total():
        frames = (_number(SMALLER, table),)
        sizes[frames] += crumbs
        counts[frames] += every.allocations - counts.total()
    return Process(
        capture=one.path.name,
        pid=one.reader.metadata.pid,
        forked=one.path.name.rpartition(".")[2].isdecimal(),
        killed=one.killed,
        bytes=every.bytes,
        peak_bytes=one.reader.metadata.peak_memory,
        stacks=tuple(Stack(frames, size, counts[frames]) for frames, size in sizes.most_common()),
    )


class _Summed:
    """Sums up what passes through it."""

    def __init__(self, alive: Iterable[_Sized]) -> None:
        self._alive = alive
        self.bytes = self.allocations = 0

    def __iter__(self) -> Iterator[_Sized]:
        for entry in self._alive:
            self.bytes += entry[0]
            self.allocations += entry[1]
            yield entry


def _bytes(entry: _Sized) -> int:
    return entry[0]


def _frames(record: _Record, table: _Table) -> tuple[int, ...]:
    """Outermost first, without the import system's own, which stands between any two modules."""
    numbers = [
        _number(element, table) for element in reversed(record.stack_trace()) if not element[1].startswith("<frozen ")
    ]
    if len(numbers) > MAX_DEPTH:
        half = MAX_DEPTH // 2
        numbers = [*numbers[:half], _number(LEFT_OUT, table), *numbers[-half:]]
    return tuple(numbers) or (_number(NO_FRAME, table),)


def _number(element: StackElement, table: _Table) -> int:
    return table.setdefault(element, len(table))


def main(at: str, *captures: str) -> None:
    try:
        answer = Folded(stacks=fold([Path(name) for name in captures], at))
    except DataError as error:
        answer = Folded(problem=(error.message, error.hint))
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
