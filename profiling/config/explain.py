"""msgspec's errors with the path of the key, what stands there, and the nearest known name."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from profiling.config.tables import known_keys
from profiling.errors import ConfigError

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `\$(?P<place>[^`]*)`)?")
_STEP = re.compile(r"\.[^.\[]+|\[[^\]]*\]")
_AT = re.compile(r"(?P<what>.*) - at `\$(?P<place>[^`]*)`", re.DOTALL)


def explained(path: Path, document: dict[str, Any], message: str) -> ConfigError:
    """msgspec's message with the key's path, what stands there, and the nearest known name."""
    if match := _UNKNOWN.fullmatch(message):
        place, _ = _locate(document, match["place"] or "", unknown=match["key"])
        key = f"{place}.{match['key']}".lstrip(".")
        known = sorted(known_keys(place))
        near = difflib.get_close_matches(match["key"], known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return ConfigError(f"{path}: unknown key {key!r}", f"{hint}Allowed there: {', '.join(known)}")
    if match := _AT.fullmatch(message):
        place, read = _locate(document, match["place"])
        shown = "" if read is None else f" (read: {read!r})"
        return ConfigError(
            f"{path}: {place}: {match['what']}{shown}", "correct that key; docs/config.md lists every one"
        )
    return ConfigError(f"{path}: {message}", "correct it; docs/config.md lists every key")


def _locate(document: dict[str, Any], place: str, unknown: str | None = None) -> tuple[str, Any]:
    """The full path behind msgspec's, and what stands there. msgspec writes `[...]` for a key of a free-form table:
    the first key is meant whose value cannot be right there, which is what it stopped at as well."""
    path: list[str] = []
    value: Any = document
    steps = _STEP.findall(place)
    for number, step in enumerate(steps):
        name = step.lstrip(".")
        if step == "[...]" and isinstance(value, dict):
            rest = steps[number + 1 :]
            only = next(iter(value)) if len(value) == 1 else "..."
            name = next((key for key, entry in value.items() if _is_wrong(entry, rest, unknown)), only)
        elif step.startswith("["):
            name = step[1:-1]
        path.append(name)
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            value = None
    return "".join(f"[{name}]" if name.isdecimal() else f".{name}" for name in path).lstrip("."), value


def _is_wrong(value: Any, rest: list[str], unknown: str | None) -> bool:
    """Whether the walk that stopped further on could have gone through `value`."""
    for step in rest:
        name = step.lstrip(".")
        if not isinstance(value, dict):
            return False
        if step == "[...]":
            return any(_is_wrong(entry, rest[rest.index(step) + 1 :], unknown) for entry in value.values())
        value = value.get(name)
    if unknown is not None:
        return isinstance(value, dict) and unknown in value
    return value is not None and not isinstance(value, str) and (not isinstance(value, dict) or not rest)
