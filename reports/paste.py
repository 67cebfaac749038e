"""The best settings in the forms in which people keep them: variables, a command, lines of a Dockerfile, a file."""

from __future__ import annotations

import shlex

from profiling.advice.applying import PLACE
from profiling.levers import LeversJudgement


def blocks(found: LeversJudgement) -> tuple[tuple[str, str], ...]:
    """(heading, text) of each; none where nothing saves."""
    best = found.best
    if best is None:
        return ()
    parts = []
    if best.env:
        parts.append(("Environment", "\n".join(f"{name}={_value(value)}" for name, value in best.env.items())))
    if best.command:
        parts.append(("Command", shlex.join(word.replace(f"{PLACE}/", "") for word in best.command)))
    for name, text in best.files.items():
        parts.append((name, text.rstrip("\n")))
    lines = [*best.dockerfile, *(f"ENV {name}={_value(value)}" for name, value in best.env.items())]
    if lines:
        parts.append(("Dockerfile", "\n".join(lines)))
    return tuple(parts)


def _value(value: str) -> str:
    """As a shell, an env file and a Dockerfile read it."""
    return value if shlex.quote(value) == value else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
