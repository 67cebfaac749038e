"""A load that other machines send: real workers in network namespaces of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadtests.driver import LoadError
from loadtests.plan import LoadEnd, LoadPlan, RequestTemplate
from loadtests.requestlog import RequestOutcome, count_records
from loadtests.workers import Workers
from tests.loadtests.bench import Bench, outcomes, until
from tests.loadtests.networks import Elsewhere, ended, machines
from tests.loadtests.servers import free_port, serving

WAIT_S = 60.0


@pytest.fixture(scope="module")
def two() -> Iterator[list[Elsewhere]]:
    with machines(2) as found:
        yield found


def by_others(plan: LoadPlan, here: str, port: int, count: int = 2, wait_s: float = 30.0) -> LoadPlan:
    workers = Workers(remote=count, bind_host=here, bind_port=port, max_wait_s=wait_s)
    return msgspec.structs.replace(plan, workers=workers)


def locust_of(worker: subprocess.Popen[str]) -> int:
    """Process id of the Locust worker that a `load-worker` has started, the shell's tools in between left out."""
    pid = worker.pid
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return pid
        pid = int(children[-1])


def test_two_machines_share_a_load_and_their_clocks_are_brought_here(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    ahead_s = 1000
    rate, duration_s = 40.0, 3.0
    first, second = (
        two[0].join(port, "--loads", "1"),
        two[1].join(port, "--loads", "1", host=here, clock_ahead_s=ahead_s),
    )
    with ended(first, second), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(4, duration_s, rate=rate), here, port)
        request = RequestTemplate(headers={"X-Secret": "shh"}, queries=("a",))
        with bench.start(server.url, plan, request) as load:
            summary, records = load.wait(WAIT_S), bench.records()
        assert [first.wait(20), second.wait(20)] == [0, 0], "each had its one load"
    assert (summary.ended, summary.message) == (LoadEnd.FINISHED, None)
    assert summary.started_ns is not None
    assert len(records) == len(server.received) == sum(worker.records for worker in summary.workers)
    assert all(received.headers["x-secret"] == "shh" for received in server.received)
    due = [summary.started_ns + round(number * 1e9 / rate) for number in range(int(rate * duration_s))]
    # One of them is the same machine with the same clock, to which the times belong exactly.
    same, other = sorted(summary.workers, key=lambda worker: worker.clock)
    assert (same.clock, same.clock_offset_ns, same.clock_error_ns, other.clock) == (0, 0, 0, 1)
    exact = [record.intended_ns for record in records if record.clock == 0]
    assert set(exact) < set(due)
    assert 0 < other.clock_error_ns < 1e9
    assert abs(other.clock_offset_ns - ahead_s * 1e9) <= other.clock_error_ns
    shifted = sorted(record.intended_ns for record in records if record.clock == 1)
    for read, meant in zip(shifted, sorted(set(due) - set(exact)), strict=True):
        assert abs(read - meant) <= 2 * other.clock_error_ns
    finished = [record.finished_ns for record in records]
    assert finished == sorted(finished)
    assert {record.user for record in records} == {0, 1, 2, 3}
    assert {record.active_users for record in records} == {4}
    assert not list(bench.work.glob("load_job_*"))


def test_a_machine_gives_several_workers_and_joins_one_load_after_the_other(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    locustfile = bench.directory / "mine.py"
    locustfile.write_text(
        "from locust import FastHttpUser, constant, task\n"
        "class Mine(FastHttpUser):\n    wait_time = constant(0.02)\n"
        "    @task\n    def ask(self):\n        self.client.get('/mine')\n"
    )
    worker = two[0].join(port, "--processes", "2", "--loads", "2")
    with ended(worker), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(2, 1.0, think_time_s=0.02), here, port)
        for chosen, path in ((None, "/chat"), (locustfile, "/mine")):
            server.received.clear()
            bench.log.unlink(missing_ok=True)
            with bench.start(server.url, plan, locustfile=chosen) as load:
                summary = load.wait(WAIT_S)
            assert summary.ended is LoadEnd.FINISHED
            assert [bool(one.records) for one in summary.workers] == [True, True]
            assert {received.path for received in server.received} == {path}, "users are fetched from the master"
            assert summary.records == len(server.received)
        assert worker.wait(20) == 0


def test_a_worker_that_is_killed_takes_its_users_with_it(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    workers = [machine.join(port, host=here) for machine in two]
    with ended(*workers), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(4, 7.0, think_time_s=0.02), here, port)
        with bench.start(server.url, plan) as load:
            until(lambda: load.started_ns)
            until(lambda: count_records(bench.log) > 20)
            victim = locust_of(workers[1])
            os.kill(victim, signal.SIGKILL)
            summary = load.wait(WAIT_S)
    assert summary.ended is LoadEnd.FINISHED
    lost = [worker for worker in summary.workers if worker.lost]
    assert [(worker.pid, worker.lost, worker.lost_users) for worker in lost] == [
        (victim, "was not heard of any more", 2)
    ]
    assert outcomes(bench.records()).keys() == {"OK"}


