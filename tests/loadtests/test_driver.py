"""The Locust subprocess against real servers. Every trap that `measuring.md` lists has its test."""

import itertools
import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from loadtests.driver import LoadError
from loadtests.plan import (
    LoadEnd,
    LoadPlan,
    LoadSummary,
    RequestTemplate,
    query_sequence,
    session_id,
)
from loadtests.requestlog import RequestOutcome, count_records
from tests.loadtests.bench import PATIENCE_S, Bench, gone, gone_group, outcomes, until
from tests.loadtests.servers import Received, answer, free_port, hang, ok, serving


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
