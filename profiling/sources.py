"""Whose code a file is, by its path, and a name for it that is the same in another checkout or environment."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STANDARD_ROOTS = r"lib(?:64)?/(?:python|pypy)\d[\d.]*t?|python\d+\.zip"
_PACKAGE_ROOTS = r"site-packages|dist-packages|__pypackages__"
LIBRARY = re.compile(f"/({_STANDARD_ROOTS}|{_PACKAGE_ROOTS})/")
"""In the path of whatever belongs to an interpreter or was installed for it."""
SCRIPT = re.compile(r"/(bin|Scripts)/[^/.]+$")
"""The console scripts of installed packages: `bin/gunicorn`."""
WITHOUT_FILE = ("<string>", "<stdin>")
"""Code that was given as text: `python -c`, exec."""

_LAUNCHER = re.compile(r"(^/oomproof|/measuring/capture)/launcher\.py$")  # ours, on this machine and in a container
_STANDARD = re.compile(f"^.*/(?:{_STANDARD_ROOTS})/")
_PACKAGES = re.compile(f"^.*/(?:{_PACKAGE_ROOTS})/(?:[\\d.]+/lib/)?")  # PEP 582 has two more levels

PYTHON = "python"
"""The interpreter and its standard library, as a package."""
OWN, OWN_BY_GUESS, TEXT, PACKAGE, STANDARD, INTERPRETER = 5, 4, 3, 2, 1, 0
"""Ranks of code: the higher, the more it is the user's own."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source file."""

    name: str
    """Relative to where code of its kind lies: `app.py`, `site-packages/torch/serialization.py`, `lib/python/json/decoder.py`,
    `bin/gunicorn`; a file of the user's own that lies below none of the roots keeps its path."""
    package: str | None
    """The top-level package that it belongs to; None: the user's own code."""
    rank: int


def source(file: str, roots: tuple[str, ...] = ()) -> Source:
    """What `file` is. `roots`: absolute directories of the user's own code."""
    if file.startswith("<") or not file:
        text = file in WITHOUT_FILE
        return Source(file, None if text else PYTHON, TEXT if text else INTERPRETER)
    if library := _library(file):
        return library
    for root in roots:
        if file.startswith(f"{root.rstrip('/')}/"):
            return Source(file[len(root.rstrip("/")) + 1 :], None, OWN)
    return Source(file, None, OWN_BY_GUESS)


def _library(file: str) -> Source | None:
    """What belongs to an interpreter or was installed for it, and what is ours; None: neither."""
    if found := _PACKAGES.match(file):
        rest = file[found.end() :]
        return Source(f"site-packages/{rest}", rest.partition("/")[0].removesuffix(".py"), PACKAGE)
    if found := _STANDARD.match(file):
        return Source(f"lib/python/{file[found.end() :]}", PYTHON, STANDARD)
    name = file.rpartition("/")[2]
    if SCRIPT.search(file):
        return Source(f"bin/{name}", name, PACKAGE)
    return Source(f"oomproof/{name}", "oomproof", PACKAGE) if _LAUNCHER.search(file) else None
