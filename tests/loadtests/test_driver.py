"""The Locust subprocess against real servers. Every trap that `measuring.md` lists has its test."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import driver
from loadtests.driver import LoadError, LoadProcess
from loadtests.plan import (
    LoadEnd,
    LoadPlan,
    LoadSummary,
    RequestTemplate,
    Stage,
    query_sequence,
    session_id,
)
from loadtests.requestlog import RequestOutcome, RequestRecord, count_records, read_records
from tests.loadtests.servers import Received, Server, answer, free_port, hang, ok, serving

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0  # only ever reached by a failing test


def until(condition: Callable[[], Any]) -> Any:
    """Waits for something that is bound to happen."""
    limit = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.01)
    return result


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # an orphan's zombie may wait for a slow init


class Bench:
    """Runs plans and keeps their logs apart."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.log = directory / "requests.bin"
        self.work = directory / "work"

    def start(
        self,
        url: str,
        plan: LoadPlan,
        request: RequestTemplate | None = None,
        locustfile: Path | None = None,
        *,
        hold: bool = False,
    ) -> LoadProcess:
        return LoadProcess.start(
            url, plan, request or RequestTemplate(), self.log, self.work, locustfile=locustfile, hold=hold
        )

    def run(self, *args: Any, **kwargs: Any) -> tuple[LoadSummary, list[RequestRecord]]:
        with self.start(*args, **kwargs) as load:
            return load.wait(PATIENCE_S), self.records()

    def records(self) -> list[RequestRecord]:
        return list(read_records(self.log))

    @property
    def output(self) -> str:
        return (self.work / "load-output.log").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def outcomes(records: list[RequestRecord]) -> Counter[str]:
    return Counter(record.outcome.name for record in records)


def test_a_plan_is_carried_out_and_every_request_recorded(bench: Bench) -> None:
    before = time.monotonic_ns()
    with serving() as server:
        plan = LoadPlan.constant(3, 0.7, seed=5, think_time_s=0.01)
        queries = ("a", 'b"{query}', "c ü {session}")
        summary, records = bench.run(server.url, plan, RequestTemplate(queries=queries))
    after = time.monotonic_ns()

    assert (summary.ended, summary.exit_code, summary.message) == (LoadEnd.FINISHED, 0, None)
    assert summary.records == len(records) == len(server.received) > 0
    assert summary.started_ns is not None
    assert summary.ended_ns is not None
    assert summary.ended_ns - summary.started_ns >= 0.7e9
    assert summary.cpu_share is not None
    assert summary.cpu_share > 0

    # Trap 7: the times are on the sampler's clock, in full precision, and in order.
    for record in records:
        assert before < summary.started_ns <= record.intended_ns == record.sent_ns
        assert record.sent_ns < record.finished_ns < after
        assert (record.outcome, record.status, record.clock) == (RequestOutcome.OK, 200, 0)
        assert record.response_bytes == len(b'{"response": "hello"}')
        # Afterwards users leave one by one while the last answers come in.
        assert record.active_users == 3 or record.finished_ns > summary.ended_ns
    finished = [record.finished_ns for record in records]
    assert finished == sorted(finished)
    assert len({f % 1_000_000 for f in finished}) > 1
    assert {record.user for record in records} == {0, 1, 2}

    for user in range(3):
        mine = [r.json["query"] for r in server.received if r.json["session_id"] == session_id(5, user)]
        assert mine == list(itertools.islice(query_sequence(queries, 5, user), len(mine)))
    first = server.received[0]
    assert (first.method, first.path) == ("POST", "/chat")
    assert first.headers["content-type"] == first.headers["accept"] == "application/json"
    assert gone_group(bench)
    assert not list(bench.work.glob("locust-home-*"))


def gone_group(bench: Bench) -> bool:
    """No process is left that works for this load."""
    job = str(bench.work / "load-job.json").encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if job in environment.read_bytes() and not gone(int(environment.parent.name)):
                return False
    return True


