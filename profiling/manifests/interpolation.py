"""Compose's `${NAME}` in values. Only what the file itself says is filled in, never the environment of whoever measures:
the same file means the same service everywhere.

Source: https://docs.docker.com/reference/compose-file/interpolation/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?::?-(?P<default>[^{}$]*))?\})"
)
_ANY = re.compile(r"\$(?:\$|[A-Za-z_{])")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Text that depends on a variable for which the file has no default."""

    text: str

    def __repr__(self) -> str:
        return repr(self.text)


def filled_in(value: Any) -> Any:
    """`value` with every text in it filled in, or Unresolved in its place."""
    if isinstance(value, dict):
        return {key: filled_in(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled_in(entry) for entry in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str | Unresolved:
    parts, end = [], 0
    while found := _ANY.search(text, end):
        match = _REFERENCE.match(text, found.start())
        if match is None or not (match["dollar"] or match["default"] is not None):
            return Unresolved(text)
        parts += [text[end : found.start()], "$" if match["dollar"] else match["default"]]
        end = match.end()
    return "".join([*parts, text[end:]])
