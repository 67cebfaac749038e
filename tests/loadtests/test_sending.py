"""How our users send: without Locust's own client in between, and as it does."""

import json
import socket
import threading
import zlib

from loadtests.plan import LoadPlan, RequestTemplate
from loadtests.requestlog import RequestOutcome
from tests.loadtests.bench import Bench, outcomes
from tests.loadtests.servers import Received, answer, ok, serving

ASKED = {"session_id": "one", "query": "a"}


def test_what_is_sent_is_what_locusts_own_client_sends(bench: Bench) -> None:
    locustfile = bench.directory / "plain.py"
    locustfile.write_text(
        "from locust import FastHttpUser, constant, task\n"
        "class Plain(FastHttpUser):\n    wait_time = constant(0.1)\n"
        f"    @task\n    def ask(self):\n        self.client.post('/chat', json={ASKED})\n"
    )
    plan = LoadPlan.constant(1, 0.3, think_time_s=0.1)
    with serving() as server:
        bench.run(server.url, plan, locustfile=locustfile)
        theirs = server.received[0]
        server.received.clear()
        bench.run(server.url, plan, RequestTemplate(json=ASKED, queries=("a",)))
        assert server.received[0] == theirs


def test_whoever_builds_upon_our_users_hears_of_each_request(bench: Bench) -> None:
    heard = bench.directory / "heard"
    locustfile = bench.directory / "mine.py"
    locustfile.write_text(
        "from locust import events\n"
        "from loadtests.locustfile import ChatUser\n"
        "class Mine(ChatUser):\n    weight = 1\n"
        "@events.request.add_listener\n"
        "def hear(response, exception, response_time, **_):\n"
        f"    with open({str(heard)!r}, 'a') as file:\n"
        "        print(response.status_code, str(exception), response_time > 0, sep=',', file=file)\n"
    )

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        if received.json["query"] == "fails":
            answer(connection, 500, b"{}")
            return True
        return ok(connection, received, closing)

    plan = LoadPlan.constant(1, 0.5, think_time_s=0.05)
    with serving(behave) as server:
        request = RequestTemplate(queries=("fails", "works"))
        summary, records = bench.run(server.url, plan, request, locustfile=locustfile)
    told = {
        RequestOutcome.OK: "200,None,True",
        RequestOutcome.UNEXPECTED_STATUS: "500,status 500 instead of 200,True",
    }
    assert heard.read_text().splitlines() == [told[record.outcome] for record in records]
    assert set(outcomes(records)) == {"OK", "UNEXPECTED_STATUS"}
    assert summary.task_errors == 0


def test_an_answer_is_judged_and_counted_as_it_is_once_unpacked(bench: Bench) -> None:
    body = json.dumps({"response": "hello" * 200}).encode()

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        assert "gzip" in received.headers["accept-encoding"]
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        packed = packer.compress(body) + packer.flush()
        answer(connection, 200, packed, more="Content-Encoding: gzip\r\n")
        return True

    with serving(behave) as server:
        request = RequestTemplate(expect_json_schema={"type": "object", "required": ["response"]})
        _, records = bench.run(server.url, LoadPlan.constant(1, 0.3, think_time_s=0.05), request)
    assert {(record.outcome, record.response_bytes) for record in records} == {(RequestOutcome.OK, len(body))}