def test_a_dead_server_is_refusals_and_does_not_swamp(bench: Bench) -> None:
    """Trap 1."""
    plan = LoadPlan.constant(4, 1.3, connection_error_wait_s=0.5)
    summary, records = bench.run(f"http://127.0.0.1:{free_port()}", plan)
    assert summary.ended is LoadEnd.FINISHED
    assert outcomes(records).keys() == {"CONNECTION_ERROR"}
    assert {record.status for record in records} == {0}
    assert 4 <= len(records) <= 4 * 3  # at 0, 0.5 and 1.0 s
    assert summary.exit_code == 0


def test_every_kind_of_answer_is_told_apart(bench: Bench) -> None:
    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        kind = received.json["query"]
        if kind == "hangs":
            return hang(connection, received, closing)
        if kind == "drips":  # never silent for long, so that no single read times out
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
            while not closing.wait(0.05):
                connection.sendall(b"x")
            return False
        if kind == "breaks":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nhalf")
            return False
        if kind == "closes":
            return False
        if kind == "is no HTTP":
            connection.sendall(b"220 mail.example.org ESMTP\r\n\r\n")
            return False
        if kind == "redirects":
            answer(connection, 302, b"", more="Location: /elsewhere\r\n")
        elif kind == "fails":
            answer(connection, 500, "Fehler: \xfc".encode("latin-1"), "text/html")
        elif kind == "is not JSON":
            answer(connection, 200, b"<html>")
        elif kind == "is not UTF-8":
            answer(connection, 200, b'{"response": "\xfc"}')
        elif kind == "misses a key":
            answer(connection, 200, b'{"answer": "hello"}')
        elif kind == "has an unknown encoding":
            answer(connection, 200, b"hello", more="Content-Encoding: rot13\r\n")
        else:
            return ok(connection, received, closing)
        return True

    expected = {
        "hangs": (RequestOutcome.TIMEOUT, 0),
        "drips": (RequestOutcome.TIMEOUT, 200),
        "breaks": (RequestOutcome.CONNECTION_ERROR, 200),
        "closes": (RequestOutcome.CONNECTION_ERROR, 0),
        "is no HTTP": (RequestOutcome.CONNECTION_ERROR, 0),
        "redirects": (RequestOutcome.UNEXPECTED_STATUS, 302),
        "fails": (RequestOutcome.UNEXPECTED_STATUS, 500),
        "is not JSON": (RequestOutcome.UNEXPECTED_BODY, 200),
        "is not UTF-8": (RequestOutcome.UNEXPECTED_BODY, 200),
        "misses a key": (RequestOutcome.UNEXPECTED_BODY, 200),
        "has an unknown encoding": (RequestOutcome.UNEXPECTED_BODY, 0),
        "is fine": (RequestOutcome.OK, 200),
    }
    queries = tuple(expected)
    request = RequestTemplate(queries=queries, expect_json_schema={"type": "object", "required": ["response"]})
    plan = LoadPlan.constant(
        1, 60.0, request_timeout_s=0.3, connection_error_wait_s=0.01, think_time_s=0.01, stop_timeout_s=0.1
    )
    with serving(behave) as server, bench.start(server.url, plan, request) as load:
        until(lambda: count_records(bench.log) > len(queries))
        assert load.stop().ended is LoadEnd.STOPPED
        assert not any(received.path == "/elsewhere" for received in server.received)
    got = {
        query: (record.outcome, record.status)
        for query, record in zip(query_sequence(queries, plan.seed, 0), bench.records(), strict=False)
        if record.outcome is not RequestOutcome.CUT_AT_END
    }
    assert got == expected


def test_other_methods_statuses_and_paths(bench: Bench) -> None:
    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        answer(connection, 404, b"")
        return True

    request = RequestTemplate(
        method="GET",
        path="/s/{session}?q={query}",
        json=None,
        headers={"accept": "text/plain", "X-Braces": "{query}"},
        queries=("a b&ü",),
        expect_status=404,
    )
    plan = LoadPlan.constant(1, 0.3, think_time_s=0.05)
    with serving(behave) as server:
        _, records = bench.run(server.url + "/base/", plan, request)
    assert outcomes(records).keys() == {"OK"}
    first = server.received[0]
    assert (first.method, first.path, first.body) == ("GET", "/base/s/load-1-0?q=a%20b%26%C3%BC", b"")
    assert first.headers["accept"] == "text/plain"
    assert first.headers["x-braces"] == "{query}"
    assert "content-type" not in first.headers


