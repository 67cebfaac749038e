"""Records in bulk, read a block at a time: however long a run was, no more of it than a block is in memory at once.

Files are read, not mapped: pages of a mapping that was gone through count as this process's memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]
BLOCK = 65_536
"""Records of a block."""


class Readings(Protocol):
    """Samples by rising `t_ns`, as structured arrays of at most some MiB each."""

    dtype: np.dtype[np.void]

    def __iter__(self) -> Iterator[Records]: ...
    def between(self, start_ns: int | None, end_ns: int | None) -> Readings:
        """Those from `start_ns` on and before `end_ns`; None: no bound."""

    def only(self, *names: str) -> Readings:
        """The same with these fields at least: the others may be missing, where it takes time to have them."""

    def ends(self) -> Records:
        """The first record and the last one; an empty array if there is none."""


class Blocks:
    """The records of a file, or of an array, in its order."""

    def __init__(
        self,
        source: Path | IO[bytes] | Records,
        dtype: np.dtype[np.void],
        length: int,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        """`source`: an open file is read without moving its position. `length`: how many records it has; of these the ones
        from number `first` on and before `last` are meant."""
        self._source = source
        self.dtype = dtype
        self._length = length
        self._begin = first
        self._end = length if last is None else last

    @classmethod
    def of(cls, records: Records) -> Blocks:
        """Those of an array."""
        return cls(records, records.dtype, len(records))

    @classmethod
    def of_file(cls, path: Path, dtype: np.dtype[np.void]) -> Blocks:
        """The whole records that the file has now; a torn last one is dropped, and a missing file has none. Raises OSError."""
        size = path.stat().st_size if path.exists() else 0
        return cls(path, dtype, size // dtype.itemsize if dtype.itemsize else 0)

    def __len__(self) -> int:
        return max(0, self._end - self._begin)

    def __iter__(self) -> Iterator[Records]:
        return (self.block(number) for number in range(self.count))

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return -(-len(self) // BLOCK)

    def block(self, number: int) -> Records:
        """The block with that number, from 0."""
        start = self._begin + number * BLOCK
        return self._read(start, min(start + BLOCK, self._end))

    def first(self, count: int) -> Blocks:
        """The first so many."""
        return Blocks(self._source, self.dtype, self._length, self._begin, min(self._end, self._begin + count))

    def between(self, start_ns: int | None, end_ns: int | None) -> Blocks:
        first = self._begin if start_ns is None else self._index(start_ns)
        last = self._end if end_ns is None else self._index(end_ns)
        return Blocks(self._source, self.dtype, self._length, first, max(first, last))

    def only(self, *names: str) -> Blocks:
        return self

    def ends(self) -> Records:
        if not len(self):
            return np.empty(0, self.dtype)
        return np.concatenate([self._read(at, at + 1) for at in (self._begin, self._end - 1)])

    def last_before(self, t_ns: int) -> Records:
        """The last record before a moment; an empty array if there is none."""
        index = self._index(t_ns)
        return self._read(max(self._begin, index - 1), index)

    def span(self) -> tuple[int, int] | None:
        """The times of the first and of the last record; None: there is none."""
        if not len(self):
            return None
        return self._time(self._begin), self._time(self._end - 1)

    def _index(self, t_ns: int) -> int:
        """The number of the first record that is not before a moment."""
        low, high = self._begin, self._end
        while low < high:
            middle = (low + high) // 2
            if self._time(middle) < t_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def _time(self, index: int) -> int:
        return int(self._read(index, index + 1)["t_ns"][0])

    def _read(self, first: int, last: int) -> Records:
        if last <= first:
            return np.empty(0, self.dtype)
        if isinstance(self._source, Path):
            return np.fromfile(self._source, self.dtype, last - first, offset=first * self.dtype.itemsize)
        if isinstance(self._source, np.ndarray):
            return self._source[first:last]
        data = os.pread(self._source.fileno(), (last - first) * self.dtype.itemsize, first * self.dtype.itemsize)
        return np.frombuffer(data, self.dtype)
