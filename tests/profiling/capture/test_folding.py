"""Captures to folded stacks, on real captures: of one process, of forked ones at one moment, torn, damaged, none at all."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from profiling.errors import DataError
from profiling.measuring.capture import Folding, captures, find
from profiling.measuring.capture import folding as folding_module
from profiling.measuring.capture.folding import fold
from profiling.stacks import END, PEAK, Stacks

from .programs import PYTHON, alone, tracked, write

MB = 10**6

FORKING = f"""
    import os, signal

    shared = bytearray({30 * MB})

    def child(size, end):
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            kept = hold(size)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            end()
        os.read(ready[0], 1)
        return pid, go[1]

    def hold(size):
        return bytearray(size)  # line 17

    def ended():
        os._exit(0)

    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    def end(child):
        os.write(child[1], b"x")
        os.waitpid(child[0], 0)

    def pause():
        import time
        time.sleep(0.5)  # memray looks every 10 ms, where it gets the processor

    # One alone holds most, but two hold more together, and they are not there when it is.
    alone = child({70 * MB}, ended)
    pause()
    end(alone)
    one, two = child({50 * MB}, ended), child({40 * MB}, killed)
    pause()
    end(two)
    end(one)
"""


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    directory = tmp_path_factory.mktemp("forked")
    write(directory / "service.py", FORKING)
    done = tracked(["python", "service.py"], directory, directory / "capture.bin")
    assert done.returncode == 0, done.stderr
    found = captures(directory / "capture.bin")
    assert len(found) == 4
    return found


def by_line(stacks: Stacks) -> Counter[tuple[str, int]]:
    """Bytes by the innermost frame's function and line, of all processes together."""
    held: Counter[tuple[str, int]] = Counter()
    for process in stacks.processes:
        for stack in process.stacks:
            frame = stacks.frames[stack.frames[-1]]
            held[frame.function, frame.line] += stack.bytes
    return held


def test_forked_processes_are_counted_at_one_moment_and_nothing_twice(forked: tuple[Path, ...]) -> None:
    """30 MB before the fork and 50 + 40 MB in two workers: not 30 MB thrice, and without the 70 MB that were gone."""
    stacks = fold(forked, PEAK)
    parent, alone, *two = stacks.processes
    assert stacks.bytes == pytest.approx(120 * MB, rel=0.02)
    assert by_line(stacks)["hold", 17] == pytest.approx(90 * MB, rel=0.001)
    assert (parent.forked, parent.bytes) == (False, pytest.approx(30 * MB, rel=0.05))
    assert (alone.forked, alone.bytes, alone.stacks) == (True, 0, ())
    assert alone.peak_bytes == pytest.approx(70 * MB, rel=0.01)
    assert [process.bytes for process in two] == [pytest.approx(50 * MB, rel=0.01), pytest.approx(40 * MB, rel=0.01)]
    assert [process.killed for process in stacks.processes] == [False, False, False, True]
    assert stacks.peaks_bytes == pytest.approx(190 * MB, rel=0.02)
    assert str(two[1].pid) == forked[3].name.rpartition(".")[2]


def test_the_end_is_that_of_the_killed_one_with_what_the_others_held_then(forked: tuple[Path, ...]) -> None:
    stacks = fold(forked, END)
    assert stacks.ended == forked[3].name
    assert stacks.bytes == pytest.approx(120 * MB, rel=0.02)
    assert [process.bytes > 0 for process in stacks.processes] == [True, False, True, True]


def test_who_ended_by_itself_was_there_until_its_end(tmp_path: Path) -> None:
    """memray notes the memory every 10 ms, later on a busy machine, here after 1.5 s: its owner was not gone after that."""
    program = f"""
        import os, signal, subprocess, sys, time, memray

        child = sys.argv[2:]
        with memray.Tracker(sys.argv[1], memory_interval_ms=1500 if child else 10):
            held = bytearray({50 * MB})
            if not child:
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1.6)
            subprocess.run([sys.executable, __file__, *child])
    """
    write(tmp_path / "program.py", program)
    done = alone([PYTHON, "program.py", "capture.bin", "capture.bin.2"], tmp_path)
    assert done.returncode == 0, done.stderr
    stacks = fold([tmp_path / "capture.bin", tmp_path / "capture.bin.2"], END)
    assert stacks.ended == "capture.bin.2"
    assert [process.bytes for process in stacks.processes] == [pytest.approx(50 * MB, rel=0.02)] * 2


def test_a_peak_between_two_notes_is_found(tmp_path: Path) -> None:
    """60 MB for an instant, midway between two notes of the memory, beside 50 MB of another process."""
    program = f"""
        import subprocess, sys, time, memray

        child = sys.argv[2:]
        begin = time.monotonic()
        with memray.Tracker(sys.argv[1], memory_interval_ms=500):
            if not child:
                held = bytearray({50 * MB})
                print(flush=True)
                sys.stdin.read()
            else:
                other = subprocess.Popen(
                    [sys.executable, __file__, *child], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                other.stdout.readline()
                past = time.monotonic() - begin
                time.sleep((past // 0.5 + 2) * 0.5 + 0.25 - past)
                bytearray({60 * MB})  # line 17
                time.sleep(1)
                other.communicate()
    """
    write(tmp_path / "program.py", program)
    done = alone([PYTHON, "program.py", "capture.bin", "capture.bin.2"], tmp_path)
    assert done.returncode == 0, done.stderr
    stacks = fold([tmp_path / "capture.bin", tmp_path / "capture.bin.2"], PEAK)
    parent, child = stacks.processes
    assert parent.bytes == parent.peak_bytes == pytest.approx(60 * MB, rel=0.02)
    assert child.bytes == pytest.approx(50 * MB, rel=0.02)
    assert by_line(stacks)["<module>", 17] == pytest.approx(60 * MB, rel=0.001)