def test_cookies_are_kept_by_each_user(bench: Bench) -> None:
    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        answer(connection, 200, b"{}", more=f"Set-Cookie: who={received.json['session_id']}\r\n")
        return True

    with serving(behave) as server:
        bench.run(server.url, LoadPlan.constant(2, 0.3, think_time_s=0.05))
    for user in range(2):
        mine = [r for r in server.received if r.json["session_id"] == session_id(1, user)]
        cookie = f"who={session_id(1, user)}"
        assert [r.headers.get("cookie") for r in mine] == [None, *[cookie] * (len(mine) - 1)]
        assert len(mine) > 1


def test_our_users_can_be_built_upon(bench: Bench) -> None:
    locustfile = bench.directory / "mine.py"
    locustfile.write_text("from loadtests.locustfile import ChatUser\nclass Mine(ChatUser):\n    weight = 1\n")
    with serving() as server:
        summary, records = bench.run(server.url, LoadPlan.constant(2, 0.3, think_time_s=0.01), locustfile=locustfile)
        assert len(records) == len(server.received) == summary.records > 0
    assert {record.user for record in records} == {0, 1}


def test_nothing_sent_is_visible(bench: Bench) -> None:
    """Trap 2: Locust's own exit code is 0."""
    idle = bench.directory / "idle.py"
    idle.write_text(
        "import gevent\nfrom locust import FastHttpUser, task\n"
        "class Idle(FastHttpUser):\n    @task\n    def rest(self):\n        gevent.sleep(0.1)\n"
    )
    with serving() as server:
        summary, records = bench.run(server.url, LoadPlan.constant(2, 0.3), locustfile=idle)
    assert (summary.ended, summary.exit_code, summary.records) == (LoadEnd.FINISHED, 0, 0)
    assert summary.nothing_sent
    assert records == []


def test_nothing_is_sent_before_the_release(bench: Bench) -> None:
    with serving() as server:
        with bench.start(server.url, LoadPlan.constant(2, 0.3), hold=True) as load:
            until(lambda: load.ready)
            assert load.started_ns is None
            assert load.poll() is None
            assert not server.received
            released_ns = time.monotonic_ns()
            load.release()
            load.release()
            summary = load.wait(PATIENCE_S)
        assert summary.started_ns is not None
        assert released_ns < summary.started_ns
        assert bench.records()[0].intended_ns >= summary.started_ns


def test_a_held_load_can_be_stopped_and_another_killed(bench: Bench) -> None:
    with serving() as server:
        with bench.start(server.url, LoadPlan.constant(2, 5), hold=True) as load:
            until(lambda: load.ready)
            summary = load.stop()
            assert (summary.ended, summary.exit_code, summary.records) == (LoadEnd.STOPPED, 0, 0)
            assert load.stop() == load.poll() == summary
        with bench.start(server.url, LoadPlan.constant(2, 5), hold=True) as load:
            pid = load.pid  # not even ready yet
        assert gone(pid)
        assert not server.received
    assert gone_group(bench)


def test_a_stop_lets_requests_in_flight_finish(bench: Bench) -> None:
    """Traps 4 and 5: SIGINT to a process that was started with stdin=DEVNULL, and a stop timeout."""
    answering = threading.Event()

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        answering.wait(PATIENCE_S)
        time.sleep(0.3)  # long enough for users that are cut off at once to be cut off
        return ok(connection, received, closing)

    plan = LoadPlan.constant(3, 60.0, stop_timeout_s=PATIENCE_S)
    with serving(behave) as server, bench.start(server.url, plan) as load:
        until(lambda: len(server.received) == 3)
        results: list[LoadSummary] = []
        stopper = threading.Thread(target=lambda: results.append(load.stop()))
        stopper.start()
        until(lambda: json.loads((bench.work / "load-status.json").read_text())["ended_ns"])
        answering.set()
        stopper.join()
    assert (results[0].ended, results[0].exit_code) == (LoadEnd.STOPPED, 0)
    assert outcomes(bench.records()) == {"OK": 3}


