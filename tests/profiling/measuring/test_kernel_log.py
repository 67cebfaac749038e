from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.measuring import kernel_log
from profiling.measuring.kernel_log import kills, parse_record, printed_lines
from profiling.values import KernelKill

OURS = "oomproof-4026531836-41-99-1"
CONTAINER = "3f0c" * 16


def context(cgroup: str, name: str, pid: int) -> str:
    return (
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
        f"oom_memcg={cgroup},task_memcg={cgroup},task={name},pid={pid},uid=0"
    )


def victim(name: str, pid: int) -> str:
    sizes = "anon-rss:97920kB, file-rss:6452kB, shmem-rss:4kB, UID:0 pgtables:280kB oom_score_adj:0"
    return f"Memory cgroup out of memory: Killed process {pid} ({name}) total-vm:260352kB, {sizes}"


def found(*lines: str, cgroups: tuple[str, ...] = (OURS,)) -> list[KernelKill]:
    return list(kills([(float(number), line) for number, line in enumerate(lines)], cgroups))


def test_a_kill_in_our_cgroup() -> None:
    (kill,) = found(
        "python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        context(f"/user.slice/{OURS}", "python", 4711),
        victim("python", 4711),
    )
    assert (kill.pid, kill.name, kill.cgroup, kill.log_s) == (4711, "python", OURS, 2.0)
    sizes = (kill.anon_rss_bytes, kill.file_rss_bytes, kill.shmem_rss_bytes)
    assert sizes == (97920 * 1024, 6452 * 1024, 4 * 1024)


def test_kills_of_others_are_left_out() -> None:
    """One cgroup's name begins with another's; a global kill names no limit of ours."""
    assert not found(context(f"/{OURS}2", "python", 1), victim("python", 1))
    assert not found(context(f"/x{OURS}", "python", 1), victim("python", 1))
    assert not found(context("/docker/other", "node", 1), victim("node", 1))
    assert not found(victim("python", 1))
    (kill,) = found(
        context(f"/{OURS}", "python", 1), victim("python", 1), context("/docker/other", "node", 2), victim("node", 2)
    )
    assert kill.pid == 1


def test_memory_oom_group_takes_several_at_once() -> None:
    lines = (
        context(f"/{OURS}/app", "python", 1),
        victim("python", 1),
        f"Tasks in /{OURS} are going to be killed due to memory.oom.group set",
        victim("python", 1),
        victim("sh", 2),
    )
    assert [kill.pid for kill in found(*lines)] == [1, 1, 2]


@pytest.mark.parametrize(
    "path", [f"/docker/{CONTAINER}", f"/system.slice/docker-{CONTAINER}.scope", f"/libpod_parent/libpod-{CONTAINER}"]
)
def test_the_cgroups_of_containers(path: str) -> None:
    (kill,) = found(context(path, "gunicorn", 1), victim("gunicorn", 1), cgroups=(OURS, CONTAINER))
    assert kill.cgroup == CONTAINER


def test_linux_before_4_19() -> None:
    (kill,) = found(
        f"Task in /{OURS} killed as a result of limit of /{OURS}",
        "Memory cgroup out of memory: Kill process 77 (python) score 985 or sacrifice child",
        "Killed process 77 (python) total-vm:120000kB, anon-rss:97920kB, file-rss:0kB",
    )
    assert (kill.pid, kill.anon_rss_bytes, kill.shmem_rss_bytes) == (77, 97920 * 1024, None)


@pytest.mark.parametrize("name", ["a) (b", "tokio:worker,pid", "日本", r"a\x0ab"])
def test_a_process_may_call_itself_as_it_likes(name: str) -> None:
    (kill,) = found(context(f"/{OURS}", name, 4711), victim(name, 4711))
    assert (kill.name, kill.pid) == (name, 4711)


@given(st.lists(st.text(max_size=200), max_size=20))
def test_no_log_breaks_it(lines: list[str]) -> None:
    assert len(found(*lines)) <= len(lines)


@given(st.binary(max_size=300))
def test_no_record_breaks_it(record: bytes) -> None:
    parsed = parse_record(record)
    assert parsed is None or parsed[0] >= 0


def test_records_of_kmsg() -> None:
    record = f"3,3574,674609717,-;{victim('python', 1)}\n SUBSYSTEM=memory\n DEVICE=x\n".encode()
    assert parse_record(record) == (pytest.approx(674.609717), victim("python", 1))
    # Facility 1 is a process that wrote into it.
    assert parse_record(record.replace(b"3,3574", b"12,3574")) is None


def test_what_dmesg_and_journalctl_print() -> None:
    text = (
        f"[    0.000000] Linux version 6.1\n[  674.609690] {context('/' + OURS, 'python', 1)}\n"
        f"[  674.609717] host kernel: {victim('python', 1)}\n-- no stamp --\n"
    )
    lines = list(printed_lines(text))
    assert [kill.pid for kill in kills(lines, [OURS])] == [1]
    assert lines[-1][0] == pytest.approx(674.609717)


def test_where_nothing_can_be_read_that_is_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "KMSG", tmp_path / "kmsg")
    monkeypatch.setenv("PATH", str(tmp_path))
    log = kernel_log.read([OURS], own_pids=True)
    assert log.source is None
    assert log.kills == ()
    assert "no such file" in log.problem
    assert "dmesg" in log.problem


def test_a_file_in_the_place_of_the_device_is_an_empty_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers have had /dev/null there."""
    (tmp_path / "kmsg").touch()
    monkeypatch.setattr(kernel_log, "KMSG", tmp_path / "kmsg")
    log = kernel_log.read([OURS], own_pids=True)
    assert (log.source, log.kills) == (str(tmp_path / "kmsg"), ())
