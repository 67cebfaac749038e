"""The port of a command line. The tool chooses it, so a service must listen where `{port}` or PORT says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_VARIABLE = re.compile(r"\$\{PORT(?::?-(?P<otherwise>\d{1,5}))?\}|\$PORT\b")
_OPTION = re.compile(r"(?P<option>--(?:http-|listen-)?port|-p|-P)=?(?P<port>\d{2,5})?")
_ADDRESS = re.compile(
    r"(?P<before>(?:(?:--\w[\w-]*=|-b)?(?:\[[0-9a-fA-F:]*\]|\*|localhost|\d{1,3}(?:\.\d{1,3}){3})?):)(?P<port>\d{2,5})"
)
_TAKES_AN_ADDRESS = frozenset({"-b", "--bind", "--listen", "--http", "runserver", "--http-socket", "--socket"})
_NEEDS_A_SHELL = re.compile(r"[$`&|;<>()*?~#\n]")


def words_of(line: str) -> tuple[str, ...] | None:
    """The words of a shell's command line whose only variable is PORT, with `{port}` in its place; None where only a shell
    can read it."""
    filled = _VARIABLE.sub("{port}", line.strip().removeprefix("exec "))
    if _NEEDS_A_SHELL.search(filled):
        return None
    try:
        return tuple(shlex.split(filled)) or None
    except ValueError:
        return None


def without_shell(words: Sequence[str]) -> tuple[str, ...]:
    """`sh -c "exec gunicorn --bind :$PORT"` as `gunicorn --bind :{port}`: the same program, and no shell is needed."""
    shell = len(words) == 3 and words[0].rpartition("/")[2] in ("sh", "bash") and words[1] in ("-c", "-lc")
    return (words_of(words[2]) if shell else None) or tuple(words)


def uses_port(words: Sequence[str]) -> bool:
    """Whether the command line says where to listen by our port."""
    return any("{port}" in word or re.search(r"\$\{?PORT\b", word) for word in words)


def told_the_port(words: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The command line so that the service listens on our port, and what was changed ("": nothing)."""
    if uses_port(words):
        return tuple(words), ""
    changed, port = on_our_port(words)
    if port is not None:
        return changed, f"with {{port}} in place of {port}"
    added = next((options for names, options in _IGNORE_PORT if _runs(words, names)), ())
    if not added:
        return tuple(words), ""
    return (*words, *added), f"with {' '.join(added)}, since {_program(words)} does not read PORT"


_IGNORE_PORT: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("uvicorn",), ("--host", "{host}", "--port", "{port}")),
    (("hypercorn",), ("--bind", "{host}:{port}")),
    (("daphne",), ("-b", "{host}", "-p", "{port}")),
    (("waitress-serve",), ("--listen={host}:{port}",)),
    (("flask", "run"), ("--host", "{host}", "--port", "{port}")),
    (("fastapi", "run"), ("--host", "{host}", "--port", "{port}")),
    (("streamlit", "run"), ("--server.port={port}",)),
    (("manage.py", "runserver"), ("{host}:{port}",)),
)
"""Servers that listen on a port of their own where nothing else is said. gunicorn reads PORT."""


def _runs(words: Sequence[str], names: tuple[str, ...]) -> bool:
    """Whether the command line starts this program (with this subcommand), as such or by `python -m`."""
    return _program(words) == names[0] and set(names[1:]) <= set(words)


def _program(words: Sequence[str]) -> str:
    """The program that counts: what an interpreter is told to run."""
    name = words[0].rpartition("/")[2] if words else ""
    if not re.fullmatch(r"python[\d.]*", name):
        return name
    rest = [word for word in words[1:] if word == "-m" or not word.startswith("-")]
    return (rest[1] if rest[:1] == ["-m"] and len(rest) > 1 else (rest or [""])[0]).rpartition("/")[2]


def on_our_port(words: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The command line with `{port}` in place of a fixed port, and that port; as it is, and None, where it has none."""
    if uses_port(words):
        return tuple(words), None
    changed = list(words)
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        option = _OPTION.fullmatch(before)
        if option and not option["port"] and re.fullmatch(r"\d{2,5}", word):
            changed[number] = "{port}"
            return tuple(changed), word
        match = _OPTION.fullmatch(word)
        if match and match["port"] and match["option"].startswith("--"):
            changed[number] = f"{match['option']}={{port}}"
            return tuple(changed), match["port"]
        address = _ADDRESS.fullmatch(word)
        if address and (address["before"] != ":" or before in _TAKES_AN_ADDRESS):
            changed[number] = f"{address['before']}{{port}}"
            return tuple(changed), address["port"]
    return tuple(words), None
