from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from profiling.errors import DataError
from profiling.measuring.capture import captures, ended_cleanly, held
from profiling.measuring.capture.reading import OwnCode, choose

from .programs import environ, memory_cgroup, tracked, tracked_command, why_no_cgroup, write

PLANTED = 40 * 2**20

KILLED = f"""
    import os, signal

    def load():
        return bytearray({PLANTED})  # line 4

    def small():
        return list(map(bytearray, [100_000] * 20))

    gone = bytearray(60_000_000)
    del gone
    kept = load(), small()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capture of a process that was killed while it held 40 MiB."""
    directory = tmp_path_factory.mktemp("killed")
    write(directory / "service.py", KILLED)
    done = tracked(["python", "service.py"], directory, directory / "capture.bin")
    assert done.returncode == -9
    return directory / "capture.bin"


def test_killed_process_shows_what_was_alive(killed: Path) -> None:
    assert not ended_cleanly(killed)
    first, second, *_ = held([killed], directory=killed.parent)
    assert (first.frame.function, first.frame.file, first.frame.line) == ("load", "service.py", 4)
    assert first.bytes == pytest.approx(PLANTED, rel=0.02)
    assert first.by_thread == (first.bytes,)
    assert first.mapped_bytes == 0
    assert [(frame.function, frame.line) for frame in first.stack] == [("<module>", 11), ("load", 4)]
    assert (second.frame.function, second.frame.line, second.allocations) == ("small", 7, 20)


def test_peak_shows_what_was_alive_then(killed: Path) -> None:
    (largest,) = held([killed], "peak", directory=killed.parent, top=1)
    assert (largest.frame.function, largest.frame.line) == ("<module>", 9)
    assert largest.bytes == pytest.approx(60_000_000, rel=0.02)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
