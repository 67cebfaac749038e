"""A locustfile of the user's own."""

import socket
import threading
import time
from pathlib import Path

import pytest

from loadtests.driver import LoadError
from loadtests.plan import (
    LoadEnd,
    LoadPlan,
)
from tests.loadtests.bench import PATIENCE_S, Bench, outcomes
from tests.loadtests.servers import Received, answer, free_port, hang, serving

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
