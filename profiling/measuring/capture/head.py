"""What the first bytes of a capture tell, without memray."""

from __future__ import annotations

import struct
from pathlib import Path

_LZ4_MAGIC = b"\x04\x22\x4d\x18"
# The head of memray's file: magic, header version, Python version, two flags, number of allocations.
_HEAD = struct.Struct("<7sii??Q")
_MAGIC = b"memray\0"
_LZ4_MAGIC_WITHIN = 64
"""A compressed file's first bytes stand as they were, behind the head of the compression."""


def ended_cleanly(capture: Path) -> bool:
    """Whether the process ended by itself, as opposed to a signal that it did not handle.

    memray writes the number of allocations into the file's head only when the tracker is stopped; the launcher stops
    it when the interpreter ends and in `os._exit`. False for an empty file, too.
    """
    # memray compresses only after the tracker was stopped.
    return _first_bytes(capture).startswith(_LZ4_MAGIC) or recorded(capture) > 0


def recorded(capture: Path) -> int:
    """How many records were written until the tracker was stopped; 0 where it never was, or the file is compressed."""
    head = _first_bytes(capture)
    if len(head) < _HEAD.size:
        return 0
    magic, *_, allocations = _HEAD.unpack(head)
    return int(allocations) if magic == _MAGIC else 0


def is_capture(file: Path) -> bool:
    """Whether it begins as memray's files do, compressed or not."""
    head = _first_bytes(file, _LZ4_MAGIC_WITHIN)
    return head.startswith(_MAGIC) or (head.startswith(_LZ4_MAGIC) and _MAGIC in head)


def ended_early(capture: Path) -> str | None:
    """Why recording ended before the process did: `limit`, the capture's; `disk`, there was no more room. None: it did not.

    Where there was none left even for the word, the file is empty."""
    try:
        return capture.with_name(f"{capture.name}.ended").read_text().strip() or "disk"
    except OSError:
        return None


def is_blank(capture: Path) -> bool:
    """Whether the process came to its end before a whole head was written, or the file is not there."""
    head = _first_bytes(capture)
    return len(head) < _HEAD.size or not any(head)


def _first_bytes(capture: Path, count: int = _HEAD.size) -> bytes:
    try:
        with capture.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