def test_requests_that_do_not_finish_are_recorded_as_cut(bench: Bench) -> None:
    """Trap 5."""
    with serving(hang) as server:
        summary, records = bench.run(server.url, LoadPlan.constant(3, 0.4, stop_timeout_s=0.2))
    assert summary.ended is LoadEnd.FINISHED
    assert summary.ended_ns is not None
    assert outcomes(records) == {"CUT_AT_END": 3}
    assert all(record.finished_ns >= summary.ended_ns for record in records)
    assert {record.user for record in records} == {0, 1, 2}


def test_settings_of_the_users_own_locust_do_not_reach_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 6."""
    home = bench.directory / "home"
    home.mkdir()
    hostile = (
        "master = true\nusers = 7\nspawn-rate = 1\nrun-time = 1h\nhost = http://127.0.0.1:9\nlocustfile = nowhere.py\n"
    )
    (home / ".locust.conf").write_text(hostile)
    (home / "locust.conf").write_text(hostile)
    (home / "pyproject.toml").write_text("[tool.locust]\nusers = 7\nlocustfile = 'nowhere.py'\n")
    (home / "json.py").write_text("raise SystemExit('a shadowed library was imported')\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    for name, value in {
        "LOCUST_USERS": "7",
        "LOCUST_RUN_TIME": "1h",
        "LOCUST_HOST": "http://127.0.0.1:9",
        "LOCUST_LOCUSTFILE": "nowhere.py",
        "LOCUST_MODE_MASTER": "true",
        "LOCUST_PROCESSES": "2",
        "LOCUST_HTML": "report.html",
        "LOCUST_EXIT_CODE_ON_ERROR": "9",
    }.items():
        monkeypatch.setenv(name, value)
    with serving() as server:
        summary, records = bench.run(server.url, LoadPlan.constant(2, 0.3))
    assert (summary.ended, summary.exit_code) == (LoadEnd.FINISHED, 0)
    assert max(record.active_users for record in records) == 2
    assert {record.user for record in records} == {0, 1}
    # Trap 3: no reports of Locust's own.
    assert not list(bench.directory.rglob("*.html"))
    assert {path.name for path in bench.work.iterdir()} == {
        "load-output.log",
        "load-status.json",
    }


def test_users_follow_the_plan_up_and_down(bench: Bench) -> None:
    """Trap 5 again: the ramp is part of the duration, and a plan is not rounded to Locust's seconds."""
    plan = LoadPlan((Stage(1, 0.3), Stage(5, 0.8, 0.5), Stage(2, 0.5), Stage(3, 0.4)), think_time_s=0.005)
    with serving() as server:
        summary, records = bench.run(server.url, plan)
    assert summary.started_ns is not None
    assert summary.ended_ns is not None
    # Afterwards users leave one by one while the last answers come in.
    seen = [record.active_users for record in records if record.finished_ns < summary.ended_ns]
    changes = [users for users, _ in itertools.groupby(seen)]
    up = changes[: changes.index(5) + 1]
    assert up[0] == 1
    assert up == sorted(up)
    assert len(up) > 2  # not in one leap
    assert changes[-2:] == [2, 3]
    assert max(seen) == 5
    assert summary.ended_ns - summary.started_ns >= 2.0e9
    # Not before the plan says so. How soon after it is a matter of timing, and not tested.
    first_with_five = next(record for record in records if record.active_users == 5)
    assert first_with_five.finished_ns - summary.started_ns >= 0.3e9 + 0.5e9 * 3 / 4


def test_users_that_are_still_leaving_do_not_count_as_those_to_come(bench: Bench) -> None:
    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        time.sleep(0.5)  # so that the fall of the plan is over before the last user has left
        return ok(connection, received, closing)

    plan = LoadPlan((Stage(5, 0.3), Stage(1, 0.1), Stage(4, 60.0)), stop_timeout_s=PATIENCE_S)
    with serving(behave) as server, bench.start(server.url, plan) as load:
        until(lambda: len({record.user for record in bench.records() if record.active_users == 4} - set(range(5))) == 3)
        load.kill()


