"""A directory that may hold anything, looked at within bounds: of depth, of entries, of bytes. Nothing of it is run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from profiling.detecting.plain import one_line

MOST_BYTES = 512 * 1024
"""A file of source, or a manifest, that is larger is none that was written by hand."""
_MOST_ENTRIES = 5_000
_MOST_PROBLEMS = 20
_DEEPEST = 4
_PASSED_OVER = frozenset(
    {"node_modules", "site-packages", "__pycache__", "__pypackages__", "bower_components", "vendor", "runs", "venv"}
)


class Directory:
    """`files`: the regular files below `root`, relative, shallow ones first. Hidden directories, installed packages and
    whatever a symbolic link leads to are not entered. `problems`: what could not be read, a line each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        self._texts: dict[str, str | None] = {}
        self._entries = 0
        self._known: frozenset[str] = frozenset()
        found = sorted(self._walk(""), key=lambda path: (path.count("/"), path))
        self.files = tuple(found)
        self._known = frozenset(found)

    def has(self, path: str) -> bool:
        """Whether there is such a regular file, seen in the walk or not."""
        if path in self._known:
            return True
        try:
            return stat.S_ISREG(os.stat(self.root / path).st_mode)
        except (OSError, ValueError):
            return False

    def text(self, path: str, most: int = MOST_BYTES) -> str | None:
        """The text of a file; None where there is none, or none that can be read: then `problems` says why."""
        if path not in self._texts:
            self._texts[path] = self._read(path, most) if self.has(path) else None
        return self._texts[path]

    def problem(self, path: str, why: str) -> None:
        """Remember a line about a file."""
        line = one_line(f"{path}: {why}")
        if len(self.problems) < _MOST_PROBLEMS and line not in self.problems:
            self.problems.append(line)

    def _read(self, path: str, most: int) -> str | None:
        try:
            # Without waiting: it may have become a pipe since it was looked at.
            descriptor = os.open(self.root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return None
                raw = file.read(most + 1)
        except OSError as error:
            self.problem(path, f"cannot be read ({(error.strerror or str(error)).lower()})")
            return None
        if len(raw) > most:
            self.problem(path, f"is larger than {most // 1024} KiB and was not read")
            return None
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.problem(path, "is no text (not UTF-8)")
            return None
        if "\0" in text:
            self.problem(path, "is no text (it holds NUL)")
            return None
        return text

    def _walk(self, below: str, depth: int = 0) -> Iterator[str]:
        directories = []
        try:
            with os.scandir(self.root / below) as entries:
                for entry in entries:
                    self._entries += 1
                    if self._entries > _MOST_ENTRIES:
                        self.problem(".", f"more than {_MOST_ENTRIES:,} files: the rest was not looked at")
                        break
                    path = f"{below}/{entry.name}" if below else entry.name
                    if not _can_be_written(path):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(path)
                    elif _is_file(entry):
                        yield path
        except OSError as error:
            self.problem(below or ".", f"cannot be looked into ({(error.strerror or str(error)).lower()})")
        if depth == _DEEPEST or self._entries > _MOST_ENTRIES:
            return
        for path in sorted(directories):
            name = path.rpartition("/")[2]
            if not name.startswith(".") and name not in _PASSED_OVER and not self.has(f"{path}/pyvenv.cfg"):
                yield from self._walk(path, depth + 1)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A regular file, or a link to one."""
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _can_be_written(path: str) -> bool:
    """Whether a name can stand in a text file, on one line."""
    return path.isprintable()
