"""A process's memory map, /proc/PID/smaps and /proc/PID/pagemap, to numbers. Pure; the standard library alone.

Sources: Documentation/filesystems/proc.rst and Documentation/admin-guide/mm/pagemap.rst of the kernel. Sizes in bytes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PRESENT, FILE_OR_SHARED, EXCLUSIVE = 0x80, 0x20, 0x01
"""Bits 63, 61 and 56 of an entry of pagemap, as they stand in its highest byte: the page is in memory; it belongs to a file
or is shared anonymous memory; no other process has it mapped."""
ENTRY_BYTES = 8

# One expression for a whole mapping, since the kernel keeps the rows' order: a tenth of the time that finding each takes.
_MAPPING = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+) *(.*)\n"
    rb"(?:.*\n)*?Rss: +(\d+) kB\n"
    rb"(?:.*\n)*?Pss: +(\d+) kB\n"
    rb"(?:.*\n)*?Private_Clean: +(\d+) kB\n"
    rb"(?:.*\n)*?Private_Dirty: +(\d+) kB\n"
    rb"(?:.*\n)*?Anonymous: +(\d+) kB\n"
    rb"(?:.*\n)*?Locked: +(\d+) kB\n",
    re.MULTILINE,
)
_SIZE = re.compile(rb"^Size:", re.MULTILINE)


class Mapping(NamedTuple):
    """One mapping. `name` is a file's path, `[heap]` and the like, or empty for anonymous memory; `inode` is 0 without
    a file."""

    start: int
    end: int
    permissions: str
    """`rw-p`: readable, writable, not executable, private."""
    inode: int
    name: str
    rss: int
    pss: int
    private: int
    """The part of `rss` that no other process has mapped."""
    anonymous: int
    """The part of `rss` that is no file's: all of anonymous memory, and of a private file mapping what was written to."""
    locked: int


def parse_smaps(text: bytes) -> list[Mapping]:
    """The mappings by address. Raises ValueError if one lacks a row, as in a text that was cut off."""
    found = _MAPPING.findall(text)
    if len(found) != len(_SIZE.findall(text)) or (text and not text.endswith(b"\n")):
        raise ValueError("a memory map with a mapping that lacks a row")
    return [
        Mapping(
            int(start, 16),
            int(end, 16),
            permissions.decode(),
            int(inode),
            name.decode(errors="replace"),
            int(rss) * 1024,
            int(pss) * 1024,
            (int(private_clean) + int(private_dirty)) * 1024,
            int(anonymous) * 1024,
            int(locked) * 1024,
        )
        for start, end, permissions, inode, name, rss, pss, private_clean, private_dirty, anonymous, locked in found
    ]


def page_states(pagemap: bytes) -> bytes:
    """One byte for each page: the highest of its entry, which holds PRESENT, FILE_OR_SHARED and EXCLUSIVE (little endian)."""
    return pagemap[ENTRY_BYTES - 1 :: ENTRY_BYTES]
