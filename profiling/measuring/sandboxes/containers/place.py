"""What of ours a container sees in a memray pass, and where: the launcher, this tool's memray, the run's directory."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from profiling.measuring.capture import LAUNCHER

SITE = "/oomproof/site"
_LAUNCHER = "/oomproof/launcher.py"
_RUN = "/oomproof/run"


def mounts(run_directory: Path) -> dict[str, dict[str, str]]:
    """Bind mounts in the SDK's form. Only the run's directory can be written to."""
    places = {str(LAUNCHER): (_LAUNCHER, "ro"), str(run_directory): (_RUN, "rw")}
    for part in _memray_parts():
        places[str(part)] = (f"{SITE}/{part.name}", "ro")
    return {source: {"bind": target, "mode": mode} for source, (target, mode) in places.items()}


def seen(path: Path, run_directory: Path) -> str:
    """Where a file of this machine stands in the container."""
    if path == LAUNCHER:
        return _LAUNCHER
    return f"{_RUN}/{path.absolute().relative_to(run_directory)}"


def _memray_parts() -> list[Path]:
    """memray's package, the libraries that its wheel brings along, and the one module that it needs beside them (what it
    needs of rich, the launcher stands in for)."""
    memray, extensions = (importlib.util.find_spec(name) for name in ("memray", "typing_extensions"))
    if memray is None or memray.origin is None:
        return []
    package = Path(memray.origin).parent
    parts = [package, package.with_name("memray.libs")]
    if extensions is not None and extensions.origin is not None:
        parts.append(Path(extensions.origin))
    return [part for part in parts if part.exists()]
