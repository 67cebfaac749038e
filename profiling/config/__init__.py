"""The config file (`oomproof.toml`, or `[tool.oomproof]` of a pyproject.toml) to values, with errors that name the key."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from profiling.config.checks import check_name
from profiling.config.explain import explained
from profiling.config.meaning import DEFAULT_READY, Config, meaning
from profiling.config.tables import ConfigFile, TargetTable, decode
from profiling.errors import ConfigError

__all__ = ["DEFAULT_READY", "FILE_NAME", "Config", "check_name", "find", "of_command", "of_text", "read"]

FILE_NAME = "oomproof.toml"


def find(directory: Path) -> Path | None:
    """The config file of a directory: oomproof.toml, else a pyproject.toml with a [tool.oomproof] table."""
    if (directory / FILE_NAME).is_file():
        return directory / FILE_NAME
    pyproject = directory / "pyproject.toml"
    return pyproject if pyproject.is_file() and "oomproof" in _toml(pyproject).get("tool", {}) else None


def read(path: Path) -> Config:
    """Read a config file. Raises ConfigError with the key's path, what was read and what is allowed."""
    return _of_document(_toml(path), path)


def of_text(text: str, path: Path) -> Config:
    """What `text` would mean if it stood in the file `path`. Raises ConfigError."""
    return _of_document(_parsed(text, path), path)


def _of_document(document: dict[str, Any], path: Path) -> Config:
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("oomproof", {})
    try:
        file = msgspec.convert(document, ConfigFile, dec_hook=decode)
        return meaning(file, path.resolve().parent)
    except msgspec.ValidationError as error:
        raise explained(path, document, str(error)) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: request.queries: {error.filename} cannot be read ({error.strerror})",
            "name a text file, one query a line",
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", "correct it; docs/config.md lists every key") from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path} cannot be read ({reason})", "name a readable config file with --target") from error
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}", "correct the line that is named") from error


def of_command(command: Sequence[str], directory: Path) -> Config:
    """What a bare command line means: the service of `directory`, with the defaults of a config file."""
    return meaning(ConfigFile(target=TargetTable(command=list(command))), directory)
