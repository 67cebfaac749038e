"""A run that is decided ends before its time: by value, and with a real kill and real failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadtests.plan import LoadPlan
from loadtests.requestlog import RequestOutcome, RequestRecord, pack
from profiling.experiments import record
from profiling.judging.verdict import run_status
from profiling.measuring import store
from profiling.measuring.events import Silent
from profiling.measuring.measure import measure
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.measuring.stopping import Answers, Decision, StopWhen, certain
from profiling.values import Budget, Outcome, RunResult
from tests.helpers import our_cgroups, plan, target

CLOSED = LoadPlan.constant(8, 20.0)
OPEN = LoadPlan.constant(8, 20.0, rate=50.0)  # 1,000 requests
NONE_MAY_FAIL = StopWhen(max_failures=0.0)
FIVE_PERCENT = StopWhen(max_failures=0.05)
FAST = StopWhen(max_p95_ms=100.0)


@pytest.mark.parametrize(
    ("stop", "seen", "load", "elapsed_s", "decided"),
    [
        (NONE_MAY_FAIL, Answers(10, 0, 0, 10), CLOSED, 0.1, False),
        (NONE_MAY_FAIL, Answers(10, 1, 0, 10), CLOSED, 0.1, True),
        (FIVE_PERCENT, Answers(100, 50, 0, 60), OPEN, 2.0, False),
        (FIVE_PERCENT, Answers(100, 51, 0, 60), OPEN, 2.0, True),
        # Closed loop: 100 a second for 10 s more, were it four times as fast, are 4,000.
        (FIVE_PERCENT, Answers(1000, 200, 0, 100), CLOSED, 10.0, False),
        (FIVE_PERCENT, Answers(1000, 260, 0, 100), CLOSED, 10.0, True),
        (FIVE_PERCENT, Answers(8, 8, 0, 8), CLOSED, 0.5, False),
        (FIVE_PERCENT, Answers(1000, 60, 0, 100), CLOSED, 20.0, True),
        (FAST, Answers(100, 0, 51, 60), OPEN, 2.0, False),
        (FAST, Answers(100, 0, 52, 60), OPEN, 2.0, True),
        (FAST, Answers(100, 100, 0, 60), OPEN, 20.0, False),
        (StopWhen(), Answers(100, 100, 100, 60), OPEN, 20.0, False),
    ],
)
def test_only_what_nothing_can_mend_any_more_is_certain(
    stop: StopWhen, seen: Answers, load: LoadPlan, elapsed_s: float, decided: bool
) -> None:
    assert (certain(stop, seen, load, elapsed_s) is not None) is decided


def test_what_is_certain_is_said_in_words() -> None:
    assert certain(NONE_MAY_FAIL, Answers(10, 1, 0, 10), CLOSED, 1.0) == (
        "1 of 10 requests failed so far, and 0 % may fail in all"
    )
    said = certain(FAST, Answers(1000, 0, 200, 60), OPEN, 2.0)
    assert said is not None
    assert said.startswith("200 of 1,000 answers took longer than 100 ms so far")


def test_the_log_is_read_as_it_grows(tmp_path: Path) -> None:
    def answered(at_s: float, outcome: RequestOutcome = RequestOutcome.OK) -> bytes:
        at_ns = round(at_s * 1e9)
        return pack(RequestRecord(at_ns - 50_000_000, at_ns, at_ns, 0, 0, 1, 200, outcome))

    decision = Decision(NONE_MAY_FAIL, CLOSED, tmp_path)
    log = tmp_path / store.REQUESTS_FILE
    assert decision.look(0, 1) is None, "there is no log yet"
    log.write_bytes(answered(0.5) + answered(0.6, RequestOutcome.NOT_SENT))
    assert decision.look(None, 10**9) is None
    assert decision.look(0, 10**9) is None
    with log.open("ab") as file:
        file.write(answered(1.2, RequestOutcome.TIMEOUT)[:20])
    assert decision.look(0, 2 * 10**9) is None, "a torn record waits"
    with log.open("ab") as file:
        file.write(answered(1.2, RequestOutcome.TIMEOUT)[20:])
    assert decision.look(0, 2 * 10**9) == "1 of 2 requests failed so far, and 0 % may fail in all"


@pytest.fixture
def sandbox() -> Iterator[CgroupSandbox]:
    before = our_cgroups()
    sandbox = CgroupSandbox()
    yield sandbox
    sandbox.close()
    assert our_cgroups() == before


def seconds_of_load(result: RunResult) -> float:
    assert result.load_start_ns is not None
    assert result.load_end_ns is not None
    return (result.load_end_ns - result.load_start_ns) / 1e9


def test_a_kill_ends_the_run_though_the_service_lives_on(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    wanted = plan(target("forked_victim"), duration_s=60.0, stop_when=StopWhen())
    result = measure(wanted, sandbox, tmp_path, Silent())
    assert result.outcome is Outcome.OOM_KILLED
    assert result.exit_status is None
    assert result.stop_reason is not None
    assert result.stop_reason.startswith("stopped after an OOM kill")
    assert result.load_start_ns is None or seconds_of_load(result) < 40
    assert [phase.name for phase in result.phases][-1] == "stop"


def test_the_first_kill_before_it_is_ready_ends_the_run(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    restarted = ("sh", "-c", f"while :; do {sys.executable} hog_at_start.py; done")
    hog = target("hog_at_start")
    hog = msgspec.structs.replace(hog, services=(msgspec.structs.replace(hog.service, command=restarted),))
    result = measure(plan(hog, duration_s=1.0, stop_when=StopWhen()), sandbox, tmp_path, Silent())
    assert (result.outcome, result.ready_ns) == (Outcome.OOM_KILLED, None)
    assert result.stop_reason == "stopped after an OOM kill before it was ready: that decides it"


def test_an_error_that_no_later_answer_mends_ends_the_run_and_the_log_is_whole(
    sandbox: CgroupSandbox, tmp_path: Path
) -> None:
    wanted = plan(target("wrong_answer"), duration_s=60.0, stop_when=NONE_MAY_FAIL)
    result = measure(wanted, sandbox, tmp_path, Silent())
    assert result.outcome is Outcome.STOPPED_EARLY
    assert result.stop_reason is not None
    assert "failed so far, and 0 % may fail in all" in result.stop_reason
    assert seconds_of_load(result) < 40
    run = record.load_run(tmp_path, Budget())
    assert run.summary.requests >= run.summary.failures >= 1
    assert run_status(run) == "fail"


def test_what_stays_within_its_budget_goes_on_to_its_end(sandbox: CgroupSandbox, tmp_path: Path) -> None:
    stop = StopWhen(max_failures=0.0, max_p95_ms=20_000.0)
    result = measure(plan(target("ballast"), stop_when=stop), sandbox, tmp_path, Silent())
    assert (result.outcome, result.stop_reason) == (Outcome.COMPLETED, None)
