"""What the pages about examples and platforms show, and how a command of theirs is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import sysconfig
from pathlib import Path
from typing import Any

from tests.helpers import ROOT, run_cli

EXAMPLES = ROOT / "examples"
NAMES = ("fastapi", "flask", "django", "node")
FRAMEWORKS = ROOT / "docs" / "frameworks"
PLATFORMS = ROOT / "docs" / "platforms"

WITH_TOOLS = {"PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))}
"""As in a shell in which the environment is active: a service's own command is found there."""


def shown(page: Path) -> list[tuple[str, str]]:
    """(directory below the root, command) of each command line in a page's console blocks, by the `cd` before it."""
    found, directory = [], "."
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            if line.startswith("cd "):
                directory = line.removeprefix("cd ")
            else:
                found.append((directory, line))
    return found


def fences(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def words_of(command: str) -> list[str]:
    """What follows `python ../../cli.py`."""
    python, cli, *words = shlex.split(command)
    assert (python, Path(cli).name) == ("python", "cli.py"), command
    return words


def run(directory: Path, command: str, out: Path, *more: str, **env: str) -> tuple[int, dict[str, Any]]:
    """Run a page's command in `directory`, with `more` options: (exit code, the JSON document)."""
    words = words_of(command)
    end = words.index("--") if "--" in words else len(words)
    options = ["--json", "--sandbox", "cgroup", "--out", str(out), *more]
    done = run_cli(*words[:end], *options, *words[end:], cwd=directory, **{**WITH_TOOLS, **env})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in document["checks"]}


def check(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(point for point in document["checks"] if point["id"] == name)
    return found
