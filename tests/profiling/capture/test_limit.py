"""Recording ends before a capture outgrows its limit or its disk, and the program goes on as if nothing had been."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.measuring.capture import captures, ended_cleanly, ended_early
from profiling.measuring.capture.command import python_program
from profiling.measuring.capture.reading import choose, held_in

from .programs import alone, here, write

LIMIT = 2**20

# Allocates until its own capture is at an end, then says who it is and what it sees of itself.
PROGRAM = """
    import os, signal, sys, threading, time

    def until_ended(path):
        number = 0
        while not os.path.exists(path + ".ended"):
            number += 1
            for _ in range(200):
                bytearray(600 + number % 7 * 16)

    path = sys.argv[1]
    kept = bytearray(8_000_000)  # line 11
    children = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            until_ended(f"{path}.{os.getpid()}")
            os._exit(3)
        children.append(pid)
    until_ended(path)
    later = bytearray(50_000_000)
    late = os.fork()
    if late == 0:
        os._exit(4)
    for pid in (*children, late):
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(threading.active_count(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    sys.exit(5)
"""


def limited(directory: Path, capture: Path, limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    interior = here(["python", "service.py", *arguments], directory)
    command = python_program(interior).tracked(capture, interior, None, limit)
    return alone(command, directory)


def test_it_ends_at_its_limit_in_each_process_by_itself(tmp_path: Path) -> None:
    write(tmp_path / "service.py", PROGRAM)
    capture = tmp_path / "capture.bin"
    done = limited(tmp_path, capture, LIMIT, str(capture))
    assert (done.returncode, done.stdout.split(), done.stderr) == (5, ["3", "3", "4", "1", "True"], "")
    found = captures(capture)
    assert len(found) == 3, "a child that was forked afterwards records nothing"
    for path in found:
        assert ended_early(path) == "limit"
        assert ended_cleanly(path)
        # It looks four times a second.
        assert 0.5 * LIMIT < path.stat().st_size < 32 * LIMIT
    chosen = choose([capture], ended=True)
    assert chosen is not None
    (largest, *_) = held_in(chosen, directory=tmp_path)
    assert (largest.frame.line, largest.bytes) == (11, pytest.approx(8_000_000, rel=0.02))


def test_a_thread_of_ours_takes_no_signal(tmp_path: Path) -> None:
    """One that the program blocks in its own threads stays pending for it."""
    program = """
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        print(signal.sigwait({signal.SIGTERM}).name)
    """
    write(tmp_path / "service.py", program)
    done = limited(tmp_path, tmp_path / "capture.bin", 2**30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGTERM\n", "")
    assert ended_early(tmp_path / "capture.bin") is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with less room than is left to others."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "oomproof-test", place], check=False).returncode:
        pytest.skip("no file system can be mounted here: root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="root")
def test_it_ends_before_the_disk_is_full(tmp_path: Path, small_disk: Path) -> None:
    write(tmp_path / "service.py", PROGRAM)
    capture = small_disk / "capture.bin"
    done = limited(tmp_path, capture, 2**30, str(capture))
    assert (done.returncode, done.stderr) == (5, "")
    assert [ended_early(path) for path in captures(capture)] == ["disk"] * 3
