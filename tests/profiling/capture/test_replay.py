"""Real captures, replayed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from memray import FileReader

from profiling.errors import DataError
from profiling.measuring.capture import captures
from profiling.measuring.capture.replay import Alive, replay

from .programs import tracked, write

MIB = 2**20
_LATER_MS = 1e15

PROGRAM = """
    import mmap, os, signal, time

    def early():
        return bytearray(20 * 2**20)  # line 4

    def late():
        return bytearray(30 * 2**20)  # line 7

    kept = early()
    time.sleep(0.2)
    middle = time.time()
    time.sleep(0.2)
    gone = bytearray(10 * 2**20)
    kept_too = late()
    del gone
    area = mmap.mmap(-1, 8 * 2**20)
    other = mmap.mmap(-1, 6 * 2**20)
    other.close()
    time.sleep(0.2)
    print(middle * 1000, time.time() * 1000, os.getpid())
"""


def of(alive: Alive, line: int, file: str = "service.py") -> float:
    """MiB that one line of the program has alive."""
    sites = {at for at, stack in enumerate(alive.stacks) if any(f[1].endswith(file) and f[2] == line for f in stack)}
    chosen = np.isin(alive.site, list(sites)) & ~alive.soon
    return float((alive.ends - alive.starts)[chosen].sum()) / MIB


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, float, int]:
    directory = tmp_path_factory.mktemp("replayed")
    write(directory / "service.py", PROGRAM)
    done = tracked(["python", "service.py"], directory, directory / "capture.bin")
    middle, end, pid = done.stdout.split()
    return directory / "capture.bin", float(middle), float(end), int(pid)


def test_what_was_alive_at_a_moment(recorded: tuple[Path, float, float, int]) -> None:
    capture, middle, end, pid = recorded
    early = replay([capture], [pid], {}, {}, middle, None)[pid]
    assert of(early, 4) == pytest.approx(20, rel=0.001)
    assert of(early, 7) == 0
    late = replay([capture], [pid], {}, {}, end, None)[pid]
    assert of(late, 4) == pytest.approx(20, rel=0.001)
    assert of(late, 7) == pytest.approx(30, rel=0.001)
    assert of(late, 13) == 0, "it was given back"
    assert (late.once_ends - late.once_starts).sum() > 60 * MIB, "and yet malloc once handed it out"


def test_what_was_mapped_and_what_of_it_is_left(recorded: tuple[Path, float, float, int]) -> None:
    capture, _, end, pid = recorded
    late = replay([capture], [pid], {}, {}, end, None)[pid]
    assert of(late, 16) == 8
    assert of(late, 17) == 0
    assert late.mapped[late.ends - late.starts == 8 * MIB].all()


def test_what_came_after_ready(recorded: tuple[Path, float, float, int]) -> None:
    capture, middle, end, pid = recorded
    late = replay([capture], [pid], {}, {}, end, middle)[pid]
    sizes = late.ends - late.starts
    assert late.late[(sizes > 29 * MIB) & (sizes < 31 * MIB)].all()
    assert not late.late[(sizes > 19 * MIB) & (sizes < 21 * MIB)].any()
    assert not replay([capture], [pid], {}, {}, end, None)[pid].late.any(), "never ready"


def test_at_the_end_it_is_what_memray_calls_leaked(recorded: tuple[Path, float, float, int]) -> None:
    capture, _, _, pid = recorded
    alive = replay([capture], [pid], {}, {}, _LATER_MS, None)[pid]
    with FileReader(capture) as reader:
        leaked = sum(record.size for record in reader.get_leaked_allocation_records(merge_threads=True))
    # malloc's own share comes on top, and the end is where the last note was taken.
    assert float((alive.ends - alive.starts).sum()) == pytest.approx(leaked, rel=0.02)


def test_a_child_has_what_its_parent_had_at_the_fork(tmp_path: Path) -> None:
    program = """
        import os, time

        def before():
            return bytearray(12 * 2**20)  # line 4

        def inside():
            return bytearray(5 * 2**20)  # line 7

        kept, gone = before(), bytearray(9 * 2**20)
        time.sleep(0.2)
        child = os.fork()
        if child == 0:
            del gone
            mine = inside()
            time.sleep(1)
            os._exit(0)
        time.sleep(0.4)  # until the child, too, has begun to record
        after = bytearray(7 * 2**20)
        time.sleep(0.2)
        print(time.time() * 1000, os.getpid(), child, flush=True)
        os.waitpid(child, 0)
    """
    write(tmp_path / "service.py", program)
    done = tracked(["python", "service.py"], tmp_path, tmp_path / "capture.bin")
    moment, parent, child = done.stdout.split()
    found = captures(tmp_path / "capture.bin")
    assert len(found) == 2
    ids = [int(parent), int(child)]
    for parents in ({ids[1]: ids[0]}, {}):  # an ancestor that is not known is taken to be the first process
        alive = replay(found, [*ids, 1], parents, {}, float(moment), None)
        assert set(alive) == set(ids), "who has no capture is left out"
        of_child, of_parent = alive[ids[1]], alive[ids[0]]
        assert [round(of(of_child, line), 1) for line in (4, 7, 9, 18)] == [12, 5, 12, 0]
        assert [round(of(of_parent, line), 1) for line in (4, 7, 9, 18)] == [12, 0, 21, 7]


def test_the_heap_grew_over_what_nobody_recorded(tmp_path: Path) -> None:
    """A library that finds malloc by itself is not seen: here 4,000 times between two allocations that are."""
    program = """
        import ctypes, os, time
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        def unseen():
            first = ctypes.create_string_buffer(700)
            for _ in range(4000):
                libc.malloc(1000)
            return first, [bytearray(100_000) for _ in range(12)]
        kept = unseen()
        time.sleep(0.1)
        heap = next(line.split()[0] for line in open("/proc/self/maps") if "[heap]" in line)
        print(time.time() * 1000, os.getpid(), *(int(at, 16) for at in heap.split("-")))
    """
    write(tmp_path / "service.py", program)
    done = tracked(["python", "service.py"], tmp_path, tmp_path / "capture.bin")
    moment, pid, start, end = done.stdout.split()
    heaps = {int(pid): (int(start), int(end))}
    alive = replay([tmp_path / "capture.bin"], [int(pid)], {}, heaps, float(moment), None)[int(pid)]
    between = [
        float(end - start)
        for start, end, after, before in zip(
            alive.gap_starts, alive.gap_ends, alive.gap_after, alive.gap_before, strict=True
        )
        if after >= 0 and any(function == "<module>" and line == 9 for function, _, line in alive.stacks[before])
    ]
    assert sum(between) == pytest.approx(4000 * 1008, rel=0.2)


def test_torn_empty_and_foreign_captures(recorded: tuple[Path, float, float, int], tmp_path: Path) -> None:
    capture, middle, _, pid = recorded
    empty = tmp_path / "capture.bin"
    empty.write_bytes(b"")
    assert replay([empty], [pid], {}, {}, middle, None) == {}
    torn = tmp_path / "torn.bin"
    data = capture.read_bytes()
    torn.write_bytes(data.rstrip(b"\0")[:-100])
    assert replay([torn, empty], [pid], {}, {}, time.time() * 1000, None)[pid].starts.size, "up to where it was torn"
    foreign = tmp_path / "foreign.bin"
    foreign.write_bytes(b"no capture at all, but long enough to have a head" * 10)
    with pytest.raises(DataError, match=r"foreign\.bin cannot be read"):
        replay([foreign], [pid], {}, {}, middle, None)
    assert replay([foreign, capture], [pid], {}, {}, middle, None)[pid].starts.size, "the others are used"
