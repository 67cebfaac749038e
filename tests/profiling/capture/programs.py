"""Runs small real programs, alone and under the launcher."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from profiling.measuring.capture.command import PythonProgram, python_program
from profiling.measuring.interior import ThisMachine

PYTHON = sys.executable
SCRIPTS = Path(PYTHON).parent
"""Where the console scripts of this environment lie: gunicorn's, memray's."""


def environ(**more: str) -> dict[str, str]:
    """An environment in which this one's console scripts are found, and nothing of ours is on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", **more}


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text).lstrip("\n"))
    return file


def alone(command: Sequence[str], directory: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=directory, env=environ(**env), timeout=60
    )


def here(command: Sequence[str], directory: Path | str = ".", **env: str) -> ThisMachine:
    return ThisMachine(tuple(command), environ(**env), str(directory))


def interpreter(*options: str, path: str = PYTHON) -> PythonProgram:
    """A Python program of which only the interpreter matters."""
    return PythonProgram(path, options, ())


def tracked_command(command: Sequence[str], directory: Path, capture: Path, **env: str) -> list[str]:
    interior = here(command, directory, **env)
    return python_program(interior).tracked(capture, interior)


def tracked(command: Sequence[str], directory: Path, capture: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return alone(tracked_command(command, directory, capture, **env), directory, **env)


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Path]:
    """A v1 memory cgroup with swap off below this process's own; yields its directory. Made by root only."""
    own = next(
        line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line
    )
    group = Path(f"/sys/fs/cgroup/memory{own}/oomproof-dev-capture-{os.getpid()}")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        (group / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
        yield group
    finally:
        group.rmdir()


def why_no_cgroup() -> str | None:
    if os.geteuid() != 0:
        return "root"
    if not os.access("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", os.W_OK):
        return "the v1 memory controller with swap accounting"
    return None
