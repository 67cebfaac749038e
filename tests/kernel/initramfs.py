"""A guest's first and only file system: an archive in cpio's "newc" format, written without root and without cpio.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Not compressed: unpacking under
emulation costs more than reading.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


class Archive:
    """Writes entries one after the other; `close` ends the archive. All belongs to root, mode bits stay."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inode = 0
        self._made: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """A directory and those above it, unless they are there."""
        parent = os.path.dirname(path)
        if parent and parent not in self._made:
            self.directory(parent)
        if path not in self._made:
            self._made.add(path)
            self._entry(path, stat.S_IFDIR | mode, b"")

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A file with this content."""
        if os.path.dirname(path):
            self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFREG | mode, data)

    def add(self, source: Path, path: str) -> None:
        """A file or a symbolic link of the host."""
        status = source.lstat()
        if os.path.dirname(path):
            self.directory(os.path.dirname(path))
        if stat.S_ISLNK(status.st_mode):
            self._entry(path, status.st_mode, os.fsencode(os.readlink(source)))
        elif stat.S_ISREG(status.st_mode):
            # With its time, by which Python knows whether compiled code is that of its source.
            self._entry(path, status.st_mode, source.read_bytes(), int(status.st_mtime))

    def add_tree(self, source: Path, path: str, wanted: Callable[[str], bool] = lambda _: True) -> None:
        """All below `source` for whose path within it `wanted` says yes; a directory that it refuses is not entered."""
        for found, inner in _walk(source, "", wanted):
            place = f"{path}/{inner}" if path else inner
            if found.is_dir() and not found.is_symlink():
                self.directory(place, stat.S_IMODE(found.stat().st_mode))
            else:
                self.add(found, place)

    def close(self) -> None:
        self._entry("TRAILER!!!", 0, b"")

    def _entry(self, path: str, mode: int, data: bytes, mtime: int = 0) -> None:
        self._inode += 1
        name = os.fsencode(path) + b"\0"
        fields = (self._inode, mode, 0, 0, 1, mtime, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self._file.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))


def _walk(directory: Path, inner: str, wanted: Callable[[str], bool]) -> Iterator[tuple[Path, str]]:
    for entry in sorted(directory.iterdir()):
        name = f"{inner}/{entry.name}" if inner else entry.name
        if wanted(name):
            yield entry, name
            if entry.is_dir() and not entry.is_symlink():
                yield from _walk(entry, name, wanted)
