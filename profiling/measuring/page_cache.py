"""Drop files from the page cache before a run, so that the run is charged for reading them.

A page of a file is charged to the cgroup that read it first: on a warm cache a service seems to need less than on a
freshly booted instance. Sources: posix_fadvise(2), mincore(2), memory.rst ("shared page accounting").
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from profiling.values import PageCache

_LARGEST = 40
"""How many of the largest files are looked at to say whether dropping worked."""
_COLD_BELOW = 0.10
"""The share of these files' pages that may still be cached for the run to count as cold. Libraries that this tool
itself has mapped stay."""


def drop(paths: Iterable[str]) -> PageCache:
    """Drop every regular file below `paths` from the page cache; says what the cache is now.

    Unreadable and vanished files are passed over. UNKNOWN where the kernel does not let us look.
    """
    os.sync()  # dirty pages cannot be dropped
    flags = os.O_RDONLY | (os.O_NOATIME if os.geteuid() == 0 else 0)
    largest: list[tuple[int, str]] = []
    for path in _files(paths):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, flags)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                heapq.heappush(largest, (os.fstat(descriptor).st_size, path))
            finally:
                os.close(descriptor)
            if len(largest) > _LARGEST:
                heapq.heappop(largest)
    return _state([path for size, path in largest if size])


def look(paths: Iterable[str]) -> PageCache:
    """What the page cache holds of the files below `paths`, with nothing dropped."""
    sizes: list[tuple[int, str]] = []
    for path in _files(paths):
        with contextlib.suppress(OSError):
            sizes.append((os.stat(path).st_size, path))
    return _state([path for size, path in heapq.nlargest(_LARGEST, sizes) if size])


def _files(paths: Iterable[str]) -> Iterator[str]:
    """Every regular file below `paths`, each directory once; symbolic links are not followed."""
    pending, seen = [os.path.realpath(path) for path in paths], set()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        if os.path.isfile(path):
            yield path
            continue
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry.path
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def _state(paths: list[str]) -> PageCache:
    total = cached = 0
    for path in paths:
        counts = _resident_pages(path)
        if counts is None:
            return PageCache.UNKNOWN
        cached += counts[0]
        total += counts[1]
    if not total:
        return PageCache.UNKNOWN
    return PageCache.COLD if cached < _COLD_BELOW * total else PageCache.WARM


def _resident_pages(path: str) -> tuple[int, int] | None:
    """(cached pages, all pages) of a file by mincore(2), which reads nothing; None where it cannot be told."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    finally:
        os.close(descriptor)
    if address in (None, ctypes.c_void_p(-1).value):
        return None
    pages = -(-size // mmap.PAGESIZE)
    vector = (ctypes.c_ubyte * pages)()
    failed = libc.mincore(address, size, vector)
    libc.munmap(address, size)
    return None if failed else (sum(flag & 1 for flag in vector), pages)


def interpreter_files(executable: str) -> list[str]:
    """The directories that a Python interpreter loads from, found beside its executable without running it."""
    real = Path(executable).resolve()
    roots = [real]
    for prefix in dict.fromkeys((Path(executable).parent.parent, real.parent.parent)):
        roots += (
            sorted((prefix / "lib").glob("python3*"))
            if prefix != Path("/usr")
            else sorted(Path("/usr/lib").glob("python3*")) + sorted(Path("/usr/lib/python3").glob("dist-packages"))
        )
        roots += sorted((prefix / "lib").glob("libpython3*"))
    return [str(root) for root in roots if root.exists()]
