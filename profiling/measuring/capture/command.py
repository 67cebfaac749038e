"""From a target's command to the command that runs it under memray, or the reason why that cannot be."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling.measuring.interior import Interior

MAX_CAPTURE_BYTES = 1024 * 2**20
"""What one process may record, where nobody says otherwise: some minutes of reading for whoever makes the report."""
LAUNCHER = Path(__file__).with_name("launcher.py")

_PYTHON_NAME = re.compile(r"(python|pypy)(\d+(\.\d+)*)?t?")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "ash", "busybox"})
_RUNS_PROGRAM = frozenset("cm")
_TAKES_VALUE = frozenset("cmWX")
_RUNS_NOTHING = frozenset("hV?")
# pip and uv write `#!/bin/sh` above this where an interpreter's path is too long, or has a blank, for a `#!` line.
_TRAMPOLINE = re.compile(rb"#![^\n]*/sh\n(?:'''':?\n?)?'''exec' (?P<words>[^\n]+)\n")
_SHEBANG_BYTES = 4096


class CannotTrackError(Exception):
    """Memray cannot enter this command; the message is the reason, fit to stand after "skipped: "."""


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """A Python program as its interpreter would be told to run it."""

    interpreter: str
    """Absolute path; symbolic links are kept, as a virtual environment is known by its own."""
    options: tuple[str, ...]
    """The interpreter's own options: `-u`, `-X dev`, ..."""
    arguments: tuple[str, ...]
    """`-m MODULE ARG...`, `-c CODE ARG...` or `SCRIPT ARG...`."""

    def tracked(self, output: Path, interior: Interior, site: str | None = None, limit_bytes: int = 0) -> list[str]:
        """The command that runs the program under memray's tracker and records into `output`, a file of this machine.

        `site`: a directory that holds memray, where the program's own interpreter has none. `limit_bytes`: recording ends
        before a process's file outgrows it, or its disk; 0: it does not.
        """
        launcher = [interior.seen(LAUNCHER), "--output", interior.seen(output)]
        launcher += ["--site", site] if site else []
        launcher += ["--limit", str(limit_bytes)] if limit_bytes else []
        return [self.interpreter, *self.options, *launcher, "--", *self.arguments]


def python_program(interior: Interior) -> PythonProgram:
    """The Python program behind a command: an interpreter with its arguments, or a script with a Python `#!` line.

    Raises `CannotTrackError` with the reason if it is none, or none that can be found.
    """
    if not interior.command:
        raise CannotTrackError("the command is empty")
    name, *arguments = interior.command
    found = _find(name, interior)
    if _PYTHON_NAME.fullmatch(Path(name).name):
        options, rest = _split_options(arguments)
        return PythonProgram(_absolute(found, interior), options, rest)
    interpreter, shebang_options = _interpreter_of(name, found, interior)
    # The kernel hands the interpreter the path that was found, not the name that was asked for.
    return PythonProgram(interpreter, shebang_options, (found, *arguments))


def find_memray(program: PythonProgram, interior: Interior, scratch: Path, *, timeout_s: float = 20.0) -> str | None:
    """Where the program's interpreter gets memray from: None for its own, else the directory to name to the launcher.

    `scratch`, a directory of this machine that the interior sees, takes a small capture. Starts the interpreter once
    or twice (about 0.2 s each). Raises `CannotTrackError` with the reason if it cannot import memray either way.
    """
    reason = _check_memray(program, interior, timeout_s)
    if reason is None:
        return None
    site = interior.memray_site(program.interpreter)
    if site is None:
        raise CannotTrackError(reason)
    trivial = PythonProgram(program.interpreter, program.options, ("-c", "pass"))
    done = _run(trivial.tracked(scratch / "check.bin", interior, site), interior, timeout_s)
    if isinstance(done, str) or done.returncode:
        said = done if isinstance(done, str) else _last_line(done)
        raise CannotTrackError(f"{reason}, and the one at hand cannot be used there: {said}")
    return site


def _check_memray(program: PythonProgram, interior: Interior, timeout_s: float) -> str | None:
    """Why the interpreter cannot import a memray of its own; None if it can."""
    interpreter = program.interpreter
    code = "import sys; sys.path[:] = filter(None, sys.path); import memray._memray"
    done = _run([interpreter, *program.options, "-c", code], interior, timeout_s)
    if isinstance(done, str):
        return done
    if done.returncode == 0:
        return None
    said = _last_line(done)
    if said.startswith("ModuleNotFoundError: No module named 'memray'"):
        return f"memray is not installed for {interpreter} ({interpreter} -m pip install memray)"
    return f"{interpreter} cannot import memray: {said}"


