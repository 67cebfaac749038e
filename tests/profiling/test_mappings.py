from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from profiling.measuring.mappings import EXCLUSIVE, FILE_OR_SHARED, PRESENT, page_states, parse_smaps

SMAPS = b"""\
7f2a00000000-7f2a00200000 rw-p 00000000 00:00 0 
Size:               2048 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                 100 kB
Pss:                  70 kB
Shared_Clean:          0 kB
Shared_Dirty:         60 kB
Private_Clean:         8 kB
Private_Dirty:        32 kB
Referenced:          100 kB
Anonymous:           100 kB
Swap:                  0 kB
Locked:                4 kB
VmFlags: rd wr mr mw me ac sd 
7f2a00200000-7f2a00201000 ---p 00001000 fe:01 4711                       /srv/a library (1).so
Size:                  4 kB
Rss:                   0 kB
Pss:                   0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
Locked:                0 kB
"""  # noqa: W291


def test_a_mapping_by_value() -> None:
    heap, library = parse_smaps(SMAPS)
    assert heap == (0x7F2A00000000, 0x7F2A00200000, "rw-p", 0, "", 102400, 71680, 40960, 102400, 4096)
    assert (library.name, library.inode, library.permissions) == ("/srv/a library (1).so", 4711, "---p")


@pytest.mark.parametrize(
    "cut", [SMAPS[:-30], SMAPS[: SMAPS.index(b"Anonymous")], SMAPS.replace(b"Rss:   ", b"Xss:   ", 1)]
)
def test_a_text_that_was_cut_off_is_refused(cut: bytes) -> None:
    with pytest.raises(ValueError, match="lacks a row"):
        parse_smaps(cut)


def test_nothing_is_no_mapping() -> None:
    assert parse_smaps(b"") == []


def test_this_process_as_the_kernel_sees_it() -> None:
    """A page that was touched is there, one that was not is not, and the mapping's size is what was asked for."""
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 64 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        import ctypes

        start = ctypes.addressof(ctypes.c_char.from_buffer(area))
        area[0] = area[5 * page] = 1
        found = next(m for m in parse_smaps(Path("/proc/self/smaps").read_bytes()) if m.start <= start < m.end)
        assert found.end - found.start >= 64 * page
        assert found.anonymous >= 2 * page
        descriptor = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            states = page_states(os.pread(descriptor, 64 * 8, start // page * 8))
        finally:
            os.close(descriptor)
        assert len(states) == 64
        there = [at for at, state in enumerate(states) if state & PRESENT]
        assert there == [0, 5]
        assert all(states[at] & EXCLUSIVE and not states[at] & FILE_OR_SHARED for at in there)
