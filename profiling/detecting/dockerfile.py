"""A Dockerfile: what its last stage runs, on which port, and what its health check asks for.

Source: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re

from profiling.detecting.findings import Launch
from profiling.detecting.plain import shows_secrets
from profiling.detecting.ports import told_the_port, without_shell, words_of

_URL = re.compile(r"https?://[^/\s\"'?]+(/[!-&(-~]*)?")


def read(text: str, name: str) -> Launch:
    """How to build and start it. A command only where the image's own would not listen on our port."""
    entrypoint = command = ready = None
    port_read = False
    for keyword, rest in _instructions(text):
        if keyword == "FROM":
            entrypoint = command = ready = None
        elif keyword == "CMD":
            command = _words(rest)
        elif keyword == "ENTRYPOINT":
            entrypoint, command = _words(rest), None
        elif keyword == "HEALTHCHECK" and (match := _URL.search(rest)):
            ready = (match[1] or "/").rstrip("\"'],|;)")
        port_read = port_read or bool(keyword in ("CMD", "ENTRYPOINT") and re.search(r"\$\{?PORT\b", rest))
    words = (*(entrypoint or ()), *(command or ()))
    source = f"from {name}"
    if not words or port_read or (entrypoint is None and command is None):
        notes = (
            () if words or port_read else (f"{name} says in a way that only a shell can read what runs, or not at all",)
        )
        return Launch(source=source, dockerfile=name, ready=ready, notes=notes)
    changed, how = told_the_port(words)
    if not how:
        return Launch(source=source, dockerfile=name, ready=ready)
    if shows_secrets(changed):
        note = (
            f"{name} starts it on a fixed port, and its command holds what looks like a secret: make it listen on PORT"
        )
        return Launch(source=source, dockerfile=name, ready=ready, notes=(note,))
    return Launch(source=f"{source}, {how}", dockerfile=name, command=changed, ready=ready)


def _instructions(text: str) -> list[tuple[str, str]]:
    """(keyword in capitals, the rest) of each instruction, continued lines joined, comments left out."""
    found: list[tuple[str, str]] = []
    line = ""
    for raw in text.splitlines():
        stripped = raw.strip()
        if stripped.startswith("#") or (line and not stripped):
            continue
        line += stripped
        if line.endswith("\\"):
            line = line[:-1] + " "
            continue
        keyword, _, rest = line.partition(" ")
        if keyword:
            found.append((keyword.upper(), rest.strip()))
        line = ""
    return found


def _words(rest: str) -> tuple[str, ...] | None:
    """The words of a CMD or ENTRYPOINT in either form; None where only a shell can read them."""
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except (ValueError, RecursionError):
            return None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return None
        return without_shell(words) if words else ()
    return words_of(rest)