def test_an_open_loop_counts_from_the_due_time(bench: Bench) -> None:
    """Trap 9."""
    with serving() as server:
        summary, records = bench.run(server.url, LoadPlan.constant(4, 1.0, rate=50))
    # On a busy machine the last ones may find the plan over.
    assert outcomes(records).keys() <= {"OK", "NOT_SENT"}
    assert outcomes(records)["OK"] > 25
    assert summary.started_ns is not None
    due = sorted(record.intended_ns - summary.started_ns for record in records)
    assert due == [n * 20_000_000 for n in range(50)]
    assert all(record.sent_ns >= record.intended_ns for record in records)


def test_an_open_loop_does_not_hide_a_stalled_service(bench: Bench) -> None:
    """Trap 9: what was due and could not be sent is in the log, and what was sent late says so."""
    answering = threading.Event()

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        if answering.is_set():
            return hang(connection, received, closing)
        time.sleep(0.3)  # the stall itself, not a wait
        answering.set()
        return ok(connection, received, closing)

    with serving(behave) as server:
        summary, records = bench.run(server.url, LoadPlan.constant(1, 1.0, rate=20, stop_timeout_s=0.1))
    assert outcomes(records) == {"OK": 1, "CUT_AT_END": 1, "NOT_SENT": 18}
    assert summary.started_ns is not None
    due = sorted(record.intended_ns - summary.started_ns for record in records)
    assert due == [n * 50_000_000 for n in range(20)]
    late = next(record for record in records if record.outcome is RequestOutcome.CUT_AT_END)
    assert late.sent_ns - late.intended_ns >= 0.2e9


def test_one_stall_of_a_second_is_felt_by_all_that_were_due_in_it(bench: Bench) -> None:
    """Trap 9, coordinated omission: a closed loop would have noted as many slow answers as it has users."""
    turn, stalls = threading.Lock(), []
    begun = time.monotonic_ns()

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        with turn:
            if not stalls and begun and time.monotonic_ns() - begun > 0.5e9:
                stalls.append(time.monotonic_ns())
                time.sleep(1.0)  # the stall itself, not a wait
                stalls.append(time.monotonic_ns())
        return ok(connection, received, closing)

    users, rate = 4, 40
    with (
        serving(behave) as server,
        bench.start(server.url, LoadPlan.constant(users, 3.0, rate=rate), hold=True) as load,
    ):
        until(lambda: load.ready)
        begun = time.monotonic_ns()
        load.release()
        load.wait(PATIENCE_S)
    records = [record for record in bench.records() if record.outcome is RequestOutcome.OK]
    start, end = stalls
    due = [record for record in records if start <= record.intended_ns < end]
    assert len(due) > 0.5 * rate, "they were sent after the stall, and are in the log"
    assert all(record.finished_ns >= end for record in due)
    slow_by_due = sum(record.finished_ns - record.intended_ns > 0.2e9 for record in due)
    slow_by_send = sum(record.finished_ns - record.sent_ns > 0.2e9 for record in due)
    assert slow_by_send <= users, "no more can have been under way"
    assert slow_by_due >= 0.7 * len(due) > 3 * users


HTTP_USERS = """
from locust import FastHttpUser, HttpUser, events, task

class Fast(FastHttpUser):
    fixed_count = 1
    @task
    def ask(self):
        with self.client.post("/fast", json={"n": 1}, catch_response=True) as response:
            if response.status_code == 418:
                response.success()

class Plain(HttpUser):
    fixed_count = 1
    @task
    def ask(self):
        self.client.get("/plain")

class Faulty(FastHttpUser):
    fixed_count = 1
    wait_time = lambda self: 0.2
    @task
    def ask(self):
        raise RuntimeError("a fault of the locustfile")
"""


def test_a_locustfile_of_the_users_own_is_logged_as_well(bench: Bench) -> None:
    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        time.sleep(0.02)  # a few requests are enough
        answer(connection, 418 if received.path == "/fast" else 503, b"12345")
        return True

    locustfile = bench.directory / "mine" / "locustfile.py"
    locustfile.parent.mkdir()
    locustfile.write_text("import helper\n" + HTTP_USERS)
    (locustfile.parent / "helper.py").write_text("")
    before = time.monotonic_ns()
    with serving(behave) as server:
        summary, records = bench.run(server.url, LoadPlan.constant(3, 0.5), locustfile=locustfile)
    assert summary.ended is LoadEnd.FINISHED
    assert summary.task_errors > 0
    assert summary.message == "RuntimeError: a fault of the locustfile"
    assert {(r.status, r.outcome.name, r.response_bytes) for r in records} == {
        (418, "OK", 5),
        (503, "UNEXPECTED_STATUS", 5),
    }
    assert len({record.user for record in records}) == 2
    for record in records:
        assert before < record.sent_ns < record.finished_ns < time.monotonic_ns()
        assert record.finished_ns - record.sent_ns >= 0.02e9


