"""For all tests: no property fails because a shared machine was slow for a moment; one environment with the services."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import settings

from profiling import reference

settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def services_python() -> str:
    """The interpreter of the environment that `make services` makes; made here where it is not up to date."""
    stamp = reference.SERVICES_PYTHON.parents[1] / ".stamp"
    sources = [reference.ROOT / name for name in ("pyproject.toml", "scripts/services.sh")]
    if not stamp.is_file() or any(source.stat().st_mtime > stamp.stat().st_mtime for source in sources):
        environment = {**os.environ, "VENV": str(reference.ROOT / ".venv")}
        subprocess.run(["sh", "scripts/services.sh"], cwd=reference.ROOT, env=environment, check=True, timeout=900)
        stamp.touch()
    return str(reference.SERVICES_PYTHON)
