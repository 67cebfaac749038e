"""What large libraries cost, by the recorder and by what a bare interpreter sees of itself in /proc."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import run_cli

pytestmark = pytest.mark.e2e

_BARE = """
def held():
    with open("/proc/self/smaps_rollup") as file:
        sizes = dict(line.split()[:2] for line in file.read().splitlines()[1:])
    return int(sizes["Anonymous:"]) * 1024
held()
before = held()
import {module}
print(held() - before)
"""


def recorded(module: str, python: str, directory: Path) -> int:
    done = run_cli(
        "imports", module, "--python", python, "--sandbox", "cgroup", "--json", "--repeats", "1", "--no-cold",
        "--lazy", "0", "--out", str(directory),
        cwd=directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    size: int = json.loads(done.stdout)["total_anon_bytes"]
    return size


def seen(module: str, python: str) -> int:
    done = subprocess.run([python, "-c", _BARE.format(module=module)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("module", ["torch", "transformers.models.bert.modeling_bert"])
def test_the_backends_libraries(module: str, tmp_path: Path) -> None:
    assert recorded(module, sys.executable, tmp_path) == pytest.approx(seen(module, sys.executable), rel=0.05)


def test_a_library_in_an_environment_of_its_own(services_python: str, tmp_path: Path) -> None:
    """Not in ours: it brings what transformers would load as well."""
    module = "rapidocr_onnxruntime"
    assert recorded(module, services_python, tmp_path) == pytest.approx(seen(module, services_python), rel=0.05)
