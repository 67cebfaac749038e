"""Which captures somebody means who names a file or a directory."""

from __future__ import annotations

import stat
from collections import defaultdict
from pathlib import Path

from profiling.errors import DataError
from profiling.measuring.capture.head import is_capture

_HINT = "name a run of `profile` or `compare` that recorded, a directory with memray captures, or one capture"


def find(path: Path) -> tuple[Path, ...]:
    """The captures of one program: the file that is named, or all processes' in the directory that is, or in the only
    one within it that has any. Raises `DataError` where there are none, or those of several programs."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISDIR(kind):
            return _file(path, kind)
        found = _programs(path) or [program for below in sorted(path.iterdir()) for program in _within(below)]
    except OSError as error:
        raise DataError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})", _HINT) from error
    if not found:
        raise DataError(f"{path} holds no memray capture", _HINT)
    if len(found) > 1:
        names = ", ".join(str(program[0].relative_to(path)) for program in found)
        raise DataError(f"{path} holds captures of several programs: {names}", "name the directory or the file of one")
    return found[0]


def _file(path: Path, kind: int) -> tuple[Path, ...]:
    if not stat.S_ISREG(kind):
        raise DataError(f"{path} is neither a file nor a directory", _HINT)
    with path.open("rb") as file:
        begin = file.read(64)
    # Nothing, or zeros: of a process that was killed before it recorded anything.
    if any(begin) and not is_capture(path):
        raise DataError(f"{path} is no memray capture", _HINT)
    return (path,)


def _within(path: Path) -> list[tuple[Path, ...]]:
    return _programs(path) if path.is_dir() else []


def _programs(directory: Path) -> list[tuple[Path, ...]]:
    """The captures in a directory by the program they are of: a forked child's name is its parent's with a process id."""
    by_program: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in directory.iterdir():
        if path.is_file() and is_capture(path):
            base, _, pid = path.name.rpartition(".")
            forked = bool(base) and pid.isdecimal()
            by_program[base if forked else path.name].append((int(pid) if forked else -1, path))
    return [tuple(path for _, path in sorted(found)) for _, found in sorted(by_program.items())]