def test_too_few_workers_are_counted(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    worker = two[0].join(port)
    with ended(worker), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(4, 1.0), here, port, wait_s=6)
        with (
            bench.start(server.url, plan, hold=True) as load,
            pytest.raises(LoadError, match=rf"1 of 2 load workers came to {here}:{port} within 6 s") as caught,
        ):
            load.wait(WAIT_S)
        assert f"load-worker {here}:{port}" in caught.value.hint
        assert not server.received


def test_a_worker_at_the_wrong_port_never_comes(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    worker = two[0].join(free_port())
    with ended(worker), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(1, 1.0), here, port, count=1, wait_s=4)
        with bench.start(server.url, plan) as load, pytest.raises(LoadError, match="0 of 1 load workers came"):
            load.wait(WAIT_S)
        assert worker.poll() is None, "it goes on asking: a master may come yet"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("import loadtests.workers as w; w.PROTOCOL = 99", "another version of this tool"),
        ("import locust; locust.__version__ = '2.1.0'", "has Locust 2.1.0, this machine has"),
    ],
)
def test_a_worker_of_another_version_is_turned_away(two: list[Elsewhere], bench: Bench, other: str, said: str) -> None:
    here, port = two[0].here, free_port()
    program = (
        f"import sys; sys.path.insert(0, '.')\n{other}\n"
        "import locust.main\n"
        f"sys.argv = ['locust', '-f', '-', '--worker', '--master-host', '{here}', '--master-port', '{port}']\n"
        "locust.main.main()\n"
    )
    worker = two[0].start("env", f"TMPDIR={bench.directory}", sys.executable, "-c", program)
    with ended(worker), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(1, 1.0), here, port, count=1)
        with bench.start(server.url, plan) as load, pytest.raises(LoadError, match=said):
            load.wait(WAIT_S)
        assert not server.received


def test_one_that_comes_too_late_has_no_share(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    first = two[0].join(port, "--loads", "1")
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended(first))
        server = stack.enter_context(serving(host=here))
        plan = by_others(LoadPlan.constant(2, 6.0, think_time_s=0.02), here, port, count=1)
        with bench.start(server.url, plan) as load:
            until(lambda: load.started_ns)
            late = two[1].join(port, host=here)
            stack.enter_context(ended(late))
            output = bench.work / "load-output.log"
            until(lambda: load.poll() is not None or "too late" in output.read_text())
            assert "too late" in output.read_text()
            summary = load.wait(WAIT_S)
    assert len(summary.workers) == 1
    assert summary.workers[0].lost is None
    records = bench.records()
    assert {record.user for record in records} == {0, 1}
    assert {(record.outcome, record.active_users) for record in records} == {(RequestOutcome.OK, 2)}


def test_workers_notice_that_the_master_is_gone(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    worker = two[0].join(port, "--loads", "1")
    with ended(worker), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(2, 60.0, think_time_s=0.02), here, port, count=1)
        with bench.start(server.url, plan) as load:
            until(lambda: server.received)
            load.kill()
        # Longer than it takes the master for dead, and far shorter than the load.
        assert worker.wait(30) == 0
        said = worker.stdout.read() if worker.stdout else ""
        assert "the load was broken off" in said


def test_workers_of_a_load_that_is_given_up_are_free_for_the_next(two: list[Elsewhere], bench: Bench) -> None:
    here, port = two[0].here, free_port()
    worker = two[0].join(port)
    with ended(worker), serving(host=here) as server:
        plan = by_others(LoadPlan.constant(1, 0.5, think_time_s=0.02), here, port, count=1)
        with bench.start(server.url, plan, hold=True) as load:  # as where the service dies before it is ready
            until(lambda: load.ready)
        with bench.start(server.url, plan) as load:
            assert load.wait(WAIT_S).records > 0
        worker.send_signal(signal.SIGINT)
        said, _ = worker.communicate(timeout=20)
    assert "the master is gone" not in said


def test_what_remote_workers_cannot_reach_is_refused(bench: Bench) -> None:
    plan = by_others(LoadPlan.constant(2, 1.0), "127.0.0.1", 5557)
    for url in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"):
        with pytest.raises(LoadError, match="cannot reach"):
            bench.start(url, plan)


def test_where_workers_cannot_be_awaited_is_said_at_once(two: list[Elsewhere], bench: Bench) -> None:
    here = two[0].here
    with socket.create_server((here, 0)) as taken:
        port = taken.getsockname()[1]
        for host, why in ((here, "address already in use"), ("0.0.0.0", "address already in use")):
            with pytest.raises(LoadError, match=why):
                bench.start(f"http://{here}:1", by_others(LoadPlan.constant(2, 1.0), host, port))
    with pytest.raises(LoadError, match="cannot assign requested address"):
        bench.start(f"http://{here}:1", by_others(LoadPlan.constant(2, 1.0), "203.0.113.7", port))
    with pytest.raises(LoadError, match=r"cannot be awaited at nowhere\.invalid"):
        bench.start(f"http://{here}:1", by_others(LoadPlan.constant(2, 1.0), "nowhere.invalid", port))