def test_a_locustfile_of_the_users_own_on_a_dead_and_on_a_hanging_server(tmp_path: Path) -> None:
    locustfile = tmp_path / "mine.py"
    locustfile.write_text(HTTP_USERS.partition("class Faulty")[0])
    dead, hanging = Bench(tmp_path / "dead"), Bench(tmp_path / "hanging")
    plan = LoadPlan.constant(2, 0.5, connection_error_wait_s=0.3, stop_timeout_s=0.1)
    with (
        serving(hang) as server,
        dead.start(f"http://127.0.0.1:{free_port()}", plan, locustfile=locustfile) as one,
        hanging.start(server.url, plan, locustfile=locustfile) as other,
    ):
        one.wait(PATIENCE_S)
        other.wait(PATIENCE_S)
    assert outcomes(dead.records()).keys() == {"CONNECTION_ERROR"}
    assert 2 <= len(dead.records()) <= 2 * 2
    assert outcomes(hanging.records()) == {"CUT_AT_END": 2}


def test_a_killed_generator_leaves_a_readable_log(bench: Bench) -> None:
    with serving() as server, bench.start(server.url, LoadPlan.constant(2, 60.0)) as load:
        until(lambda: count_records(bench.log))
        os.kill(load.pid, signal.SIGKILL)
        summary = load.wait(PATIENCE_S)
    assert (summary.ended, summary.exit_code) == (LoadEnd.FAILED, -signal.SIGKILL)
    assert summary.message
    assert summary.records == len(bench.records()) > 0
    assert outcomes(bench.records()).keys() == {"OK"}


def test_a_generator_that_hangs_is_killed_at_the_deadline(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    blocking = bench.directory / "blocking.py"
    blocking.write_text(
        "from gevent import monkey\nfrom locust import FastHttpUser, task\n"
        "class Blocking(FastHttpUser):\n    @task\n    def ask(self):\n"
        "        self.client.get('/')\n"
        "        while True: pass\n"
    )
    with serving() as server, bench.start(server.url, LoadPlan.constant(1, 0.1), locustfile=blocking) as load:
        until(lambda: server.received)
        monkeypatch.setattr(load, "_deadline", time.monotonic() + 0.3)
        summary = load.wait(PATIENCE_S)
        assert gone(load.pid)
    assert (summary.ended, summary.exit_code) == (LoadEnd.OVERDUE, -signal.SIGKILL)


def test_a_log_that_cannot_be_written_is_a_failure(bench: Bench) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full")
    bench.log = Path("/dev/full")
    with serving() as server, bench.start(server.url, LoadPlan.constant(1, 60.0)) as load:
        summary = load.wait(PATIENCE_S)
    assert summary.ended is LoadEnd.FAILED
    assert summary.message is not None
    assert "request log" in summary.message
    assert "No space left" in summary.message


@pytest.mark.parametrize("held", [True, False])
def test_it_quits_when_the_tool_is_killed(bench: Bench, held: bool) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from loadtests.driver import LoadProcess; from loadtests.plan import *\n"
        "url, log, work, held = sys.argv[1:]\n"
        "load = LoadProcess.start(url, LoadPlan.constant(2, 60.0), RequestTemplate(), Path(log), Path(work),"
        " hold=held == 'True')\n"
        "while not load.ready: time.sleep(0.01)\n"
        "print(load.pid, flush=True); time.sleep(60)\n"
    )
    with serving() as server:
        tool = subprocess.Popen(
            [sys.executable, "-c", program, server.url, str(bench.log), str(bench.work), str(held)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert tool.stdout is not None
            pid = int(tool.stdout.readline())
            if not held:
                until(lambda: count_records(bench.log))
            assert not gone(pid)
        finally:
            tool.kill()
            tool.communicate()
        until(lambda: gone(pid))
        assert bool(server.received) is not held


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        ("import a_library_that_is_not_there\n", "a_library_that_is_not_there"),
        ("class Broken(:\n", "SyntaxError"),
    ],
)
def test_a_locustfile_that_cannot_be_used_is_quoted(bench: Bench, content: str, quoted: str) -> None:
    locustfile = bench.directory / "broken.py"
    locustfile.write_text(content)
    with (
        bench.start("http://127.0.0.1:9", LoadPlan.constant(1, 1), locustfile=locustfile) as load,
        pytest.raises(LoadError, match=quoted) as caught,
    ):
        load.wait(PATIENCE_S)
    assert "load-output.log" in caught.value.hint


