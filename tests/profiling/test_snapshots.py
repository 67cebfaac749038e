from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.measuring.snapshots import SNAPSHOT_FILE, Policy, SnapshotProcess, Taken, look_at, write
from tests.helpers import MIB, ROOT, wait_until

MS = 1_000_000
_TAKES = 20 * MS


class Rising:
    """A cgroup whose memory follows a list, one look after the other, on a clock by hand."""

    def __init__(self, sizes: list[int], *, broken: set[int] | None = None, shift: int = 0) -> None:
        self.sizes, self.broken, self.shift = sizes, broken or set(), shift
        self.now = self.at = 0

    def clock(self) -> int:
        return self.now

    def unreclaimable(self) -> int:
        self.now += 10 * MS
        self.at += 1
        if self.at >= len(self.sizes):
            raise OSError("the cgroup is gone")
        return self.sizes[self.at]

    def take(self) -> Taken:
        self.now += _TAKES
        size = self.sizes[self.at]
        return Taken({"size": size}, size, self.shift, whole=self.at not in self.broken)


def kept(cgroup: Rising) -> list[int]:
    policy, found = Policy(cgroup, cgroup.clock), []
    try:
        while True:
            taken = policy.look()
            if taken is not None:
                found.append(taken.unreclaimable)
            cgroup.now += 10 * MS
    except OSError:
        return found


@given(st.lists(st.integers(0, 2**34), min_size=2, max_size=60))
def test_what_is_kept_only_rises_and_ends_near_the_peak(sizes: list[int]) -> None:
    slow = [size for size in sizes for _ in range(250)]  # each held for seconds, so that no rest can hide it
    found = kept(Rising(slow))
    assert found == sorted(found)
    assert max(sizes) - found[-1] <= max(2**18, 0)


def test_a_fast_rise_costs_no_more_than_half_of_the_time() -> None:
    cgroup = Rising([n * 8 * MIB for n in range(1000)])
    taken = len(kept(cgroup))
    assert taken * _TAKES <= 0.5 * cgroup.now + 2 * _TAKES


def test_a_snapshot_in_which_a_process_vanished_replaces_none() -> None:
    sizes = [10 * MIB] * 3 + [50 * MIB] * 3
    assert kept(Rising(sizes, broken={3, 4, 5}))[-1] == 10 * MIB
    assert kept(Rising(sizes, broken={3}))[-1] == 50 * MIB, "the next one is whole"


def test_a_shaky_snapshot_is_taken_again() -> None:
    cgroup = Rising([50 * MIB] * 40, shift=5 * MIB)
    policy = Policy(cgroup, cgroup.clock)
    assert policy.look()
    cgroup.shift = 0
    cgroup.now += 1000 * MS
    again = policy.look()
    assert again is not None
    assert again.shift == 0
    cgroup.now += 10_000 * MS
    assert policy.look() is None


def test_a_shaky_snapshot_replaces_a_steady_one_only_where_all_of_it_was_higher() -> None:
    cgroup = Rising([50 * MIB] * 3 + [58 * MIB] * 200 + [90 * MIB] * 200)
    policy = Policy(cgroup, cgroup.clock)
    assert policy.look()
    cgroup.at, cgroup.shift = 3, 10 * MIB
    cgroup.now += 10_000 * MS
    assert policy.look() is None, "it began below what is known"
    cgroup.at = 203
    cgroup.now += 10_000 * MS
    higher = policy.look()
    assert higher is not None
    assert higher.unreclaimable == 90 * MIB


def test_a_process_page_by_page() -> None:
    program = "import mmap,sys; m=mmap.mmap(-1, 40*2**20, flags=34); "
    program += "m[:8*2**20]=bytes(8*2**20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = look_at(process.pid)
        process.communicate()
    assert seen is not None
    assert (seen["pid"], seen["parent"], seen["threads"], seen["problem"]) == (process.pid, os.getpid(), 1, "")
    assert seen["page_tables"] > 0
    area = max((m for m in seen["mappings"] if not m["inode"]), key=lambda m: m["end"] - m["start"])
    there = sum(state >> 7 for state in zlib.decompress(b64decode(area["pages"])))
    assert 8 * 256 <= there < 10 * 256
    assert {"[heap]", "[stack]"} <= {m["name"] for m in seen["mappings"]}


def test_who_is_gone_is_nobody() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert look_at(process.pid) is None


def test_who_may_not_be_looked_at_is_named_with_the_reason() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    program = f"import os, json, sys; sys.path.insert(0, {str(ROOT)!r})\n" + (
        "from profiling.measuring.snapshots import look_at\nos.setuid(65534)\nprint(json.dumps(look_at(1)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["mappings"] == []
    assert "denied" in seen["problem"].lower()


def test_the_file_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / SNAPSHOT_FILE
    write(str(path), {"a": 1})
    write(str(path), {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == [SNAPSHOT_FILE]


def test_killed_at_any_moment_it_leaves_a_readable_file(tmp_path: Path) -> None:
    """Of our own cgroup, whose memory is there in any case."""
    version, directory = _own_cgroup()
    path = tmp_path / SNAPSHOT_FILE
    process = SnapshotProcess(version, directory, path)
    wait_until(path.exists)
    os.kill(process._process.pid, signal.SIGKILL)
    process.stop()
    assert json.loads(path.read_text())["processes"]


def test_where_nothing_can_be_seen_nothing_is_raised(tmp_path: Path) -> None:
    process = SnapshotProcess(1, str(tmp_path / "no cgroup"), tmp_path / SNAPSHOT_FILE)
    assert process.stop() == pytest.approx({"snapshots": 0, "cpu_s": 0}, abs=5)


def test_why_it_failed_is_written_where_the_snapshot_would_be(tmp_path: Path) -> None:
    process = SnapshotProcess(7, "not a number of a pid follows", tmp_path / SNAPSHOT_FILE, ignored="x")  # type: ignore[arg-type]
    assert process.stop() == {}
    assert "ValueError" in json.loads((tmp_path / SNAPSHOT_FILE).read_text())["problem"]


def _own_cgroup() -> tuple[int, str]:
    from profiling.measuring.sandboxes.placement import memory_mount

    version, root = memory_mount()
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1] or line.startswith("0::"))
    directory = Path(f"{root}{own}")
    return version, str(directory if (directory / "memory.stat").exists() else root)
