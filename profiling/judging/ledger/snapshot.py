"""The snapshot of a memray pass as read from disk: what the cgroup and each process's memory map were at one moment."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from profiling.errors import DataError
from profiling.measuring.mappings import EXCLUSIVE, FILE_OR_SHARED, PRESENT


class Reading(msgspec.Struct, frozen=True):
    """A look at the cgroup; see `cgroup.MemoryReading`."""

    charged: int
    anon: int
    file: int
    shmem: int
    kernel: int
    unreclaimable: int


class MappedRange(msgspec.Struct, frozen=True):
    """A mapping; see `mappings.Mapping`. `pages` holds each page's state, compressed, where it was looked at."""

    start: int
    end: int
    permissions: str
    inode: int
    name: str
    rss: int
    pss: int
    private: int
    anonymous: int
    locked: int
    pages: str | None = None

    @property
    def share(self) -> float:
        """What this process answers for of a page that others have mapped as well: 1/n of n."""
        shared = self.rss - self.private
        return (self.pss - self.private) / shared if shared > 0 else 1.0

    def anonymous_share_bytes(self, page: int) -> float:
        """Of its anonymous memory, what this process answers for; an estimate where the pages were not looked at."""
        if not self.anonymous:
            return 0.0
        if self.pages is None:
            return self.anonymous * min(1.0, self.pss / self.rss)
        return float(self.weights(page).sum()) * page

    def weights(self, page: int) -> NDArray[np.float64]:
        """For each page the part of it that this process answers for: 0 for one that is not there or is a file's.

        Raises ValueError where the pages were not looked at, or do not fit the mapping.
        """
        if self.pages is None:
            raise ValueError("the pages were not looked at")
        states = np.frombuffer(zlib.decompress(base64.b64decode(self.pages)), np.uint8)
        if len(states) != (self.end - self.start) // page:
            raise ValueError("the pages do not fit the mapping")
        anonymous = (states & PRESENT != 0) & (states & FILE_OR_SHARED == 0)
        return np.where(anonymous, np.where(states & EXCLUSIVE != 0, 1.0, self.share), 0.0)


class MappedProcess(msgspec.Struct, frozen=True):
    """A process."""

    pid: int
    inner_pid: int
    """Its pid as it knows it itself, in a container."""
    parent: int
    threads: int
    page_tables: int
    command: str
    problem: str
    """Why its memory could not be looked at."""
    mappings: tuple[MappedRange, ...]

    def stacks(self, page: int, size: int) -> tuple[tuple[int, int], ...]:
        """Where its threads' stacks are. glibc maps each with a page below it that nobody may touch; what lies above, up to the
        default `size` of a stack, is one. The first thread's bears a name."""
        found = []
        for below, mapping in zip(self.mappings, self.mappings[1:], strict=False):
            guard = below.permissions.startswith("---") and below.end - below.start == page
            anonymous = mapping.permissions.startswith("rw-p") and (
                not mapping.name or mapping.name.startswith("[anon")
            )
            if guard and below.end == mapping.start and anonymous:
                found.append((mapping.start, min(mapping.end, mapping.start + size)))
        return tuple(found)


class Snapshot(msgspec.Struct, frozen=True):
    """All of it. `moment_ns` is CLOCK_MONOTONIC, `wall_ns` the same moment since the epoch."""

    cgroup_version: int
    moment_ns: int
    wall_ns: int
    took_ns: int
    before: Reading
    after: Reading
    stat: dict[str, int]
    page_bytes: int
    processes: tuple[MappedProcess, ...]


class _Problem(msgspec.Struct, forbid_unknown_fields=True):
    problem: str


def load(path: Path) -> Snapshot:
    """Read a snapshot. Raises DataError with the reason where there is none."""
    hint = "make the run again"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no snapshot of its memory was taken: it ended at once, or was not to be seen", hint) from None
    except OSError as error:
        raise DataError(f"the snapshot of its memory cannot be read: {error.strerror}", hint) from error
    try:
        return msgspec.json.decode(raw, type=Snapshot)
    except msgspec.MsgspecError as error:
        try:
            problem = msgspec.json.decode(raw, type=_Problem).problem
        except msgspec.MsgspecError:
            problem = str(error)
        raise DataError(f"no snapshot of its memory could be taken: {problem}", hint) from error
