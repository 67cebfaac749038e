from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from profiling.errors import CannotRunError, DataError
from profiling.measuring.capture import unfit
from profiling.measuring.capture.cost import tracker_cost_bytes
from profiling.measuring.capture.place import file_system

from .programs import PYTHON, alone, here, interpreter, write


def test_launcher_costs_less_than_half_of_memray_run(tmp_path: Path) -> None:
    """Bytes, not times: the same to a few pages wherever it is measured."""
    tell = write(
        tmp_path / "tell.py",
        """
        for line in open('/proc/self/smaps_rollup'):
            if line.startswith('Anonymous:'):
                print(int(line.split()[1]) * 1024)
        """,
    )
    bare = int(alone([PYTHON, str(tell)], tmp_path).stdout)
    run = [PYTHON, "-m", "memray", "run", "-q", "-o", "run.bin", "--follow-fork", str(tell)]
    memray_run = int(alone(run, tmp_path).stdout) - bare
    ours = tracker_cost_bytes(interpreter(), here([]))
    assert 0 < ours < memray_run / 2
    assert ours < 25_000_000


def test_cost_that_cannot_be_measured_says_why() -> None:
    with pytest.raises(CannotRunError, match="No module named 'memray'"):
        tracker_cost_bytes(interpreter("-I", "-S"), here([]))


def test_another_versions_captures_are_found_out_beforehand(tmp_path: Path) -> None:
    """As the target's interpreter ends, the version in the head is changed to what an older memray writes."""
    write(
        tmp_path / "sitecustomize.py",
        """
        import atexit, sys

        def older(path):
            with open(path, 'r+b') as file:
                file.seek(7)
                file.write(b'\\x02')

        if '--output' in sys.orig_argv:
            atexit.register(older, sys.orig_argv[sys.orig_argv.index('--output') + 1])
        """,
    )
    with pytest.raises(DataError, match="incompatible"):
        tracker_cost_bytes(interpreter(), here([], PYTHONPATH=str(tmp_path)), rounds=1)


def test_capture_in_memory_is_refused(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if file_system(memory) != "tmpfs":
        pytest.skip("a tmpfs at /dev/shm")
    assert "in memory (tmpfs)" in (unfit(memory) or "")
    assert file_system(tmp_path) not in (None, "tmpfs")
    assert unfit(tmp_path) is None
    (tmp_path / "link").symlink_to(memory)
    assert "in memory" in (unfit(tmp_path / "link") or "")


def test_importing_the_package_imports_no_memray() -> None:
    code = "import sys, profiling.measuring.capture; print([n for n in sys.modules if n.startswith('memray')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
