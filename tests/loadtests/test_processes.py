"""A load that is shared out over real Locust processes of this machine."""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from loadtests.driver import LoadError, LoadProcess
from loadtests.plan import LoadEnd, LoadPlan, LoadSummary, RequestTemplate, Stage, query_sequence, session_id
from loadtests.requestlog import RequestOutcome, count_records
from loadtests.workers import Workers
from tests.loadtests.bench import Bench, gone, gone_group, outcomes, until
from tests.loadtests.servers import hang, serving


def shared(plan: LoadPlan, processes: int) -> LoadPlan:
    return msgspec.structs.replace(plan, workers=Workers(processes=processes))


def workers_of(load: LoadProcess) -> list[int]:
    """Process ids of the workers, which the master has forked."""
    children = Path(f"/proc/{load.pid}/task/{load.pid}/children").read_text().split()
    return [int(child) for child in children]


def test_the_total_is_what_was_asked(bench: Bench) -> None:
    queries = ("a", "b", "c")
    with serving() as server:
        plan = shared(LoadPlan.constant(5, 1.0, seed=5, think_time_s=0.02), 2)
        summary, records = bench.run(server.url, plan, RequestTemplate(queries=queries))
    assert (summary.ended, summary.exit_code, summary.message) == (LoadEnd.FINISHED, 0, None)
    assert summary.records == len(records) == len(server.received) > 0
    assert [worker.lost for worker in summary.workers] == [None, None]
    assert sum(worker.records for worker in summary.workers) == len(records)
    assert all(worker.records and worker.pid and worker.cpu_share for worker in summary.workers)
    assert summary.cpu_share == max(worker.cpu_share or 0 for worker in summary.workers)
    assert {record.user for record in records} == set(range(5))
    assert {record.active_users for record in records} == {5}
    assert {(record.outcome, record.clock) for record in records} == {(RequestOutcome.OK, 0)}
    assert summary.started_ns is not None
    assert all(summary.started_ns <= record.sent_ns <= record.finished_ns for record in records)
    finished = [record.finished_ns for record in records]
    assert finished == sorted(finished), "in the order of their end, as of one process"
    # Who asks what does not depend on how many processes there are.
    for user in range(5):
        mine = [r.json["query"] for r in server.received if r.json["session_id"] == session_id(5, user)]
        expected = query_sequence(queries, 5, user)
        assert mine == [next(expected) for _ in mine]
    assert gone_group(bench)


@pytest.mark.parametrize(("users", "processes"), [(6, 3), (2, 4)])
def test_an_open_loop_has_each_time_once(bench: Bench, users: int, processes: int) -> None:
    rate, duration_s = 60.0, 1.5
    with serving() as server:
        summary, records = bench.run(server.url, shared(LoadPlan.constant(users, duration_s, rate=rate), processes))
    assert summary.started_ns is not None
    assert len(summary.workers) == min(users, processes)
    due = [summary.started_ns + round(number * 1e9 / rate) for number in range(int(rate * duration_s))]
    assert sorted(record.intended_ns for record in records) == due


def test_users_come_and_go_in_stages(bench: Bench) -> None:
    plan = LoadPlan((Stage(4, 0.6), Stage(1, 0.6), Stage(3, 0.8)), think_time_s=0.01, stop_timeout_s=2.0)
    with serving() as server:
        summary, records = bench.run(server.url, shared(plan, 2))
    assert summary.ended is LoadEnd.FINISHED
    assert summary.started_ns is not None
    seen = {0: set[int](), 1: set[int](), 2: set[int]()}
    for record in records:
        at_s = (record.sent_ns - summary.started_ns) / 1e9
        stage = 0 if at_s < 0.6 else 1 if at_s < 1.2 else 2
        if at_s - (0.0, 0.6, 1.2)[stage] > 0.3:  # once those who leave have left
            seen[stage].add(record.user)
    assert seen[0] == {0, 1, 2, 3}
    assert [len(seen[stage]) for stage in (1, 2)] == [1, 3], "which of them stay is Locust's choice"


def test_a_worker_that_is_killed_is_in_the_result(bench: Bench) -> None:
    with serving() as server, bench.start(server.url, shared(LoadPlan.constant(5, 3.0, think_time_s=0.01), 2)) as load:
        until(lambda: count_records(bench.log) > 20)
        victim = workers_of(load)[0]
        os.kill(victim, signal.SIGKILL)
        summary = load.wait(30)
    assert summary.ended is LoadEnd.FINISHED
    lost = [worker for worker in summary.workers if worker.lost]
    assert [worker.pid for worker in lost] == [victim]
    assert lost[0].lost == "was ended by signal 9"
    assert lost[0].lost_users in (2, 3)
    assert lost[0].lost_ns is not None
    assert lost[0].cpu_share is None
    assert lost[0].records > 0, "what it had handed over stays"
    # The others went on, and no longer count its users.
    after = [record for record in bench.records() if record.sent_ns > lost[0].lost_ns + 0.5e9]
    assert {record.active_users for record in after} == {5 - lost[0].lost_users}
    assert gone_group(bench)


