"""The text of cgroup files, v1 and v2, to numbers. Pure: nothing here opens a file.

Sources: Documentation/admin-guide/cgroup-v2.rst, Documentation/admin-guide/cgroup-v1/memory.rst and
Documentation/accounting/psi.rst of the kernel. Memory is in bytes. Only the standard library, since the sampler must stay light.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class MemoryReading(NamedTuple):
    """One look at a cgroup's memory, in bytes.

    `unreclaimable` is what the kernel cannot take back with swap off, so what an OOM kill depends on; `working_set`
    is the platforms' view (kubelet, `docker stats`): charged minus inactive file pages.
    """

    charged: int
    anon: int
    file: int
    shmem: int
    kernel: int
    working_set: int
    unreclaimable: int
    refault_file: int


class Stall(NamedTuple):
    """How long tasks waited: percent of the last 10, 60 and 300 s, and µs since the cgroup was made."""

    avg10: float
    avg60: float
    avg300: float
    total_us: int


class Pressure(NamedTuple):
    """memory.pressure: `some` counts while at least one task waited for memory, `full` while all that were not idle did."""

    some: Stall
    full: Stall


def parse_keyed(text: bytes) -> dict[bytes, int]:
    """A flat-keyed file such as memory.stat or memory.events: one `key value` a line. Raises ValueError if it is not."""
    words = text.split()
    if len(words) % 2:
        raise ValueError(f"a flat-keyed cgroup file with an odd number of words: {text[:80]!r}")
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def parse_limit(text: bytes) -> int | None:
    """memory.max and its like: bytes, or None for `max` (v2) or a number no machine has (v1's "unlimited")."""
    word = text.strip()
    if word == b"max":
        return None
    value = int(word)
    return None if value >= 2**62 else value


_STALL = re.compile(rb"(some|full) avg10=(\d+\.\d+) avg60=(\d+\.\d+) avg300=(\d+\.\d+) total=(\d{1,20})(?: .*)?")


def parse_pressure(text: bytes) -> Pressure:
    """memory.pressure (Documentation/accounting/psi.rst): a line `some` and a line `full`; others are left alone.

    Raises ValueError if one of the two is missing or reads otherwise.
    """
    stalls = {}
    for line in text.splitlines():
        if match := _STALL.fullmatch(line.rstrip()):
            stalls[match[1]] = Stall(float(match[2]), float(match[3]), float(match[4]), int(match[5]))
    if len(stalls) < 2:
        raise ValueError(f"a pressure file without its two lines: {text[:80]!r}")
    return Pressure(some=stalls[b"some"], full=stalls[b"full"])


def parse_procs(text: bytes) -> list[int]:
    """cgroup.procs: process ids, one a line."""
    return [int(word) for word in text.split()]


def mlocked(unevictable: int, anon: int, shmem: int, inactive_anon: int, active_anon: int) -> int:
    """Locked file pages: the unevictable pages beyond those anonymous and shmem pages that are on no (in)active list.

    Anonymous and shmem pages live on the inactive_anon and active_anon lists, or on the unevictable one when locked;
    these are already counted as anon or shmem, so that only the rest of `unevictable` is new.
    """
    return min(unevictable, max(0, unevictable - (anon + shmem - inactive_anon - active_anon)))


class RowPicker:
    """Picks rows out of a flat-keyed file that is read again and again, much faster than parsing all of it.

    The kernel keeps the rows' order, so positions are found once; each reading checks that the names still stand there
    and finds them anew if not.
    """

    def __init__(self, *names: bytes) -> None:
        self._names = names
        self._places: list[tuple[bytes, int]] = []

    def pick(self, text: bytes) -> list[int]:
        """The values of the rows, in the order of the names; 0 for a row that is not there."""
        words = text.split()
        try:
            if self._places and all(words[place - 1] == name for name, place in self._places):
                return [int(words[place]) for _, place in self._places]
        except IndexError:
            pass
        found = {name: place * 2 + 1 for place, name in enumerate(words[::2])}
        if all(name in found for name in self._names):
            self._places = [(name, found[name]) for name in self._names]
        rows = parse_keyed(text)
        return [rows.get(name, 0) for name in self._names]


V2_ROWS = (
    b"anon", b"file", b"shmem", b"inactive_anon", b"active_anon", b"inactive_file", b"unevictable", b"sock",
    b"slab_reclaimable", b"workingset_refault_file",
)  # fmt: skip
V2_KERNEL_ROWS = (b"kernel",)
V2_OLD_KERNEL_ROWS = (b"kernel_stack", b"pagetables", b"percpu", b"slab_unreclaimable", b"slab_reclaimable")
"""`kernel` is in memory.stat since Linux 5.18; before, these parts are added up."""
V1_ROWS = (
    b"total_rss", b"total_cache", b"total_shmem", b"total_inactive_anon", b"total_active_anon",
    b"total_inactive_file", b"total_unevictable", b"total_workingset_refault_file",
)  # fmt: skip


def reading_v2(rows: list[int], kernel: int, charged: int) -> MemoryReading:
    """From the V2_ROWS and the kernel memory of memory.stat, and memory.current."""
    anon, file, shmem, inactive_anon, active_anon, inactive_file, unevictable, sock, slab_reclaimable, refault = rows
    return MemoryReading(
        charged,
        anon,
        file,
        shmem,
        kernel,
        max(0, charged - inactive_file),
        anon
        + shmem
        + mlocked(unevictable, anon, shmem, inactive_anon, active_anon)
        + max(0, kernel - slab_reclaimable)
        + sock,
        refault,
    )


def reading_v1(rows: list[int], kernel: int, charged: int) -> MemoryReading:
    """From the V1_ROWS of memory.stat, memory.kmem.usage_in_bytes + memory.kmem.tcp.usage_in_bytes, and
    memory.usage_in_bytes.

    v1 does not tell reclaimable slab apart, so `unreclaimable` is an upper bound there. The `total_` rows include
    descendants.
    """
    anon, cache, shmem, inactive_anon, active_anon, inactive_file, unevictable, refault = rows
    return MemoryReading(
        charged,
        anon,
        cache,
        shmem,
        kernel,
        max(0, charged - inactive_file),
        anon + shmem + mlocked(unevictable, anon, shmem, inactive_anon, active_anon) + kernel,
        refault,
    )
