"""How we start modules of ours as processes of their own: light, and with our root on *their* path only."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The directory that holds `profiling`, `loadtests` and `backend`: a checkout, or site-packages."""


def command(module: str, *arguments: str) -> list[str]:
    """A command that runs `module` without site-packages (-S): standard library and our own light modules only."""
    return [sys.executable, "-S", "-m", module, *arguments]


def full_command(module: str, *arguments: str) -> list[str]:
    """A command that runs `module` with what is installed beside the tool."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Our environment with ROOT as the module path, nothing else on it, and no bytecode written."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}


def go_first() -> None:
    """Have this process scheduled ahead of the service and the load, as far as the machine allows: real time, else nice."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.nice(-10)