def test_without_workers_the_load_has_failed(bench: Bench) -> None:
    with serving() as server, bench.start(server.url, shared(LoadPlan.constant(4, 60.0), 2)) as load:
        until(lambda: count_records(bench.log))
        for pid in workers_of(load):
            os.kill(pid, signal.SIGKILL)
        summary = load.wait(30)
    assert summary.ended is LoadEnd.FAILED
    assert summary.message is not None
    assert "all load workers were lost" in summary.message
    assert all(worker.lost for worker in summary.workers)


def test_a_worker_that_dies_before_the_start_is_an_error(bench: Bench) -> None:
    with serving() as server, bench.start(server.url, shared(LoadPlan.constant(4, 5.0), 2), hold=True) as load:
        until(lambda: load.ready)
        assert load.came == 2
        os.kill(workers_of(load)[1], signal.SIGKILL)
        with pytest.raises(LoadError, match=r"was ended by signal 9 before the load began"):
            load.wait(30)
        assert not server.received


def test_a_stop_and_a_kill_leave_nothing(bench: Bench) -> None:
    with serving() as server:
        with bench.start(server.url, shared(LoadPlan.constant(4, 60.0, think_time_s=0.01), 2)) as load:
            until(lambda: count_records(bench.log))
            summary = load.stop()
        assert summary.ended is LoadEnd.STOPPED
        assert summary.records == len(bench.records()) == len(server.received)
        assert outcomes(bench.records()).keys() == {"OK"}
        with bench.start(server.url, shared(LoadPlan.constant(4, 60.0), 2)) as load:
            until(lambda: load.started_ns)
            pids = [load.pid, *workers_of(load)]
            os.kill(load.pid, signal.SIGKILL)
            until(lambda: all(gone(pid) for pid in pids[1:])), "workers notice that their master is gone"
            failed = load.wait(30)
        assert failed.ended is LoadEnd.FAILED
        with bench.start(server.url, shared(LoadPlan.constant(4, 60.0), 2), hold=True) as load:
            pass  # not even ready
    assert gone_group(bench)


def test_what_is_in_flight_at_the_end_is_cut_in_each(bench: Bench) -> None:
    with serving(hang) as server:
        summary, records = bench.run(server.url, shared(LoadPlan.constant(4, 0.4, stop_timeout_s=0.2), 2))
    assert summary.ended is LoadEnd.FINISHED
    assert outcomes(records) == {"CUT_AT_END": 4}
    assert {record.user for record in records} == {0, 1, 2, 3}


def test_users_of_somebodys_own(bench: Bench) -> None:
    locustfile = bench.directory / "mine.py"
    locustfile.write_text(
        "from locust import HttpUser, constant, task\n"
        "class Mine(HttpUser):\n    wait_time = constant(0.02)\n"
        "    @task\n    def ask(self):\n        self.client.get('/mine')\n"
        "class Broken(HttpUser):\n    wait_time = constant(0.1)\n"
        "    @task\n    def ask(self):\n        raise RuntimeError('a fault of its own')\n"
    )
    with serving() as server:
        summary, records = bench.run(server.url, shared(LoadPlan.constant(4, 1.0), 2), locustfile=locustfile)
    assert summary.ended is LoadEnd.FINISHED
    assert summary.records == len(records) == len(server.received) > 0
    assert {received.path for received in server.received} == {"/mine"}
    assert summary.task_errors > 0
    assert summary.message == "RuntimeError: a fault of its own"


def test_a_busy_worker_shows(bench: Bench) -> None:
    """One of them alone may be the bottleneck."""
    locustfile = bench.directory / "busy.py"
    locustfile.write_text(
        "import time\nfrom locust import FastHttpUser, events, task\n"
        "class Mine(FastHttpUser):\n"
        "    @task\n    def ask(self):\n"
        "        self.client.get('/')\n"
        "        if self.environment.runner.worker_index == 0:\n"
        "            end = time.thread_time() + 0.1\n"
        "            while time.thread_time() < end: pass\n"
        "        else:\n"
        "            time.sleep(0.1)\n"
    )
    with serving() as server:
        summary, _ = bench.run(server.url, shared(LoadPlan.constant(2, 2.0), 2), locustfile=locustfile)
    shares = sorted(worker.cpu_share or 0 for worker in summary.workers)
    assert shares[0] < shares[1] == summary.cpu_share


def test_records_survive_a_full_disk_no_worse_than_of_one_process(bench: Bench) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full")
    bench.log = Path("/dev/full")
    with serving() as server, bench.start(server.url, shared(LoadPlan.constant(2, 60.0), 2)) as load:
        summary: LoadSummary = load.wait(30)
    assert summary.ended is LoadEnd.FAILED
    assert summary.message is not None
    assert "No space left" in summary.message
