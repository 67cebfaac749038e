"""Heroku's `app.json` and `Procfile`, which stand side by side.

Sources: https://devcenter.heroku.com/articles/app-json-schema, https://devcenter.heroku.com/articles/procfile
"""

from __future__ import annotations

import re

from profiling.manifests.catalogue import Catalogue
from profiling.manifests.documents import load_json
from profiling.manifests.node import Node, environment
from profiling.manifests.service import ManifestService
from profiling.manifests.words import shell_words

_LINE = re.compile(r"\s*([\w-]+)\s*:\s*(\S.*)", re.ASCII)
_NO_SERVICE = "release"


def read(
    text: str, file: str, catalogue: Catalogue, *, procfile: str = "", procfile_name: str = "Procfile"
) -> tuple[ManifestService, ...]:
    """One service per process type that `formation` or the Procfile names. `text` is app.json's; empty: there is none.
    Raises ManifestError."""
    root = load_json(text, file) if text else Node(None, file)
    formation = dict(root["formation"].items())
    commands = _commands(procfile, procfile_name)
    env, left_out = _env(root["env"])
    services = []
    for name in [*formation, *(name for name in commands if name not in formation)]:
        size = formation.get(name, Node(None, file, f"formation.{name}"))["size"]
        plan = catalogue.named("heroku", size)
        notes = (
            catalogue.note("heroku")
            if plan
            else (f"{name} has no dyno size; app.json's formation.{name}.size says it",)
        )
        services.append(
            ManifestService(
                name=name,
                platform="heroku",
                memory_bytes=plan.memory_bytes if plan else None,
                cpus=plan.cpus if plan else None,
                env=env,
                left_out_env=left_out,
                command=shell_words(commands[name]) if name in commands else None,
                plan=plan.name if plan else None,
                where=size.path,
                notes=notes,
            )
        )
    return tuple(services)


def _commands(procfile: str, file: str) -> dict[str, Node]:
    """The commands of the process types that stay: `release` runs before a deploy and ends."""
    commands = {}
    for number, line in enumerate(procfile.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            Node(line, file, f"line {number}").refuse("is no process type with its command, like web: gunicorn app:app")
        if match[1] != _NO_SERVICE:
            commands[match[1]] = Node(match[2], file, match[1])
    return commands


def _env(table: Node) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values that stand in the file, and the names of those that are generated or asked for."""
    pairs, left_out = [], []
    for name, entry in table.items():
        value = entry["value"] if isinstance(entry.value, dict) else entry
        if value and not (isinstance(entry.value, dict) and entry["generator"]):
            pairs.append((name, value))
        else:
            left_out.append(name)
    return environment(iter(pairs)), tuple(left_out)
