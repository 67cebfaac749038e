"""Real kills of real services under memray, and what is told of them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.autopsies import Autopsy, Kill
from profiling.judging.autopsy import autopsy
from profiling.measuring import kernel_log, store
from profiling.measuring.measure import measure
from profiling.measuring.memray_pass import RecordedPass, explain, record_pass
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.profiles import Profile
from tests.helpers import MIB, TARGETS, Recorder, our_cgroups, plan, target

readable = pytest.mark.skipif(
    kernel_log.read([], own_pids=True).source is None, reason="the kernel's log cannot be read here"
)


@pytest.fixture
def sandbox() -> Iterator[CgroupSandbox]:
    before = our_cgroups()
    sandbox = CgroupSandbox()
    yield sandbox
    sandbox.close()
    assert our_cgroups() == before


def told(
    name: str, sandbox: CgroupSandbox, directory: Path, limit_bytes: int = 2**30, **more: object
) -> tuple[Autopsy, Profile]:
    """A memray pass of a test service, and its autopsy from what is on disk."""
    env = {key: str(value) for key, value in more.items() if key.isupper()}
    settings = {key: value for key, value in more.items() if not key.isupper()}
    made = plan(target(name, **env), **{"memory_mib": 96, "users": 2, "duration_s": 10.0, **settings})  # type: ignore[arg-type]
    recorded = record_pass(made, sandbox, directory / "pass", Recorder(), limit_bytes)
    assert isinstance(recorded, RecordedPass)
    profile = explain(recorded, source_lines=False).with_paths(lambda path: str(directory / path))
    found = autopsy(store.load(directory / "pass"), profile)
    assert found is not None
    return found, profile


def line_of(script: str, text: str) -> int:
    lines = (TARGETS / f"{script}.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def only(found: Autopsy) -> Kill:
    (kill,) = found.kills
    return kill


def test_a_planted_allocation_is_found_with_its_line_and_size(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    found, profile = told("overfull", sandbox, tmp_path, users=1, PLANTED_MIB=40)
    kill = only(found)
    (planted,) = [held for held in kill.held if held.frame.function == "plant"]
    assert planted.frame.file == "overfull.py"
    assert planted.frame.line == line_of("overfull", "planted here")
    assert planted.bytes == pytest.approx(40 * MIB, rel=0.02)
    assert kill.requests is not None
    assert (kill.requests.count, kill.requests.broken, kill.requests.path) == (1, 1, "POST /chat")
    assert kill.phase == "load"
    assert kill.memory is not None
    assert kill.memory.charged_bytes > 0.5 * kill.memory.limit_bytes
    assert profile.held_at == "kill"
    assert found.sentence == kill.sentence
    assert kill.sentence.startswith("1 request was in flight: overfull.py:")


@readable
def test_the_kernels_log_names_the_process_that_was_killed(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    found, _ = told("overfull", sandbox, tmp_path, users=1)
    process = only(found).process
    assert process is not None
    assert process.name is not None
    assert process.name.startswith("python")
    assert process.anon_rss_bytes is not None
    assert process.anon_rss_bytes > 60 * MIB
    assert found.kernel_log in ("/dev/kmsg", "dmesg", "journalctl")


def test_each_of_several_killed_workers_has_its_own_records(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    found, profile = told("respawning", sandbox, tmp_path, duration_s=4.0)
    assert len(found.kills) >= 2
    pids = [kill.process.pid for kill in found.kills if kill.process is not None]
    assert len(set(pids)) == len(found.kills)
    for kill in found.kills:
        assert kill.capture is not None
        assert kill.capture.endswith(f".{kill.process.pid if kill.process else None}")
        assert kill.held[0].frame.line == line_of("respawning", "2**23")
        assert kill.held[0].bytes % 2**23 < 2**16
        assert kill.requests is not None
    assert [kill.like for kill in found.kills] == [None] + [1] * (len(found.kills) - 1)
    assert profile.oom_kills == len(found.kills)


def test_a_forked_child_is_killed_while_its_parent_answers(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    found, _ = told("forked_victim", sandbox, tmp_path, duration_s=2.0)
    kill = only(found)
    assert kill.held[0].frame.line == line_of("forked_victim", "hoard.append")
    assert kill.requests is not None
    assert kill.requests.broken == 0


@readable
def test_a_killed_program_that_is_no_python_is_named_and_nothing_else_blamed(
    sandbox: CgroupSandbox, tmp_path: Path
) -> None:
    found, profile = told("shell_child", sandbox, tmp_path, duration_s=3.0)
    kill = only(found)
    assert kill.process is not None
    assert kill.process.name == "tail"
    assert kill.held == ()
    assert "programs that are started anew" in kill.held_note
    assert "tail (pid" in kill.sentence
    assert profile.held_at == "peak", "the parent that answers was not killed"


def test_a_kill_before_the_first_request(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    found, _ = told("hog_at_start", sandbox, tmp_path)
    kill = found.kills[0]
    assert kill.requests is None
    assert kill.phase == "start"
    assert kill.held[0].frame.file == "hog_at_start.py"
    assert kill.sentence.startswith("Before the first request: hog_at_start.py:")


def test_a_measured_run_has_an_account_without_lines(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    measure(plan(target("overfull"), memory_mib=96, users=1, duration_s=10.0), sandbox, tmp_path, Recorder())
    found = autopsy(store.load(tmp_path))
    assert found is not None
    kill = only(found)
    assert not found.memray
    assert kill.held == ()
    assert kill.requests is not None
    assert kill.requests.count == 1
    assert kill.within_s <= 0.2, "a fall of the memory, or the reading of the count"


def test_a_capture_that_reaches_its_limit_costs_the_service_nothing(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    """It goes on, to the kill that it was going to; and the report says what it lacks."""
    until = {"CHURN_FILE": "{run_dir}/capture.bin.ended", "CHURN_UNTIL": 1, "CHURN_LIVE": 20_000}
    found, profile = told("churn", sandbox, tmp_path, 4 * MIB, duration_s=60.0, **until)
    kill = only(found)
    assert kill.records_end_s is not None
    assert kill.held[0].frame.function != "hoard", "that came later"
    assert kill.held[0].frame.line == line_of("churn", "live +=")
    assert "before, when recording ended" in kill.sentence
    assert profile.held_at == "cut"
    assert "it had reached its limit (--capture-limit)" in profile.reason
    # Its size is looked at a few times a second.
    assert (tmp_path / "pass" / "capture.bin").stat().st_size <= 12 * MIB
