from typing import Any

import numpy as np
import pytest

from loadtests.workers import WorkerSummary
from profiling.judgements import Finding
from profiling.judging.report import AnalysedRun
from profiling.measuring.samples import UNMEASURED
from profiling.units import MIB
from profiling.values import Budget, Outcome, PageCache
from tests.profiling.judging.build import LIMIT, answers, failures, judged, requests, result, samples, spread

T_S = np.arange(0, 24, 0.2)
KILLED: dict[str, Any] = {"outcome": Outcome.OOM_KILLED, "oom_kills": 2, "kernel_peak_charged_bytes": LIMIT}


def killed_at(moment_s: float, **changes: Any) -> AnalysedRun:
    memory = samples(t_s=T_S, charged=LIMIT, oom_kills=2 * (moment_s <= T_S))
    return judged(result(**KILLED | changes), memory, failures(20))


def finding(run: AnalysedRun, name: str) -> Finding:
    return next(found for found in run.summary.findings if found.id == name)


def ids(run: AnalysedRun, *levels: str) -> list[str]:
    return [found.id for found in run.summary.findings if not levels or found.level in levels]


def test_a_run_that_holds_has_nothing_to_find() -> None:
    assert ids(judged()) == []


def test_the_worst_stands_first_and_nothing_but_the_findings_changes() -> None:
    run = judged(result(page_cache=PageCache.WARM, clean_end=False), load=np.concatenate([answers(180), failures(20)]))
    assert [found.level for found in run.summary.findings] == ["fail", "warn", "info"]
    assert ids(run) == ["failures", "no-clean-end", "page-cache"]
    assert run.summary.availability == 0.9


def test_a_kill_under_load_is_told_from_the_loads_start() -> None:
    found = finding(killed_at(6.0), "oom-kill")
    assert found.level == "fail"
    assert "2 times at the limit of 512 MiB, first 4.0 s into the load" in found.message


def test_a_kill_before_the_load_is_told_from_the_start() -> None:
    assert "first 1.0 s after the start" in finding(killed_at(1.0), "oom-kill").message


def test_a_kill_of_what_was_never_ready_is_a_kill_at_start_up() -> None:
    run = killed_at(1.0, ready_ns=None, load_start_ns=None, load_end_ns=None)
    assert "before it was ready" in finding(run, "oom-kill-at-start").message


def test_a_kill_far_from_the_limit_is_blamed_on_another_limit() -> None:
    run = judged(result(**KILLED | {"kernel_peak_charged_bytes": 200 * MIB}))
    assert finding(run, "killed-by-another-limit").level == "fail"
    assert "oom-kill" not in ids(run)


@pytest.mark.parametrize("peak", [LIMIT, LIMIT - 4096, None])
def test_a_kill_at_the_limit_is_not_blamed_on_another(peak: int | None) -> None:
    assert "oom-kill" in ids(judged(result(**KILLED | {"kernel_peak_charged_bytes": peak})), "fail")


@pytest.mark.parametrize(
    ("outcome", "name"),
    [(Outcome.CRASHED, "crashed"), (Outcome.NEVER_READY, "never-ready"), (Outcome.TIMED_OUT, "timed-out")],
)
def test_a_bad_end_fails_with_its_reason_and_names_the_log(outcome: Outcome, name: str) -> None:
    found = finding(judged(result(outcome=outcome, stop_reason="ended with exit status 3")), name)
    assert found.level == "fail"
    assert "exit status 3" in found.message
    assert "/srv/shop/runs/singleton/service.log" in found.hint


def test_a_restart_without_a_kill_warns_and_one_with_a_kill_does_not() -> None:
    again = (T_S >= 8).astype(int)
    memory = samples(t_s=T_S, births=2 + again, exits=again)
    assert "1 processes ended without an OOM kill" in finding(judged(memory=memory), "restarts").message
    assert "restarts" not in ids(judged(result(**KILLED), memory))


def stalled(share: float, **columns: Any) -> Any:
    """Samples of a run in which everything waited for memory for this share of its time."""
    return samples(t_s=T_S, pressure_full_us=np.rint(T_S * 1e6 * share), **columns)


@pytest.mark.parametrize(("share", "level"), [(0.0, None), (0.09, None), (0.11, "warn"), (0.9, "warn")])
def test_waiting_for_memory_under_load_warns(share: float, level: str | None) -> None:
    run = judged(memory=stalled(share))
    assert [found.level for found in run.summary.findings if found.id == "thrashing"] == ([level] if level else [])


def test_thrashing_is_told_with_its_share_and_what_was_read_again() -> None:
    read_again = np.where(T_S >= 12, 25600, 0)
    message = finding(judged(memory=stalled(0.25, refault_file=read_again)), "thrashing").message
    assert "25 % of the load's time" in message
    assert "100 MiB of its own code and files" in message


def test_waiting_before_the_load_or_after_it_is_not_thrashing() -> None:
    start = np.rint(np.minimum(T_S, 2.0) * 1e6)
    end = np.rint(np.maximum(T_S - 22.0, 0.0) * 1e6)
    assert "thrashing" not in ids(judged(memory=samples(t_s=T_S, pressure_full_us=start + end)))


def test_thrashing_fails_together_with_slow_or_failed_requests() -> None:
    slow = judged(memory=stalled(0.3), load=requests(spread(100), latency_ms=50.0), budget=Budget(max_p95_ms=40.0))
    assert ids(slow, "fail") == ["thrashing", "p95"]
    failing = judged(memory=stalled(0.3), load=np.concatenate([answers(180), failures(20)]))
    assert ids(failing, "fail") == ["thrashing", "failures"]


