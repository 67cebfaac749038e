"""What the recorder and its sandbox need to know of this machine: whether the kernel's counters lag, and what can be spared."""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path

from profiling.errors import NoLimitError
from profiling.measuring.sandboxes.placement import effective_limit, find_placement

_MOST = 8 * 2**30
_SHARE = 0.75
_ATTEMPTS, _PAGES = 3, 24


def counters_lag() -> bool:
    """Whether RssAnon in /proc/PID/status falls behind what the page tables say.

    Up to Linux 6.16 or so each thread, later each processor, keeps some pages back before it adds them to the process's
    counter. Told by touching page after page; other threads of ours may disturb it, so it is tried again.
    """
    return not any(_counts_every_page() for _ in range(_ATTEMPTS))


def _counts_every_page() -> bool:
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE) as area:
        for page in range(_PAGES):
            area[page * mmap.PAGESIZE] = 1
            if _kib("/proc/self/status", "RssAnon:") != _kib("/proc/self/smaps_rollup", "Anonymous:"):
                return False
    return True


def default_limit(*, within_session: bool) -> int:
    """A limit that hardly any start reaches and that keeps the machine usable: three quarters of the memory that is
    available, at most 8 GiB, and `within_session` also of whatever limit this session itself has. Bytes, whole pages."""
    limit = min(_MOST, int(_SHARE * _kib("/proc/meminfo", "MemAvailable:") * 1024))
    with contextlib.suppress(NoLimitError):
        placement = find_placement() if within_session else None
        if placement is None:
            return limit - limit % mmap.PAGESIZE
        directory = placement.parent("memory")
        outer = effective_limit(placement.version, directory) if directory else None
        if outer is not None:
            limit = min(limit, int(_SHARE * outer))
    return limit - limit % mmap.PAGESIZE


def _kib(path: str, name: str) -> int:
    text = Path(path).read_text()
    at = text.index(name) + len(name)
    return int(text[at : text.index("kB", at)])