@example(share=1)
def test_capture_torn_anywhere_is_read_as_far_as_it_goes(share: float, killed: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.bin"
    whole = killed.read_bytes().rstrip(b"\0")
    torn.write_bytes(whole[: int(len(whole) * share)])
    found = held([torn], directory=killed.parent)
    assert sum(one.bytes for one in found) < 2 * PLANTED
    if share == 1:
        assert found[0].bytes == pytest.approx(PLANTED, rel=0.02)


def test_last_record_torn_costs_nothing_else(killed: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.bin"
    torn.write_bytes(killed.read_bytes().rstrip(b"\0")[:-1])
    assert held([torn], directory=killed.parent)[0] == held([killed], directory=killed.parent)[0]


def test_nothing_recorded_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "capture.bin").touch()
    (tmp_path / "zeros.bin").write_bytes(bytes(8192))
    assert not ended_cleanly(tmp_path / "capture.bin")
    assert not ended_cleanly(tmp_path / "gone.bin")
    for at in ("kill", "peak"):
        assert (
            held([tmp_path / name for name in ("capture.bin", "zeros.bin", "gone.bin")], at, directory=tmp_path) == ()
        )
        assert held([], at, directory=tmp_path) == ()


def test_no_allocations_is_no_error(killed: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.bin"
    content = killed.read_bytes()
    end_of_paths = content.index(b"\0\0", content.index(str(killed.parent).encode()))
    head.write_bytes(content[: end_of_paths + 2])
    assert held([head], directory=tmp_path) == ()
    assert held([head], "peak", directory=tmp_path) == ()


def test_other_files_are_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "capture.bin").write_bytes(b"something else" * 100)
    with pytest.raises(DataError, match="memray capture") as raised:
        held([tmp_path / "capture.bin"], "peak", directory=tmp_path)
    assert "version" in raised.value.hint


def test_unreadable_capture_does_not_hide_the_others(killed: Path, tmp_path: Path) -> None:
    (tmp_path / "capture.bin.1").write_bytes(b"something else" * 100_000)
    assert held([tmp_path / "capture.bin.1", killed], directory=killed.parent)[0].frame.line == 4


def test_killed_child_is_told_from_those_that_ended(tmp_path: Path) -> None:
    """The parent ends well, one child too though it held most; of two killed ones the larger is looked at."""
    program = """
        import os, signal, sys

        def child(size, end):
            pid = os.fork()
            if pid == 0:
                kept = bytearray(size)
                end()
            os.waitpid(pid, 0)
            return pid

        def killed():
            os.kill(os.getpid(), signal.SIGKILL)

        shared = bytearray(30_000_000)
        child(90_000_000, lambda: sys.exit(0))
        child(20_000_000, killed)
        print(child(50_000_000, killed))
        child(10_000_000, killed)
    """
    write(tmp_path / "service.py", program)
    done = tracked(["python", "service.py"], tmp_path, tmp_path / "capture.bin")
    assert done.returncode == 0, done.stderr
    found = captures(tmp_path / "capture.bin")
    assert len(found) == 5
    assert [ended_cleanly(capture) for capture in found] == [True, True, False, False, False]
    chosen = choose(found)
    assert chosen is not None
    assert chosen.capture.name == f"capture.bin.{done.stdout.strip()}"
    (largest, *_) = held(found, directory=tmp_path)
    assert largest.frame.line == 6
    assert largest.bytes == pytest.approx(50_000_000, rel=0.02)
    (peak, *_) = held(found, "peak", directory=tmp_path)
    assert peak.bytes == pytest.approx(90_000_000, rel=0.02)


def test_memory_is_told_by_thread_and_by_line(tmp_path: Path) -> None:
    program = """
        import mmap, os, signal, threading

        def load():
            kept.append(bytearray(9_000_000))

        kept = []
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
            thread.join()
        mapped = bytearray(1_000_000), mmap.mmap(-1, 200_000_000)
        closed = mmap.mmap(-1, 300_000_000)
        closed.close()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    write(tmp_path / "service.py", program)
    tracked(["python", "service.py"], tmp_path, tmp_path / "capture.bin")
    first, *others = held(captures(tmp_path / "capture.bin"), directory=tmp_path)
    assert (first.frame.file, first.frame.line) == ("service.py", 4)
    assert first.by_thread == pytest.approx((9_000_000,) * 4, rel=0.02)
    assert first.mapped_bytes == 0
    # Mapped and never touched: memray counts its length, so it does not come before what surely was in memory.
    (mapped,) = [one for one in others if one.frame.line == 11]
    assert mapped.bytes == pytest.approx(201_000_000, rel=0.01)
    assert mapped.mapped_bytes == pytest.approx(200_000_000, rel=0.001)
    assert 12 not in [one.frame.line for one in others]
    peak = {one.frame.line: one for one in held(captures(tmp_path / "capture.bin"), "peak", directory=tmp_path)}
    assert peak[4].mapped_bytes == 0
    assert peak[12].mapped_bytes == peak[12].bytes == pytest.approx(300_000_000, rel=0.001)


@pytest.mark.skipif(why_no_cgroup() is not None, reason=f"lacks {why_no_cgroup()}")
def test_process_killed_by_the_kernel_shows_the_line_that_held_the_memory(tmp_path: Path) -> None:
    program = f"""
        def load():
            weights.append(bytearray({PLANTED}))
            for page in range(0, {PLANTED}, 4096):
                weights[-1][page] = 1

        weights = []
        rows = []
        load()
        while True:
            rows.append('more' * 100_000)
    """
    write(tmp_path / "service.py", program)
    command = tracked_command(["python", "service.py"], tmp_path, tmp_path / "capture.bin")
    with memory_cgroup(120 * 2**20) as group:
        enter = "import os, sys; open(sys.argv[1], 'w').write('0'); os.execv(sys.argv[2], sys.argv[2:])"
        done = subprocess.run(
            [command[0], "-c", enter, group / "cgroup.procs", *command],
            check=False, cwd=tmp_path, env=environ(), capture_output=True, timeout=60,
        )  # fmt: skip
        kills = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    assert done.returncode == -9, done.stderr
    assert kills.get("oom_kill") == "1"
    found = held(captures(tmp_path / "capture.bin"), directory=tmp_path)
    rows, planted = found[:2]
    assert (planted.frame.function, planted.frame.file, planted.frame.line) == ("load", "service.py", 2)
    assert planted.bytes == pytest.approx(PLANTED, rel=0.02)
    assert (rows.frame.file, rows.frame.line) == ("service.py", 10)


class TestOwnCode:
    """Stacks are given innermost first, as memray does."""

    stdlib = ("loads", "/usr/lib/python3.11/json/__init__.py", 1)
    package = ("load", "/srv/app/.venv/lib/python3.11/site-packages/torch/serialization.py", 2)
    debian = ("get", "/usr/lib/python3/dist-packages/requests/api.py", 3)
    frozen = ("_call", "<frozen importlib._bootstrap>", 4)
    own = ("load_model", "/srv/app/backend/model.py", 31)
    outer = ("<module>", "/srv/app/main.py", 3)
    elsewhere = ("helper", "/home/me/shared/helper.py", 5)
    script = ("<module>", "/srv/app/.venv/bin/gunicorn", 8)
    text = ("<module>", "<string>", 1)
    generated = ("__init__", "<attrs generated init x>", 1)

    code = OwnCode(Path("/srv/app"), (Path("/srv/app"),))

    @pytest.mark.parametrize(
        ("stack", "blamed"),
        [
            ([stdlib, package, own, outer, script], own),
            ([own, outer], own),
            ([package, frozen, outer, script], outer),
            ([generated, own], own),
            ([elsewhere, own, outer], own),
            ([stdlib, elsewhere, package, script], elsewhere),
            ([text, package, outer], outer),
            ([stdlib, text], text),
            ([frozen, debian, package, script], debian),
        ],
    )
    def test_blames_the_innermost_frame_of_the_users_own(
        self, stack: list[tuple[str, str, int]], blamed: tuple[str, str, int]
    ) -> None:
        assert self.code.blamed(stack) == self.code.frame(blamed)

    def test_stack_without_python_has_a_name(self) -> None:
        assert self.code.blamed([]).function == "(no Python frame)"
        assert self.code.blamed([self.frozen]).function == "(no Python frame)"

    def test_paths_inside_the_directory_are_relative(self) -> None:
        assert self.code.frame(self.own).file == "backend/model.py"
        assert self.code.frame(self.elsewhere).file == "/home/me/shared/helper.py"
        beside = self.code.frame(("f", "/srv/app-two/x.py", 1))
        assert beside.file == "/srv/app-two/x.py"


def test_captures_of_one_pass_are_found_in_order(tmp_path: Path) -> None:
    for name in ("capture.bin.11", "capture.bin.9", "capture.bin", "capture.bin.html", "other.bin.3"):
        (tmp_path / name).touch()
    assert [path.name for path in captures(tmp_path / "capture.bin")] == [
        "capture.bin",
        "capture.bin.9",
        "capture.bin.11",
    ]
    shutil.rmtree(tmp_path)
    os.makedirs(tmp_path)
    assert captures(tmp_path / "capture.bin") == ()