def test_what_is_stuck_or_was_killed_is_not_said_to_thrash_as_well() -> None:
    stuck = judged(memory=stalled(0.9, unreclaimable=LIMIT), load=np.concatenate([answers(10), failures(90)]))
    assert ids(stuck, "fail")[0] == "stuck-at-limit"
    assert "thrashing" not in ids(stuck)
    killed = judged(result(**KILLED), stalled(0.9, charged=LIMIT, oom_kills=2 * (T_S >= 6)), failures(20))
    assert "thrashing" not in ids(killed)


def test_without_an_account_of_waiting_nothing_is_said_of_it() -> None:
    assert "thrashing" not in ids(judged(memory=samples(pressure_full_us=UNMEASURED, refault_file=10**6)))


@pytest.mark.parametrize(("failed", "found"), [(0, False), (1, True), (100, True)])
def test_one_failed_request_fails_without_a_budget(failed: int, found: bool) -> None:
    run = judged(load=np.concatenate([answers(100), failures(failed)]))
    assert ("failures" in ids(run, "fail")) is found


def test_of_a_load_without_a_whole_second_no_share_of_its_seconds_is_said() -> None:
    usual, short = result(), result(load_end_ns=(result().load_start_ns or 0) + 900_000_000)
    load = np.concatenate([answers(100), failures(3)])
    assert "3 of 103 requests failed; no answer at all in" in finding(judged(usual, load=load), "failures").message
    assert finding(judged(short, load=load), "failures").message == "3 of 103 requests failed"


@pytest.mark.parametrize(("failed", "found"), [(5, False), (6, True)])
def test_failures_up_to_the_budget_are_kept_within_it(failed: int, found: bool) -> None:
    load = np.concatenate([answers(100 - failed), failures(failed)])
    assert ("failures" in ids(judged(load=load, budget=Budget(max_failures=0.05)), "fail")) is found


@pytest.mark.parametrize(("limit_ms", "found"), [(None, False), (60.0, False), (40.0, True)])
def test_p95_fails_only_against_a_budget(limit_ms: float | None, found: bool) -> None:
    run = judged(load=requests(spread(100), latency_ms=50.0), budget=Budget(max_p95_ms=limit_ms))
    assert ("p95" in ids(run, "fail")) is found


@pytest.mark.parametrize(("share", "level"), [(0.89, None), (0.91, "warn"), (1.0, "warn")])
def test_little_headroom_warns_without_a_budget(share: float, level: str | None) -> None:
    run = judged(memory=samples(unreclaimable=round(LIMIT * share)))
    assert [found.level for found in run.summary.findings if found.id == "headroom"] == ([level] if level else [])


@pytest.mark.parametrize(
    ("budget", "name"),
    [(Budget(min_headroom=0.3), "headroom"), (Budget(max_peak_bytes=399 * MIB), "peak")],
)
def test_memory_over_its_budget_fails(budget: Budget, name: str) -> None:
    assert ids(judged(memory=samples(unreclaimable=400 * MIB), budget=budget)) == [name]


@pytest.mark.parametrize("budget", [Budget(min_headroom=0.2), Budget(max_peak_bytes=400 * MIB)])
def test_memory_within_its_budget_passes(budget: Budget) -> None:
    assert ids(judged(memory=samples(unreclaimable=400 * MIB), budget=budget)) == []


def test_headroom_within_its_budget_does_not_warn() -> None:
    assert ids(judged(memory=samples(unreclaimable=round(LIMIT * 0.94)), budget=Budget(min_headroom=0.05))) == []


@pytest.mark.parametrize("count", [1, 3, 10, 30])
def test_a_flat_service_that_answers_little_does_not_grow(count: int) -> None:
    assert ids(judged(load=answers(count))) == []


@pytest.mark.parametrize(("error_ns", "said"), [(19_000_000, False), (25_000_000, True)])
def test_clocks_of_other_machines_that_are_not_well_known_are_said(error_ns: int, said: bool) -> None:
    workers = (WorkerSummary(host="a", pid=1, records=9), WorkerSummary("b", 1, 9, clock=1, clock_error_ns=error_ns))
    found = {finding.id: finding for finding in judged(result(load_workers=workers)).summary.findings}
    assert ("load-clock" in found) is said
    if said:
        assert "within 25 ms" in found["load-clock"].message


def test_a_load_generator_that_is_not_trusted_is_said() -> None:
    run = judged(result(load_problem="the load generator used 98 % of a core"))
    assert finding(run, "load-generator").message == "the load generator used 98 % of a core"


@pytest.mark.parametrize(("gap_s", "found"), [(0.010, False), (0.024, False), (0.040, True)])
def test_long_gaps_between_samples_under_load_are_said(gap_s: float, found: bool) -> None:
    run = judged(memory=samples(t_s=np.arange(0, 24, gap_s)))
    assert ("sampler-gaps" in ids(run, "warn")) is found


def test_gaps_are_judged_against_the_rate_that_was_asked_for() -> None:
    assert ids(judged(result(sampler_hz=10.0), samples(t_s=np.arange(0, 24, 0.1)))) == []


@pytest.mark.parametrize(("exact_mib", "found"), [(None, False), (100, False), (101, False), (102, True)])
def test_a_peak_that_the_sampler_missed_is_said(exact_mib: int | None, found: bool) -> None:
    exact = None if exact_mib is None else exact_mib * MIB
    run = judged(result(kernel_peak_charged_bytes=exact), samples(charged=100 * MIB))
    assert ("missed-peak" in ids(run, "warn")) is found


@pytest.mark.parametrize("cache", [PageCache.WARM, PageCache.UNKNOWN])
def test_a_page_cache_that_was_not_cold_is_said(cache: PageCache) -> None:
    assert finding(judged(result(page_cache=cache)), "page-cache").level == "info"
