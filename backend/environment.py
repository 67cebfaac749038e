"""Reading variables of the environment: each is as it must be, or refused in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping


class SettingsError(ValueError):
    """A variable holds a value that is not allowed. The message is one line for the person who set it."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}={value!r} is not allowed: expected {allowed}")


def choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of `allowed`; unset or empty: the default."""
    value = env.get(name) or default
    if value not in allowed:
        raise SettingsError(name, value, "one of " + ", ".join(allowed))
    return value


def switch(env: Mapping[str, str], name: str) -> bool | None:
    """true, false, 1 or 0; None: nobody says."""
    value = env.get(name)
    return choice(env, name, "", ("true", "false", "1", "0")) in ("true", "1") if value else None


def whole_number(env: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """From `low` to `high`; unset or empty: the default."""
    value = env.get(name)
    if not value:
        return default
    # int() alone would also take " 8", "+8", "1_000" and digits of other scripts.
    if re.fullmatch(r"[0-9]{1,9}", value) is None or not low <= int(value) <= high:
        raise SettingsError(name, value, f"a whole number from {low} to {high}")
    return int(value)
