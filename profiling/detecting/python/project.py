"""What a Python project says of itself: its name, what it depends on, its scripts, its own environment."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from profiling.detecting.directory import Directory

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_FILES = (
    "requirements.txt",
    "requirements/base.txt",
    "requirements/prod.txt",
    "requirements/production.txt",
    "Pipfile",
)
_ENVIRONMENTS = (".venv", "venv", "env")


@dataclass(frozen=True, slots=True)
class Project:
    """`dependencies` by normalised name: the file that names each. `scripts`: name -> `module:function`."""

    name: str | None
    dependencies: dict[str, str]
    scripts: dict[str, str]
    environment: str | None
    """A virtual environment in the directory itself, relative to it."""

    def program(self, directory: Directory, name: str) -> str:
        """A program of the project's own environment where it has one, else as the PATH finds it."""
        own = f"{self.environment}/bin/{name}"
        return own if self.environment and directory.has(own) else name


def read(directory: Directory, place: str = "") -> Project:
    """The project at the root, with what `place`, a directory below it, says before that. What is broken is a problem of
    the directory."""
    here = _read(directory, place)
    if not place:
        return here
    root = _read(directory, "")
    return Project(
        name=here.name or root.name,
        dependencies={**root.dependencies, **here.dependencies},
        scripts=here.scripts or root.scripts,
        environment=here.environment or root.environment,
    )


def _read(directory: Directory, place: str) -> Project:
    document = _pyproject(directory, _at(place, "pyproject.toml"))
    project, poetry = _table(document, "project"), _table(document, "tool", "poetry")
    dependencies: dict[str, str] = {}
    extras = _table(project, "optional-dependencies").values()
    listed = [*_texts(project.get("dependencies")), *(entry for extra in extras for entry in _texts(extra))]
    for line in listed:
        _add(dependencies, line, "pyproject.toml")
    for name in _table(poetry, "dependencies"):
        _add(dependencies, str(name), "pyproject.toml")
    for file in _FILES:
        for line in (directory.text(_at(place, file)) or "").splitlines():
            if not line.lstrip().startswith(("#", "-", "[")):
                _add(dependencies, line.replace('"', ""), file)
    said = project.get("name", poetry.get("name"))
    environments = [_at(place, env) for env in _ENVIRONMENTS]
    scripts = {**_table(poetry, "scripts"), **_table(project, "scripts")}
    return Project(
        name=said if isinstance(said, str) else None,
        dependencies=dependencies,
        scripts={str(key): value for key, value in scripts.items() if isinstance(value, str)},
        environment=next((env for env in environments if directory.has(f"{env}/pyvenv.cfg")), None),
    )


def _at(place: str, file: str) -> str:
    return f"{place}/{file}" if place else file


def _pyproject(directory: Directory, path: str) -> dict[str, Any]:
    text = directory.text(path)
    if text is None:
        return {}
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        directory.problem(path, f"is no TOML: {error}")
        return {}


def _table(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _add(dependencies: dict[str, str], line: str, file: str) -> None:
    match = _REQUIREMENT.match(line)
    if match is None:
        return
    dependencies.setdefault(_normal(match[1]), file)
    extras = {extra.strip().lower() for extra in (match[2] or "").split(",")}
    if _normal(match[1]) == "fastapi" and extras & {"standard", "all"}:
        dependencies.setdefault("uvicorn", file)


def _normal(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
