"""The look into captures: what it finds, and that neither size nor damage can take more than it may have."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from profiling.measuring.capture import captures
from profiling.measuring.capture.bounded import Bounds, Found, look
from profiling.measuring.capture.look import NOTHING_RECORDED

from .programs import tracked, write

FAMILY = """
    import os, signal, sys

    def child(size, end):
        pid = os.fork()
        if pid == 0:
            kept = bytearray(size)
            end()
        os.waitpid(pid, 0)
        print(pid)

    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    child(90_000_000, lambda: sys.exit(0))
    child(20_000_000, killed)
    child(50_000_000, killed)
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The captures of a parent that a signal ended, of a child that ended by itself and of two killed ones."""
    directory = tmp_path_factory.mktemp("family")
    write(directory / "service.py", FAMILY)
    done = tracked(["python", "-u", "service.py"], directory, directory / "capture.bin")
    pids = [int(word) for word in done.stdout.split() if int(word) > 0]
    assert len(pids) >= 3
    return directory / "capture.bin", list(dict.fromkeys(pids))


def seen(paths: tuple[Path, ...], directory: Path, **more: object) -> Found:
    with look(paths, killed=True, directory=directory, **more) as looking:  # type: ignore[arg-type]
        return looking.found()


def test_all_that_did_not_end_by_themselves_are_looked_at(family: tuple[Path, list[int]]) -> None:
    capture, (_, small, large) = family
    found = seen(captures(capture), capture.parent)
    assert found.problems == []
    assert found.chosen == Path(f"{capture}.{large}"), "the one with the largest RSS"
    assert found.at == "kill"
    assert found.held[0].bytes == pytest.approx(50_000_000, rel=0.02)
    ends = {end.pid: end for end in found.ends}
    assert {small, large} < set(ends)
    assert ends[small].held[0].bytes == pytest.approx(20_000_000, rel=0.02)
    assert len(ends) == 3, "and the parent"
    assert all(end.last_ns for end in found.ends)


def test_of_known_victims_only_they_are(family: tuple[Path, list[int]]) -> None:
    capture, (_, small, _) = family
    found = seen(captures(capture), capture.parent, victims=[small])
    assert [end.pid for end in found.ends] == [small]
    assert found.chosen == Path(f"{capture}.{small}")


def test_a_victim_that_recorded_nothing_leaves_the_peak(family: tuple[Path, list[int]]) -> None:
    capture, (ended, *_) = family
    found = seen(captures(capture), capture.parent, victims=[1])
    assert (found.ends, found.at) == ([], "peak")
    assert found.chosen == Path(f"{capture}.{ended}")


def test_blank_and_missing_captures_are_said(tmp_path: Path) -> None:
    (tmp_path / "capture.bin").touch()
    (tmp_path / "capture.bin.7").write_bytes(bytes(8192))
    found = seen(captures(tmp_path / "capture.bin"), tmp_path)
    assert [(end.pid, end.note) for end in found.ends] == [(None, NOTHING_RECORDED), (7, NOTHING_RECORDED)]
    assert found.chosen is None
    assert found.problems == []
    assert seen((), tmp_path) == Found()


def test_an_unreadable_capture_is_said_and_hides_no_other(family: tuple[Path, list[int]], tmp_path: Path) -> None:
    capture, (*_, large) = family
    (tmp_path / "capture.bin.1").write_bytes(b"something else" * 100_000)
    found = seen((tmp_path / "capture.bin.1", Path(f"{capture}.{large}")), capture.parent)
    assert len(found.problems) == 1
    assert "cannot be read as a memray capture" in found.problems[0]
    assert found.held[0].bytes == pytest.approx(50_000_000, rel=0.02)


def test_too_little_memory_is_said_not_suffered(family: tuple[Path, list[int]]) -> None:
    capture, _ = family
    found = seen(captures(capture), capture.parent, bounds=Bounds(memory_bytes=2**20))
    (problem,) = found.problems
    assert "not read to their end with 1 MiB of memory" in problem


def test_too_little_time_is_said_and_what_was_found_is_kept(family: tuple[Path, list[int]]) -> None:
    capture, _ = family
    found = seen(captures(capture), capture.parent, bounds=Bounds(deadline_s=0.0))
    (problem,) = found.problems
    assert "not read to their end within 0 s" in problem


def test_it_can_be_ended_early(family: tuple[Path, list[int]]) -> None:
    capture, _ = family
    stop = threading.Event()
    stop.set()
    (problem,) = seen(captures(capture), capture.parent, stop=stop).problems
    assert "interrupted" in problem


def test_further_victims_wait_for_no_more_than_they_may(family: tuple[Path, list[int]]) -> None:
    capture, _ = family
    found = seen(captures(capture), capture.parent, bounds=Bounds(others_s=0.0))
    assert found.held, "the first is always looked at"
    assert [bool(end.held) for end in found.ends] == [True, False, False]
    assert "took more than 0 s" in found.ends[1].note
