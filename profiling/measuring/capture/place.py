"""Where a capture may be written."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})


def unfit(directory: Path) -> str | None:
    """Why captures cannot be written into this directory; None if they can.

    A capture's pages are charged to the process that writes it. On a disk the kernel can write them back and take
    them away; in a file system that lives in memory they count against the target's limit until the end.
    """
    kind = file_system(directory)
    if kind in _IN_MEMORY:
        return f"{directory} is in memory ({kind}): memray's records would count against the target's limit"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} is not writable"
    return None


def file_system(directory: Path) -> str | None:
    """The type of the file system that holds `directory` (`ext4`, `tmpfs`, ...); None if the kernel does not say."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return None
    real = os.fsencode(os.path.realpath(directory))
    kind, longest = b"", -1
    for line in lines:
        # proc_pid_mountinfo(5): id parent major:minor root mount-point options ... - type source options
        before, _, after = line.partition(b" - ")
        mount_point = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), before.split(b" ")[4])
        inside = real == mount_point or real.startswith(mount_point.rstrip(b"/") + b"/")
        # Of two mounts over one another the later one is seen.
        if inside and len(mount_point) >= longest:
            longest, kind = len(mount_point), after.split(b" ")[0]
    return os.fsdecode(kind) or None
