"""What the recorder wrote, as values: one process's events in order, and which processes belong to a start.

The file's form is described in `profiling/measuring/imports/recorder.py`.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_FILE = re.compile(r"(\.\d+)?(\.gz)?")


@dataclass(frozen=True, slots=True)
class Reading:
    """Resident memory of the process, in bytes, at a time of CLOCK_MONOTONIC."""

    t_ns: int
    anon: int
    file: int


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code; `module` is the `__name__` there, `file` as the interpreter knows it."""

    module: str
    file: str
    line: int

    @property
    def text(self) -> str | None:
        """FILE:LINE; None where there is no file, as in `-c`."""
        return f"{self.file}:{self.line}" if self.file and not self.file.startswith("<") else None


@dataclass(frozen=True, slots=True)
class Begin:
    """The load of a module begins."""

    thread: str
    at: Reading
    name: str
    importer: Place
    own: Place
    body: Place
    """The innermost module body that is being executed: for its sake the module is loaded."""


@dataclass(frozen=True, slots=True)
class End:
    """A load ends; `name` is "" where the process itself does."""

    thread: str
    at: Reading
    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Statement:
    """An import statement that was executed, whether or not it loaded anything."""

    body: Place
    """The innermost module body that was being executed."""
    at: Place
    """The statement itself; its `module` is not known."""
    own: bool
    """It stands in the program's own code."""
    name: str
    names: tuple[str, ...]
    """What is named after `from name import`."""


@dataclass(slots=True)
class Process:
    """One process's recording. A fork makes another one."""

    pid: int
    parent: int
    begin: Reading
    python: str
    events: list[Begin | End] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)


def parse(lines: Iterable[str]) -> Process | None:
    """A process from its file's lines; None if not even its first line is whole. Lines that make no sense are passed
    over: a killed process may leave a torn one."""
    process: Process | None = None
    for line in lines:
        kind, *fields = line.rstrip("\n").split("\t")
        try:
            if kind == "P":
                pid, parent, *numbers, python = fields
                process = Process(int(pid), int(parent), _reading(numbers), python)
            elif process is not None:
                _take(process, kind, fields)
        except (IndexError, ValueError):
            continue
    return process


def _take(process: Process, kind: str, fields: list[str]) -> None:
    if kind == "I":
        module, file, number, at, at_number, own, name, names = fields
        wanted = tuple(names.split(",")) if names else ()
        place = Place("", at, int(at_number))
        process.statements.append(Statement(Place(module, file, int(number)), place, own == "own", name, wanted))
        return
    thread, numbers, rest = fields[0], fields[1:4], fields[4:]
    if kind == "B":
        name, importer, importer_file, importer_line, own_file, own_line, module, file, number = rest
        process.events.append(
            Begin(
                thread,
                _reading(numbers),
                name,
                Place(importer, importer_file, int(importer_line)),
                Place("", own_file, int(own_line)),
                Place(module, file, int(number)),
            )
        )
    elif kind in ("E", "X"):
        name, error = rest if kind == "E" else ("", "")
        process.events.append(End(thread, _reading(numbers), name, error))


def _reading(numbers: list[str]) -> Reading:
    t_ns, anon, file = map(int, numbers)
    return Reading(t_ns, anon, file)


def read(recording: Path) -> list[Process]:
    """The processes of one start: the first one, then its forked children in the order in which they were forked."""
    found = []
    for path in recording.parent.glob(f"{recording.name}*"):
        if _FILE.fullmatch(path.name[len(recording.name) :]):
            process = _read(path)
            if process is not None:
                found.append((path.name.removesuffix(".gz") != recording.name, process.begin.t_ns, process))
    return [process for *_, process in sorted(found, key=lambda entry: entry[:2])]


def _read(path: Path) -> Process | None:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape") as lines:
            return parse(lines)
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        return parse(lines)
