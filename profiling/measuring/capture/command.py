"""From a target's command to the command that runs it under memray, or the reason why that cannot be."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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

    def tracked(self, output: Path) -> list[str]:
        """The command that runs the program under memray's tracker and records into `output`."""
        launcher = [str(LAUNCHER), "--output", str(output.absolute()), "--"]
        return [self.interpreter, *self.options, *launcher, *self.arguments]


def tracked_command(
    command: Sequence[str], environ: Mapping[str, str], directory: str | Path, output: Path
) -> list[str]:
    """The command that runs `command` under memray's tracker, recording into `output` and `output.PID`.

    `environ` and `directory` are those that the target will have. Raises `CannotTrackError`.
    """
    return python_program(command, environ, directory).tracked(output)


def python_program(command: Sequence[str], environ: Mapping[str, str], directory: str | Path) -> PythonProgram:
    """The Python program behind a command: an interpreter with its arguments, or a script with a Python `#!` line.

    Raises `CannotTrackError` with the reason if it is none, or none that can be found.
    """
    if not command:
        raise CannotTrackError("the command is empty")
    name, *arguments = command
    found = _find(name, environ, directory)
    if _PYTHON_NAME.fullmatch(Path(name).name):
        options, rest = _split_options(arguments)
        return PythonProgram(_absolute(found, directory), options, rest)
    interpreter, shebang_options = _interpreter_of(name, Path(directory, found), environ, directory)
    # The kernel hands the interpreter the path that was found, not the name that was asked for.
    return PythonProgram(interpreter, shebang_options, (found, *arguments))


def check_memray(
    interpreter: str,
    options: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    timeout_s: float = 20.0,
) -> str | None:
    """Why this interpreter cannot import memray; None if it can. Starts it once (about 0.2 s)."""
    code = "import sys; sys.path[:] = filter(None, sys.path); import memray._memray"
    try:
        done = subprocess.run(
            [interpreter, *options, "-c", code],
            check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            env=environ, cwd=directory, timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{interpreter} did not import memray within {timeout_s:g} s"
    except OSError as error:
        return f"{interpreter} cannot be started: {error.strerror}"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    if lines and lines[-1].startswith("ModuleNotFoundError: No module named 'memray'"):
        return f"memray is not installed for {interpreter} ({interpreter} -m pip install memray)"
    said = lines[-1] if lines else f"exit status {done.returncode}"
    return f"{interpreter} cannot import memray: {said}"


def _find(name: str, environ: Mapping[str, str], directory: str | Path) -> str:
    """The path under which the system would run `name`: as given if it has a slash, else from PATH."""
    if os.sep in name:
        candidates = [name]
    else:
        candidates = [str(Path(part) / name) for part in environ.get("PATH", os.defpath).split(os.pathsep)]
    for candidate in candidates:
        full = Path(directory, candidate)
        if full.is_file() and os.access(full, os.X_OK):
            return candidate
    raise CannotTrackError(f"`{name}` was not found" + ("" if os.sep in name else " on PATH"))


def _absolute(path: str, directory: str | Path) -> str:
    return str(Path(directory).absolute() / path)


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


def _interpreter_of(
    name: str, file: Path, environ: Mapping[str, str], directory: str | Path
) -> tuple[str, tuple[str, ...]]:
    """The interpreter, and its options, that the `#!` line of `file` names."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_SHEBANG_BYTES)
    except OSError as error:
        raise CannotTrackError(f"`{name}` cannot be read: {error.strerror}") from None
    if file.name in _SHELLS:
        raise CannotTrackError(f"`{name}` is a shell: give the Python command itself")
    if not head.startswith(b"#!"):
        kind = "a binary program" if b"\0" in head else "a file without a `#!` line"
        raise CannotTrackError(f"`{name}` is {kind}, not a Python one")
    trampoline = _TRAMPOLINE.match(head)
    if trampoline:
        words = _trampoline_words(trampoline["words"].decode(errors="surrogateescape"), file)
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
    return _absolute(_find(words[0], environ, directory), directory), tuple(words[1:])


def _env_words(argument: str) -> list[str]:
    """What `/usr/bin/env ARGUMENT` runs."""
    split = re.match(r"(-S|--split-string=?)\s*", argument)
    words = shlex.split(argument[split.end() :]) if split else [argument]
    while words and re.match(r"\w+=", words[0]):
        raise CannotTrackError("its `#!` line sets an environment variable")
    return words


def _trampoline_words(line: str, file: Path) -> list[str]:
    """The interpreter in `/path/python "$0" "$@"`, or in uv's relocatable form of it."""
    line = line.replace('"$(dirname -- "$(realpath -- "$0")")"', shlex.quote(str(file.resolve().parent)))
    words = shlex.split(line)
    while words and words[-1] in ("$0", "$@"):
        words.pop()
    return words
