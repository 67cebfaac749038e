"""A memray for an image that has none: the tool's own where the Python is the same, else one that pip fetches.

It is always the tool's own version of memray, so that its captures can be read here.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_NEEDS = "typing_extensions"
"""The one module that memray imports beside those of rich, which the launcher stands in for."""
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
_TIMEOUT_S = 300


def memray_for(python: str) -> Sequence[Path]:
    """Files and directories to lie side by side on the module path of a CPython `python`, such as "3.12".

    Empty where there is none: no wheel, no pip, no network. What pip fetches is kept in the user's cache.
    """
    if python == ".".join(map(str, sys.version_info[:2])):
        return _own()
    kept = _cache() / f"memray-{metadata.version('memray')}-cp{python.replace('.', '')}"
    if not kept.is_dir() and not _fetch(python, kept):
        return ()
    return sorted(kept.iterdir())


def _own() -> list[Path]:
    memray, needed = (importlib.util.find_spec(name) for name in ("memray", _NEEDS))
    if memray is None or memray.origin is None:
        return []
    package = Path(memray.origin).parent
    parts = [package, package.with_name("memray.libs")]
    if needed is not None and needed.origin is not None:
        parts.append(Path(needed.origin))
    return [part for part in parts if part.exists()]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "oomproof"


def _fetch(python: str, kept: Path) -> bool:
    """Whether pip brought it. What is not complete is never kept."""
    machine = platform.machine()
    wanted = [f"--platform={name}_{machine}" for name in _PLATFORMS]
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".oomproof-", dir=kept.parent) as scratch:
            place = Path(scratch) / "site"
            subprocess.run(
                [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps",
                 "--only-binary=:all:", f"--python-version={python}", *wanted, f"--target={place}",
                 f"memray=={metadata.version('memray')}", _NEEDS],
                check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S,
            )  # fmt: skip
            for beside in place.glob("*.dist-info"):
                shutil.rmtree(beside)
            place.chmod(0o755)
            place.rename(kept)
    except (OSError, subprocess.SubprocessError):
        return kept.is_dir()  # perhaps another run of ours was quicker
    return True
