"""The world in which a service's command will run, looked at beforehand: this machine, or a container image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Interior(Protocol):
    """Paths are those of the world in question, except where it says otherwise."""

    @property
    def command(self) -> tuple[str, ...]:
        """What will run there."""

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment in which it will run."""

    @property
    def directory(self) -> str:
        """Its working directory, absolute."""

    def memray_site(self, interpreter: str) -> str | None:
        """A directory with a memray for that interpreter, to be used where it has none of its own; None: there is none."""

    def executable(self, path: str) -> bool:
        """Whether there is such a file, relative paths from the working directory, and it may be executed."""

    def head(self, path: str, size: int) -> bytes:
        """The first bytes of a file. Raises OSError."""

    def real(self, path: str) -> str:
        """The path with symbolic links followed."""

    def run(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end. Raises OSError if it cannot be started, subprocess.TimeoutExpired."""

    def seen(self, path: Path) -> str:
        """Where a file of this machine that is shared with the world (a capture, our launcher) is seen there."""


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The world in which the tool itself lives."""

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    directory: str = "."
    site: str | None = None

    def memray_site(self, interpreter: str) -> str | None:
        return self.site

    def executable(self, path: str) -> bool:
        full = Path(self.directory, path)
        return full.is_file() and os.access(full, os.X_OK)

    def head(self, path: str, size: int) -> bytes:
        with Path(self.directory, path).open("rb") as file:
            return file.read(size)

    def real(self, path: str) -> str:
        return os.path.realpath(Path(self.directory, path))

    def run(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            env=self.environ, cwd=self.directory, timeout=timeout_s,
        )  # fmt: skip

    def seen(self, path: Path) -> str:
        return str(path.absolute())