def test_what_cannot_work_fails_before_anything_is_started(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = LoadPlan.constant(1, 1)
    url = "http://127.0.0.1:9"
    comma = bench.directory / "a,b.py"
    comma.write_text("")
    with pytest.raises(LoadError, match="a rate cannot be kept"):
        bench.start(url, LoadPlan.constant(1, 1, rate=5), locustfile=Path(__file__))
    with pytest.raises(LoadError, match="no locustfile at"):
        bench.start(url, plan, locustfile=bench.directory / "none.py")
    with pytest.raises(LoadError, match="comma"):
        bench.start(url, plan, locustfile=comma)
    for bad in ("127.0.0.1:8000", "ftp://127.0.0.1", "http://"):
        with pytest.raises(LoadError, match="not a URL"):
            bench.start(bad, plan)
    with pytest.raises(LoadError, match="not a JSON Schema"):
        bench.start(url, plan, RequestTemplate(expect_json_schema={"type": "objekt"}))
    with pytest.raises(LoadError, match="refer to"):
        bench.start(url, plan, RequestTemplate(expect_json_schema={"$ref": "http://127.0.0.1:9/schema"}))
    bench.log = bench.directory
    with pytest.raises(LoadError, match="write its files"):
        bench.start(url, plan)
    monkeypatch.setitem(sys.modules, "locust", None)
    with pytest.raises(LoadError, match="not installed") as caught:
        bench.start(url, plan)
    assert "pip install locust" in caught.value.hint
    assert gone_group(bench)


@contextlib.contextmanager
def locust_alone(directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Locust as somebody would start it by hand."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(driver.LOCUSTFILE), *options],
        cwd=directory,
        env=environment | {"HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def asked_by_hand(server: Server) -> set[str]:
    return {received.json["session_id"] for received in server.received}


def test_alone_with_locusts_own_web_page(bench: Bench) -> None:
    """No shape may force anything: the users are those of the page."""
    port = free_port()

    def page(path: str, form: bytes | None = None) -> bytes:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            method = "GET" if form is None else "POST"
            head = f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n"
            if form is not None:
                head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
            connection.settimeout(PATIENCE_S)
            connection.sendall(head.encode() + b"\r\n" + (form or b""))
            return b"".join(iter(lambda: connection.recv(65536), b""))
        return b""

    options = ("--host", "{url}", "--web-host", "127.0.0.1", "--web-port", str(port))
    with (
        serving() as server,
        locust_alone(bench.directory, *[o.format(url=server.url) for o in options]) as locust,
    ):
        until(lambda: b"200 OK" in page("/"))
        assert not server.received
        assert b"200 OK" in page("/swarm", b"user_count=3&spawn_rate=3")
        until(lambda: len(asked_by_hand(server)) == 3)
        until(lambda: json.loads(page("/stats/requests").partition(b"\r\n\r\n")[2])["user_count"] == 3)
        page("/stop")
        locust.send_signal(signal.SIGINT)
        assert locust.wait(PATIENCE_S) == 0
    assert len(asked_by_hand(server)) == 3


def test_alone_without_the_page_there_are_eight_users(bench: Bench) -> None:
    with (
        serving() as server,
        locust_alone(bench.directory, "--headless", "--host", server.url) as locust,
    ):
        until(lambda: len(asked_by_hand(server)) == 8)
        locust.send_signal(signal.SIGINT)
        assert locust.wait(PATIENCE_S) == 0
    assert asked_by_hand(server) == {session_id(1, user) for user in range(8)}
