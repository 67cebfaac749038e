"""Our container sandbox with a real Podman, crun and runc on a real cgroup v2 kernel, whatever kernel this machine has.

The guest is booted once; each test looks at one fact of its report. See `inside/containers.py` for how it came about.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.kernel import guest, parts
from tests.kernel.found import of

MIB = 2**20
PODMANS_OWN = {"init", "libpod_parent", "libpod_parent/conmon"}
"""Podman moves what it finds in the root cgroup into `init`, and leaves an empty cgroup of its monitors'."""
Found = dict[str, Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> guest.Report:
    try:
        made = parts.find_or_make()
        parts.need_engine(made)
    except parts.MissingError as missing:
        pytest.skip(f"no guest with Podman can be booted: {missing}")
    return guest.boot(made, tmp_path_factory.mktemp("guest"), "containers", engine=True)


@of("crun_kill", "runc_kill")
def test_each_kill_of_a_first_process_is_counted_for_certain(found: Found) -> None:
    assert [(status, kills, certain) for status, kills, certain, _ in found["rounds"]] == [
        (-signal.SIGKILL, 1, True)
    ] * 5


@of("crun_kill", "runc_kill")
def test_the_kernels_peak_is_read_before_the_cgroup_goes(found: Found) -> None:
    for *_, peak in found["rounds"]:
        assert 31 * MIB < peak <= 32 * MIB


@of("crun_kill_of_a_child", "runc_kill_of_a_child")
def test_a_kill_of_a_child_is_counted_though_the_container_lives(found: Found) -> None:
    assert (found["kills"], found["parent"], found["left"]) == (1, None, 1)


@of("crun_kill_of_a_child", "runc_kill_of_a_child")
def test_all_limits_are_in_force_and_swap_is_off_though_the_machine_has_swap(found: Found) -> None:
    assert (found["memory.max"], found["memory.swap.max"]) == (str(64 * MIB), "0")
    assert (found["pids.max"], found["cpu.max"]) == ("16", "150000 100000")


@of("crun_oom_group", "runc_oom_group")
def test_with_oom_group_the_whole_container_dies_and_all_are_counted(found: Found) -> None:
    assert (found["asked"], found["status"], found["certain"]) == ("1", -signal.SIGKILL, True)
    assert found["kills"] in (3, 4), "see test_v2_kernel.py"


@of("crun_ballast")
def test_unreclaimable_is_the_ballast(found: Found) -> None:
    grown = found["after"]["unreclaimable"] - found["before"]["unreclaimable"]
    assert grown == pytest.approx(found["ballast"], rel=0.03)
    assert found["after"]["unreclaimable"] == pytest.approx(found["ballast"], rel=0.06), "with the interpreter"
    assert found["kernel_peak"] == pytest.approx(found["after"]["charged"], rel=0.03)
    assert found["kills"] == 0


@of("crun_ballast")
def test_the_witness_is_in_the_cgroup_and_is_not_counted(found: Found) -> None:
    assert found["after"]["processes"] == 1
    assert found["after"]["rss"] - found["before"]["rss"] == pytest.approx(found["ballast"], rel=0.03)


@of("crun_waiting")
def test_the_witness_sleeps_between_the_events_of_a_limit_that_is_reached_often(found: Found) -> None:
    assert found["kills"] == 0
    assert found["used_s"] < 0.5 * found["span_s"], "one that no longer sleeps takes all of a processor"


@of("crun_nothing_left", "runc_nothing_left")
def test_nothing_is_left(found: Found) -> None:
    assert (found["containers"], found["processes"]) == ([], [])
    assert set(found["cgroups"]) <= PODMANS_OWN
