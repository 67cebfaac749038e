"""Our sandbox, sampler and parsers on a real cgroup v2 kernel with real swap, whatever kernel this machine has.

The guest is booted once; each test looks at one fact of its report. See `inside/` for how the facts came about.
"""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.kernel import guest, parts
from tests.kernel.found import of

MIB = 2**20
PAGE = 4096
Found = dict[str, Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> guest.Report:
    try:
        made = parts.find_or_make()
    except parts.MissingError as missing:
        pytest.skip(f"no guest can be booted: {missing}")
    return guest.boot(made, tmp_path_factory.mktemp("guest"))


@of("limit")
def test_the_limit_is_in_force_and_swap_is_off(found: Found) -> None:
    assert (found["version"], found["limit"], found["swap_limit"], found["inside"]) == (2, 64 * MIB, 0, 1)


@of("kill")
def test_what_takes_too_much_is_killed_and_counted(found: Found) -> None:
    assert (found["status"], found["kills"]) == (-signal.SIGKILL, 1)
    assert 63 * MIB < found["peak"] <= 64 * MIB


@of("kill")
def test_the_counters_outlive_the_cgroup(found: Found) -> None:
    assert found["kept_after_close"] == 1


@of("kill_of_a_child")
def test_a_kill_of_a_child_is_counted_though_the_parent_lives(found: Found) -> None:
    assert (found["kills"], found["parent"], found["left"]) == (1, None, 1)


@of("fits")
def test_what_fits_is_not_killed(found: Found) -> None:
    assert (found["status"], found["kills"]) == (0, 0)


@of("one_of_a_group")
def test_without_oom_group_one_worker_dies_and_the_others_live(found: Found) -> None:
    assert (found["asked"], found["parent"], found["left"]) == (0, None, 2)
    assert (found["kills"], found["group_kills"]) == (1, 0)


@of("all_of_a_group")
def test_with_oom_group_all_die_and_all_are_counted(found: Found) -> None:
    assert (found["asked"], found["parent"], found["left"], found["group_kills"]) == (1, -signal.SIGKILL, 0, 1)
    # oom_kill_process() of mm/oom_kill.c kills its victim first and then everybody in the group: the victim once more,
    # and counts it once more, unless it has let go of its memory by then.
    assert found["kills"] in (3, 4)


@of("cpus")
def test_a_cpu_limit_is_in_force(found: Found) -> None:
    assert found["cap"] == "20000 100000"
    assert found["throttled"] > 0
    assert found["used_s"] < 0.5 * found["span_s"]


@of("processes")
def test_a_limit_of_processes_is_in_force(found: Found) -> None:
    assert (found["cap"], found["there"]) == (4, 4)


@of("page_cache")
def test_reading_more_than_the_limit_kills_nobody_and_is_not_unreclaimable(found: Found) -> None:
    assert found["kills"] == 0
    assert found["reached_limit"] > 0
    assert found["charged"] > 0.9 * found["limit"]
    assert found["unreclaimable"] < 0.3 * found["limit"]


@of("ballast")
def test_unreclaimable_is_the_ballast(found: Found) -> None:
    grown = found["after"]["unreclaimable"] - found["before"]["unreclaimable"]
    assert grown == pytest.approx(found["ballast"], rel=0.03)
    assert found["after"]["unreclaimable"] >= found["ballast"]
    assert found["kills"] == 0


@of("ballast")
def test_the_kernels_peak_is_the_ballast(found: Found) -> None:
    assert found["kernel_peak"] - found["before"]["charged"] == pytest.approx(found["ballast"], rel=0.03)


@of("ballast")
def test_the_sampled_peak_is_the_kernels(found: Found) -> None:
    assert found["sampled_peak"] == pytest.approx(found["kernel_peak"], rel=0.01)


@of("ballast")
def test_rss_and_the_count_of_processes_are_read(found: Found) -> None:
    assert found["after"]["rss"] - found["before"]["rss"] == pytest.approx(found["ballast"], rel=0.03)
    assert found["after"]["processes"] == 1


@of("shared_and_locked")
def test_shared_and_locked_memory_is_counted_once(found: Found) -> None:
    assert found["shmem"] == pytest.approx(24 * MIB, rel=0.03)
    assert found["unreclaimable"] == pytest.approx(found["held"], rel=0.03)


@of("swap_off")
def test_the_service_is_killed_and_not_swapped_though_the_machine_has_swap(found: Found) -> None:
    assert found["machine_has"] == 1
    assert (found["status"], found["kills"], found["swapped"], found["pages_out"]) == (-signal.SIGKILL, 1, 0, 0)


@of("swap_on")
def test_the_same_service_is_swapped_and_lives_where_swap_is_not_kept_off(found: Found) -> None:
    assert (found["status"], found["kills"]) == (None, 0)
    assert found["swapped"] > 30 * MIB


@of("thrashing")
def test_pressure_rises_for_a_service_that_reads_its_files_again_and_again(found: Found) -> None:
    assert found["kills"] == 0
    assert found["refaults"] > 1000
    assert found["sampled_us"] > 0.02 * found["span_us"]


@of("thrashing")
def test_the_sampler_reads_the_pressure_that_the_kernel_tells(found: Found) -> None:
    # Both ends are known to a fifth of a second: the rate at which the sampler reads it.
    assert found["sampled_us"] == pytest.approx(found["kernel_us"], abs=400_000)


@of("idle")
def test_pressure_does_not_rise_for_an_idle_service(found: Found) -> None:
    assert (found["measured"], found["sampled_us"], found["refaults"], found["kills"]) == (True, 0, 0, 0)


@of("without_rights")
def test_a_user_without_rights_is_told_so(found: Found) -> None:
    assert found["said"].startswith("no-limit: no memory limit can be enforced: /sys/fs/cgroup: not writable")
    assert "systemd-run --user --scope" in found["said"]


@of("delegated")
def test_a_user_with_a_delegated_cgroup_needs_no_other_rights(found: Found) -> None:
    said = json.loads(found["said"])
    assert (said["status"], said["kills"]) == (-signal.SIGKILL, 1)


@of("limited_itself")
def test_a_limit_above_the_tools_own_is_refused(found: Found) -> None:
    assert "has only 96 MiB" in found["said"] or "has only 96.0 MiB" in found["said"]


@of("killed")
def test_what_a_killed_tool_left_is_cleared(found: Found) -> None:
    assert found["inside"] == 1


@of("nothing_left")
def test_nothing_is_left(found: Found) -> None:
    assert (found["cgroups"], found["processes"]) == ([], {})


@of("watched")
def test_what_runs_already_is_watched_in_its_cgroup(found: Found) -> None:
    assert (found["limit"], found["swap"], found["same"]) == (64 * MIB, "off (memory.swap.max = 0)", True)
    assert (found["before"], found["after"], found["gone"]) == (0, 1, None)


@of("watched_below")
def test_the_processes_of_cgroups_below_are_counted(found: Found) -> None:
    assert (found["found"], found["direct"]) == (1, "")


@of("watched_tree")
def test_a_tree_of_processes_counts_shared_pages_once(found: Found) -> None:
    assert found["held"] < found["anon"] < 1.2 * found["held"]
    assert abs(found["anon"] - found["cgroup_anon"]) < 0.05 * found["cgroup_anon"]
    assert (found["processes"], found["charged"], found["oom_kills"]) == (2, -1, -1)


@of("snapshot")
def test_memory_maps_agree_with_the_counters(found: Found) -> None:
    assert (found["whole"], found["processes"], found["looked_through"]) == (True, 2, True)
    assert found["held"] < found["anon"] < 1.2 * found["held"]
    assert abs(found["anon"] - found["cgroup_anon"]) < 0.05 * found["cgroup_anon"]
    assert found["rows"] == ["pagetables", "kernel_stack", "sock", "file_mapped"]
