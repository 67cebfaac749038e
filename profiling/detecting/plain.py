"""Text of somebody else's as it can stand in one line, and values as TOML writes them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from profiling.manifests.secrets import NOT_SHOWN, looks_secret, redacted_words

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_LINE = 200


def one_line(text: str, most: int = _LONGEST_LINE) -> str:
    """`text` on one line, without control characters (a comment ends where its line does) and without what looks like a
    secret."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    shown = " ".join(redacted_words(plain.split(" "))).strip()
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def shows_secrets(value: Any) -> bool:
    """Whether some text in `value` (words, tables, plain values) looks like a secret."""
    if isinstance(value, str):
        return redacted_words(value.split()) != tuple(value.split()) or looks_secret("", value)
    if isinstance(value, Mapping):
        return any(looks_secret(str(key), str(entry)) or shows_secrets(entry) for key, entry in value.items())
    if isinstance(value, Sequence):
        words = [str(word) for word in value]
        return NOT_SHOWN in redacted_words(words) or any(map(shows_secrets, value))
    return False


def toml(value: Any) -> str:
    """`value` as TOML writes it on one line. Tables are inline ones. Raises ValueError for what TOML cannot hold (nothing,
    and text that is no Unicode)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(str(key))} = {toml(entry)}" for key, entry in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml, value))}]"
    raise ValueError(f"TOML has no value for {value!r}")


def toml_key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    """A basic string: JSON's escapes are among TOML's, which wants DEL escaped as well."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is no Unicode") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)