def test_one_process_is_told_by_its_exact_peak_or_by_its_end(forked: tuple[Path, ...]) -> None:
    for at in (PEAK, END):
        stacks = fold(forked[3:], at)
        assert stacks.ended == (forked[3].name if at == END else None)
        (process,) = stacks.processes
        assert process.bytes == pytest.approx(40 * MB, rel=0.01)
        assert stacks.notes == ()
    (parent,) = fold(forked[:1], PEAK).processes
    assert parent.bytes == parent.peak_bytes


def test_frames_above_the_program_and_those_of_the_import_system_are_not_in_it(forked: tuple[Path, ...]) -> None:
    """Of the launcher only what puts the signals back as they were, and what compiles the program, which is its own cost."""
    for chosen in (forked, forked[:1]):
        frames = fold(chosen, PEAK).frames
        assert {frame.function for frame in frames if frame.file.endswith("launcher.py")} <= {"load_script", "track"}
        assert not [frame for frame in frames if frame.file.startswith("<frozen")]


def test_crumbs_and_endless_stacks_are_put_together_and_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
        def deep(left, size):
            return deep(left - 1, size) if left else bytearray(size)

        kept = [deep(depth, depth * 100_000) for depth in (2, 4, 6, 8, 90)]
    """
    write(tmp_path / "service.py", program)
    tracked(["python", "service.py"], tmp_path, tmp_path / "capture.bin")
    whole = fold([tmp_path / "capture.bin"], PEAK)
    monkeypatch.setattr(folding_module, "MAX_STACKS", 4)
    monkeypatch.setattr(folding_module, "MAX_DEPTH", 20)
    cut = fold([tmp_path / "capture.bin"], PEAK)
    assert cut.bytes == whole.bytes == sum(stack.bytes for stack in cut.processes[0].stacks)
    names = {frame.function for frame in cut.frames}
    assert {"(smaller)", "(frames left out)"} <= names
    assert max(len(stack.frames) for stack in cut.processes[0].stacks) <= 21


def test_a_torn_or_damaged_capture_is_read_as_far_as_it_goes(forked: tuple[Path, ...], tmp_path: Path) -> None:
    killed, ended = forked[3].read_bytes().rstrip(b"\0"), forked[0].read_bytes().rstrip(b"\0")
    (tmp_path / "torn.bin").write_bytes(killed[:-1])
    assert fold([tmp_path / "torn.bin"], END).bytes == pytest.approx(40 * MB, rel=0.01)
    (tmp_path / "damaged.bin").write_bytes(ended[: len(ended) // 2])
    damaged = fold([tmp_path / "damaged.bin"], PEAK)
    assert damaged.notes == ("damaged.bin is damaged: it was read up to there",)


@pytest.mark.parametrize("at", [PEAK, END])
def test_nothing_recorded_is_no_error(tmp_path: Path, at: str) -> None:
    (tmp_path / "capture.bin").touch()
    (tmp_path / "zeros.bin").write_bytes(bytes(8192))
    assert fold([tmp_path / "capture.bin", tmp_path / "zeros.bin"], at).processes == ()
    assert fold([], at).bytes == 0


def test_what_cannot_be_read_is_left_out_and_said(forked: tuple[Path, ...], tmp_path: Path) -> None:
    other = bytearray(forked[1].read_bytes())
    other[7] = 99  # the version of memray's file format
    (tmp_path / "other.bin").write_bytes(other)
    stacks = fold([*forked[2:], tmp_path / "other.bin"], PEAK)
    assert len(stacks.processes) == 2
    assert stacks.notes[0].startswith("other.bin left out: ")
    with Folding([tmp_path / "other.bin"], PEAK) as folding, pytest.raises(DataError, match="incompatible") as raised:
        folding.result()
    assert "version" in raised.value.hint


def test_a_process_of_its_own_says_the_same_and_can_be_given_up(forked: tuple[Path, ...]) -> None:
    with Folding(forked, PEAK) as folding:
        assert folding.result() == fold(forked, PEAK)
    with Folding(forked, PEAK) as folding, pytest.raises(DataError, match="within 0 s"):
        folding.result(timeout_s=0)
    assert not folding.process.is_running


def test_a_broken_reader_is_an_error_with_its_signal(forked: tuple[Path, ...]) -> None:
    with Folding(forked, PEAK) as folding:
        folding.process.give_up()
        with pytest.raises(DataError, match="Killed"):
            folding.result()


def test_captures_are_found_by_directory_and_by_file(forked: tuple[Path, ...], tmp_path: Path) -> None:
    assert find(forked[0].parent) == forked
    assert find(forked[2]) == (forked[2],)
    (tmp_path / "run").mkdir()
    for path in forked:
        (tmp_path / "run" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "run" / "report.html").write_text("<!doctype html>")
    assert [path.name for path in find(tmp_path)] == [path.name for path in forked]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "memray.bin").write_bytes(forked[0].read_bytes())
    with pytest.raises(DataError, match=r"several programs: other/memray\.bin, run/capture\.bin"):
        find(tmp_path)


@pytest.mark.parametrize("kind", ["empty directory", "text", "short", "device", "pipe", "unreadable"])
def test_what_is_no_capture_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "empty directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("text", "short"):
        path.write_text("something else" * (100 if kind == "text" else 1))
    else:
        path = Path("/dev/null" if kind == "device" else "/proc/self/mem")
    with pytest.raises(DataError) as raised:
        find(path)
    assert str(path) in raised.value.message
    assert "capture" in raised.value.hint
