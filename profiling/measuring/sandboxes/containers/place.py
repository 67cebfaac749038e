"""What of ours a container sees in a memray pass, and where: the launcher, a memray, the run's directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from profiling.measuring.capture import LAUNCHER

SITE = "/oomproof/site"
_LAUNCHER = "/oomproof/launcher.py"
_RUN = "/oomproof/run"


def mounts(run_directory: Path, memray: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Bind mounts in the SDK's form. Only the run's directory can be written to. `memray`: what SITE is to hold."""
    places = {str(LAUNCHER): (_LAUNCHER, "ro"), str(run_directory): (_RUN, "rw")}
    places |= {str(part): (f"{SITE}/{part.name}", "ro") for part in memray}
    return {source: {"bind": target, "mode": mode} for source, (target, mode) in places.items()}


def seen(path: Path, run_directory: Path) -> str:
    """Where a file of this machine stands in the container."""
    if path == LAUNCHER:
        return _LAUNCHER
    return f"{_RUN}/{path.absolute().relative_to(run_directory)}"
