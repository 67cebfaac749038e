"""Whether two revisions install something different, and an environment of its own for each where they do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from profiling.errors import SetupError
from profiling.measuring.revisions import Commit, Repository
from profiling.measuring.sandboxes import tree

_NAMED = re.compile(
    r"(?:requirements|constraints)[\w.-]*\.(?:txt|in)|[\w.-]+\.lock|Pipfile|setup\.(?:py|cfg)|package(?:-lock)?\.json|"
    r"npm-shrinkwrap\.json|pnpm-lock\.yaml|environment\.ya?ml|pylock[\w.-]*\.toml|\.python-version|\.tool-versions"
)
"""Files that say what is installed, beside pyproject.toml, of which only a part does."""
_IN_PLACE = (".venv", "venv", "env", "node_modules")
_INSTALLS = ("project", "build-system", "dependency-groups")
_INSTALLERS = ("poetry", "pdm", "uv", "hatch", "setuptools", "flit")
_LAST_LINES = 3


def differing(repository: Repository, commit: Commit, changed: Sequence[str]) -> tuple[str, ...]:
    """Those of the changed files that make what is installed differ."""
    return tuple(name for name in changed if _installs(repository, commit, name))


def _installs(repository: Repository, commit: Commit, name: str) -> bool:
    file = PurePosixPath(name).name
    if file != "pyproject.toml":
        return bool(_NAMED.fullmatch(file))
    now = repository.root / name
    here = now.read_text(encoding="utf-8", errors="replace") if now.is_file() else None
    return _of_pyproject(repository.text(commit, name)) != _of_pyproject(here)


def _of_pyproject(text: str | None) -> object:
    """What of a pyproject.toml is for installers; the text itself where it is none."""
    if text is None:
        return None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return text
    tools = document.get("tool", {})
    return [document.get(key) for key in _INSTALLS], [tools.get(key) for key in _INSTALLERS]


def share_environments(root: Path, worktree: Path, places: Sequence[str]) -> None:
    """Let a checkout without an environment of its own have the working tree's: `.venv`, `node_modules` and the like, which
    no commit holds. `places`: directories relative to the root, in which they may lie."""
    for place in dict.fromkeys(("", *places)):
        for name in _IN_PLACE:
            here, there = root / place / name, worktree / place / name
            if here.is_dir() and there.parent.is_dir() and not os.path.lexists(there):
                there.symlink_to(here.resolve(), target_is_directory=True)


def install(commands: Sequence[str], directory: Path, environment: Path) -> dict[str, str]:
    """Make a virtual environment and run the commands with it first on PATH; the variables that put it there.

    Raises SetupError with the end of what the command that failed said.
    """
    python = shutil.which("python3") or sys.executable
    _run(
        [python, "-m", "venv", str(environment)], directory, dict(os.environ), "install the venv module of that Python"
    )
    path = os.pathsep.join((str(environment / "bin"), os.environ.get("PATH", os.defpath)))
    # uv installs into `.venv` beside the project, whatever is active, unless it is told so.
    env = {"PATH": path, "VIRTUAL_ENV": str(environment), "UV_PROJECT_ENVIRONMENT": str(environment)}
    for command in commands:
        _run(["sh", "-c", command], directory, {**os.environ, **env}, "see that it runs by itself in a new environment")
    return env


def _run(argv: Sequence[str], directory: Path, env: dict[str, str], hint: str) -> None:
    started = subprocess.Popen(
        argv,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        said, _ = started.communicate()
    except BaseException:
        tree.end_with_descendants(started.pid)
        raise
    if started.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()][-_LAST_LINES:]
        what = argv[-1] if argv[0] == "sh" else " ".join(argv)
        raise SetupError(f"setup in {directory}: {what!r} failed: {' | '.join(lines) or 'it said nothing'}", hint)