def _run(command: Sequence[str], interior: Interior, timeout_s: float) -> subprocess.CompletedProcess[str] | str:
    """What came of the command, or the reason why nothing did."""
    try:
        return interior.run(command, timeout_s)
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not import memray within {timeout_s:g} s"
    except OSError as error:
        return f"{command[0]} cannot be started: {error.strerror or error}"


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"


def _find(name: str, interior: Interior) -> str:
    """The path under which the system would run `name`: as given if it has a slash, else from PATH."""
    if os.sep in name:
        candidates = [name]
    else:
        candidates = [str(Path(part) / name) for part in interior.environ.get("PATH", os.defpath).split(os.pathsep)]
    for candidate in candidates:
        if interior.executable(candidate):
            return candidate
    raise CannotTrackError(f"`{name}` was not found" + ("" if os.sep in name else " on PATH"))


def _absolute(path: str, interior: Interior) -> str:
    return str(Path(interior.directory).absolute() / path)


def _split_options(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What belongs to the interpreter, and what to the program (CPython's own rules, see `python --help`)."""
    options: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        if argument.startswith("--"):
            if argument != "--check-hash-based-pycs":
                raise CannotTrackError(f"`{argument}` runs no program")
            options += [argument, *rest[:1]]
            del rest[:1]
            continue
        flags, final, value = _cluster(argument)
        if final in _RUNS_NOTHING:
            raise CannotTrackError(f"`-{final}` runs no program")
        if final and not value:
            value = rest.pop(0) if rest else ""
            if not value:
                raise CannotTrackError(f"`-{final}` lacks its argument")
        if final in _RUNS_PROGRAM:
            return (*options, *((f"-{flags}",) if flags else ())), (f"-{final}", value, *rest)
        options += [f"-{flags}{final}", value] if final else [argument]
    if not rest:
        raise CannotTrackError("the interpreter was given no program")
    if rest[0] == "-":
        raise CannotTrackError("the program is read from standard input")
    return tuple(options), _program(rest[0], rest[1:])


def _cluster(argument: str) -> tuple[str, str, str]:
    """`-uXdev` as ("u", "X", "dev"): simple letters, the one that takes a value or ends the options, the rest."""
    for at, letter in enumerate(argument[1:], start=1):
        if letter in _TAKES_VALUE or letter in _RUNS_NOTHING:
            return argument[1:at], letter, argument[at + 1 :]
    return argument[1:], "", ""


def _program(script: str, arguments: Sequence[str]) -> tuple[str, ...]:
    if script.endswith(".pyc"):
        raise CannotTrackError(f"`{script}` is compiled: name its source")
    return (script, *arguments)


def _interpreter_of(name: str, found: str, interior: Interior) -> tuple[str, tuple[str, ...]]:
    """The interpreter, and its options, that the `#!` line of the file `found` names."""
    try:
        head = interior.head(found, _SHEBANG_BYTES)
    except OSError as error:
        raise CannotTrackError(f"`{name}` cannot be read: {error.strerror}") from None
    if Path(found).name in _SHELLS:
        raise CannotTrackError(f"`{name}` is a shell: give the Python command itself")
    if not head.startswith(b"#!"):
        kind = "a binary program" if b"\0" in head else "a file without a `#!` line"
        raise CannotTrackError(f"`{name}` is {kind}, not a Python one")
    trampoline = _TRAMPOLINE.match(head)
    if trampoline:
        words = _trampoline_words(trampoline["words"].decode(errors="surrogateescape"), interior.real(found))
    else:
        line = head[2:].partition(b"\n")[0].decode(errors="surrogateescape").strip()
        # The kernel splits off one argument and no more.
        words = line.split(None, 1)
    if words and Path(words[0]).name == "env":
        words = _env_words(words[1] if len(words) > 1 else "")
    if not words or not _PYTHON_NAME.fullmatch(Path(words[0]).name):
        by = Path(words[0]).name if words else "nothing"
        kind = "a shell script" if by in _SHELLS else f"a script for `{by}`"
        raise CannotTrackError(f"`{name}` is {kind}, not a Python one")
    return _absolute(_find(words[0], interior), interior), tuple(words[1:])


def _env_words(argument: str) -> list[str]:
    """What `/usr/bin/env ARGUMENT` runs."""
    split = re.match(r"(-S|--split-string=?)\s*", argument)
    words = shlex.split(argument[split.end() :]) if split else [argument]
    while words and re.match(r"\w+=", words[0]):
        raise CannotTrackError("its `#!` line sets an environment variable")
    return words


def _trampoline_words(line: str, real: str) -> list[str]:
    """The interpreter in `/path/python "$0" "$@"`, or in uv's relocatable form of it."""
    line = line.replace('"$(dirname -- "$(realpath -- "$0")")"', shlex.quote(str(Path(real).parent)))
    words = shlex.split(line)
    while words and words[-1] in ("$0", "$@"):
        words.pop()
    return words
