"""The optional services where none of their libraries is needed: settings, refusals, limits, handing on, the agents' tools."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from backend.app import create_app
from backend.bodies import BadRequestError
from backend.services import agents, catalogue, forwarding, ocr, rag, tools
from backend.services.catalogue import Place, Where
from backend.services.once import Once
from backend.services.settings import NAMES, Address, ServiceSettings
from backend.settings import Settings, SettingsError
from tests.backend.test_app import Echo

PATHS = ("/ocr", "/rag/documents", "/rag/query", "/agents/run")


def read(**env: str) -> ServiceSettings:
    return Settings.from_env(env).services


def client(**env: str) -> FlaskClient:
    return create_app(Settings.from_env(env), Echo).test_client()


def everything(_module: str) -> bool:
    return True


def nothing(_module: str) -> bool:
    return False


def test_without_variables_everything_that_is_installed_is_offered() -> None:
    assert read() == ServiceSettings()
    assert (read().role, read().imports, read().chats, read().needs_model) == ("all", "eager", True, True)
    assert catalogue.places(read(), everything) == dict.fromkeys(NAMES, Place(Where.HERE))
    assert {place.where for place in catalogue.places(read(), nothing).values()} == {Where.NOWHERE}


@pytest.mark.parametrize(("value", "off"), [("true", True), ("1", True), ("false", False), ("0", False), ("", None)])
def test_the_flags(value: str, off: bool | None) -> None:
    assert read(DISABLE_RAG=value).disabled.get("rag") is off


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("DISABLE_OCR", "yes", "one of true, false, 1, 0"),
        ("DISABLE_AGENTS", "True", "one of true, false, 1, 0"),
        ("IMPORTS", "later", "one of eager, lazy"),
        ("ROLE", "worker", "one of all, api, ocr, rag, agents"),
        ("OCR_URL", "https://ocr", "http://HOST:PORT or HOST:PORT, without a path"),
        ("OCR_URL", "http://ocr:99999", "http://HOST:PORT or HOST:PORT, without a path"),
        ("RAG_URL", "http://me:secret@rag:1", "http://HOST:PORT or HOST:PORT, without a path"),
        ("AGENTS_URL", "http://agents/run", "http://HOST:PORT or HOST:PORT, without a path"),
        ("FORWARD_TIMEOUT", "0", "a whole number from 1 to 600"),
        ("FORWARD_AT_ONCE", "-1", "a whole number from 1 to 512"),
    ],
)
def test_refusal_names_variable_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"{name}={value!r} is not allowed: expected {allowed}")):
        read(**{name: value})


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("http://ocr:8001", Address("ocr", 8001)),
        ("ocr-1.internal:10000", Address("ocr-1.internal", 10000)),
        ("http://[::1]:81/", Address("::1", 81)),
        ("http://ocr", Address("ocr", 80)),
    ],
)
def test_an_address_with_and_without_a_scheme(value: str, address: Address) -> None:
    assert read(OCR_URL=value).addresses == {"ocr": address}


@pytest.mark.parametrize(
    ("env", "has", "said"),
    [
        ({"DISABLE_OCR": "false"}, nothing, "DISABLE_OCR='false' .* rapidocr_onnxruntime is not installed, or: pip"),
        ({"ROLE": "rag"}, nothing, "ROLE='rag' .* chromadb .* pip install"),
        ({"ROLE": "rag", "DISABLE_RAG": "1"}, everything, "ROLE='rag' .* DISABLE_RAG does not switch off"),
        ({"ROLE": "api", "DISABLE_RAG": "0"}, everything, "DISABLE_RAG='false' .* RAG_URL"),
        ({"RAG_DIR": "/rag", "WEB_CONCURRENCY": "2"}, everything, "RAG_DIR='/rag' .* WEB_CONCURRENCY=1"),
    ],
)
def test_what_cannot_be_had_is_an_error_at_start(env: dict[str, str], has: Callable[[str], bool], said: str) -> None:
    settings = Settings.from_env(env)
    with pytest.raises(SettingsError, match=said) as refused:
        catalogue.check(settings.services, settings.workers, has)
    assert "\n" not in str(refused.value)


def test_a_database_that_another_process_has_may_be_beside_several_workers() -> None:
    catalogue.check(read(RAG_DIR="/rag", ROLE="api", RAG_URL="rag:80"), 2, everything)


@pytest.mark.parametrize(
    ("env", "path", "said"),
    [
        ({"DISABLE_OCR": "true"}, "/ocr", "/ocr is switched off by DISABLE_OCR"),
        ({"DISABLE_RAG": "1"}, "/rag/documents", "/rag/documents is switched off by DISABLE_RAG"),
        ({"DISABLE_RAG": "1"}, "/rag/query", "/rag/query is switched off by DISABLE_RAG"),
        ({"DISABLE_AGENTS": "true"}, "/agents/run", "/agents/run is switched off by DISABLE_AGENTS"),
        ({"ROLE": "api"}, "/ocr", "/ocr is nowhere: OCR_URL is not set"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_what_is_not_here_is_404_with_the_reason(env: dict[str, str], path: str, said: str, method: str) -> None:
    response = client(**env).open(path, method=method)
    assert response.status_code == 404
    assert response.get_json() == {"error": {"message": said, "field": None}}


def test_what_is_not_installed_is_404_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: None)
    for path in PATHS:
        response = client().post(path)
        assert response.status_code == 404
        assert (
            response.get_json()["error"]["message"]
            == f"{path} needs what is not installed: pip install 'oomproof[services]'"
        )


def test_a_process_of_one_service_has_no_chat_and_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "places", lambda settings: dict.fromkeys(NAMES, Place(Where.NOWHERE, "")))
    monkeypatch.setattr(catalogue, "check", lambda settings, workers: None)

    def load() -> Echo:
        raise AssertionError("no model is loaded")

    app = create_app(Settings.from_env({"ROLE": "ocr"}), load).test_client()
    assert app.get("/ready").status_code == app.get("/health").status_code == 200
    response = app.post("/chat", json={"session_id": "s", "query": "q"})
    assert response.status_code == 404
    assert response.get_json()["error"]["message"] == "/chat is not served by a process with ROLE=ocr"


class Worker(BaseHTTPRequestHandler):
    """Answers as the body's `task` says, and with what it was sent."""

    server: Workers

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        task = json.loads(body)["task"] if self.headers["Content-Type"] == "application/json" else "echo"
        if task == "hang":
            self.server.released.wait(20)
        if task == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            while not self.server.released.wait(0.1):
                self.wfile.write(b" ")
            return
        if task == "drop":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
            return
        if task == "gibberish":
            self.wfile.write(b"gibberish\r\n\r\n")
            return
        said = {"path": self.path, "length": len(body), "type": self.headers["Content-Type"]}
        answer = b" " * (forwarding.ANSWER_MAX_BYTES + 1) if task == "large" else json.dumps(said).encode()
        self.send_response(503 if task == "busy" else 200)
        self.send_header("Content-Type", "text/html" if task == "html" else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if task == "busy":
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Workers(ThreadingHTTPServer):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.released = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked does not wait any more."""


@pytest.fixture
def workers() -> Iterator[Workers]:
    server = Workers(("127.0.0.1", 0), Worker)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def worker(workers: Workers) -> str:
    return f"http://127.0.0.1:{workers.server_port}"


def api(worker: str, **env: str) -> FlaskClient:
    return client(ROLE="api", OCR_URL=worker, RAG_URL=worker, AGENTS_URL=worker, **env)


def test_requests_are_handed_on_as_they_are(worker: str) -> None:
    app = api(worker)
    for path in PATHS[1:]:
        assert app.post(path, json={"task": ""}).get_json()["path"] == path
    said = app.post("/ocr", data=b"x" * 1000, content_type="image/png").get_json()
    assert said == {"path": "/ocr", "length": 1000, "type": "image/png"}
    assert app.post("/chat", json={"session_id": "s", "query": "hello"}).status_code == 200


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [
        ("drop", 503, "agents is down; please try again"),
        ("gibberish", 502, "agents gave no answer that can be handed on"),
        ("html", 502, "agents gave no answer that can be handed on"),
        ("large", 502, "agents gave no answer that can be handed on"),
        ("hang", 504, "agents did not answer in time"),
        ("drip", 504, "agents did not answer in time"),
    ],
)
def test_what_is_no_answer(worker: str, task: str, status: int, said: str) -> None:
    response = api(worker, FORWARD_TIMEOUT="1").post("/agents/run", json={"task": task})
    assert (response.status_code, response.get_json()["error"]) == (status, {"message": said, "field": None})
    assert ("Retry-After" in response.headers) == (status == 503)


def test_a_refusal_of_the_service_is_handed_back_with_its_time(worker: str) -> None:
    response = api(worker).post("/agents/run", json={"task": "busy"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")


def test_a_service_that_is_down_is_503_with_a_time_to_wait() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and nobody listens
        app = api(f"127.0.0.1:{free.getsockname()[1]}")
        response = app.post("/ocr", json={"image": ""})
        assert (response.status_code, response.headers["Retry-After"]) == (503, str(forwarding.RETRY_AFTER_S))
        assert response.get_json()["error"]["message"] == "ocr is down; please try again"
        assert app.get("/ready").status_code == 200, "the chat is answered all the same"


def test_a_service_that_hangs_takes_no_more_than_its_share(worker: str, workers: Workers) -> None:
    app = create_app(Settings.from_env({"ROLE": "api", "AGENTS_URL": worker, "FORWARD_AT_ONCE": "2"}), Echo)

    def ask(task: str) -> int:
        return app.test_client().post("/agents/run", json={"task": task}).status_code

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask, "hang") for _ in range(3)]
        try:
            # Whichever comes third is refused at once.
            assert next(as_completed(answers, timeout=15)).result() == 503
            assert app.test_client().post("/chat", json={"session_id": "s", "query": "q"}).status_code == 200
        finally:
            workers.released.set()
    assert sorted(answer.result() for answer in answers) == [200, 200, 503]


@pytest.mark.parametrize(
    ("path", "kind", "size"),
    [
        ("/ocr", "image/png", ocr.IMAGE_MAX_BYTES),
        ("/ocr", "application/json", ocr.JSON_MAX_BYTES),
        ("/rag/documents", "application/json", rag.BODY_MAX_BYTES),
        ("/rag/query", "application/json", rag.BODY_MAX_BYTES),
        ("/agents/run", "application/json", agents.BODY_MAX_BYTES),
    ],
)
def test_bodies_are_refused_before_they_are_handed_on(path: str, kind: str, size: int) -> None:
    app = api("127.0.0.1:1")  # whoever gets through is told that nobody is there
    large = app.post(path, data=b" " * (size + 1), content_type=kind)
    assert (large.status_code, large.get_json()["error"]["message"]) == (413, f"body is larger than {size} bytes")
    assert app.post(path, data=b" " * size, content_type=kind).status_code == 503
    other = app.post(path, data=b"x", content_type="text/plain")
    assert (other.status_code, other.get_json()["error"]["field"]) == (415, "Content-Type")
    assert app.get(path).status_code == 405


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        ({}, "documents", "documents is missing"),
        ({"documents": {}}, "documents", "documents must be an array, not an object"),
        ({"documents": []}, "documents", "documents must have from 1 to 64 entries, not 0"),
        ({"documents": [1]}, "documents", "documents[0] must be an object, not a number"),
        ({"documents": [{"id": "a"}]}, "documents[0].text", "documents[0].text is missing"),
        ({"documents": [{"id": "", "text": "x"}]}, "documents[0].id", "documents[0].id must not be empty"),
        ({"documents": [{"id": "a", "text": "x"}] * 2}, "documents", "documents has the same id twice"),
        ({"documents": [{"id": "a", "text": "x" * 2001}]}, "documents[0].text", "documents[0].text is longer than 2000 characters"),
    ],
)  # fmt: skip
def test_documents_that_are_none(document: object, field: str, said: str) -> None:
    with pytest.raises(BadRequestError, match=re.escape(said)) as refused:
        rag.documents_of(json.dumps(document).encode())
    assert refused.value.field == field


@pytest.mark.parametrize("limit", [0, 21, True, "3", 1.5])
def test_a_limit_that_is_none(limit: object) -> None:
    with pytest.raises(BadRequestError, match="limit must be a whole number from 1 to 20"):
        rag.query_of(json.dumps({"query": "q", "limit": limit}).encode())
    assert rag.query_of(b'{"query": "q"}') == rag.Query("q", 3)


def test_an_image_in_json() -> None:
    assert ocr.image_of_json(json.dumps({"image": base64.b64encode(b"\x89PNG").decode()}).encode()) == b"\x89PNG"
    for wrong in ("=", "ab*=", "ä"):
        with pytest.raises(BadRequestError, match="not valid base64"):
            ocr.image_of_json(json.dumps({"image": wrong}).encode())


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("12*7", "84"),
        ("2 ** 10 - 24", "1000"),
        ("-(3 + 4) / 2", "-3.5"),
        ("1,000 + 1", "1001"),
        ("7 // 2 % 2", "1"),
        ("1/0", "cannot reckon: division by zero"),
        ("9**9**9", "cannot reckon: an exponent over 100"),
        ("10**30 * 10", "cannot reckon: a number that is none, or too large"),
        ("(-8) ** 0.5", "cannot reckon: a number that is none, or too large"),
        ("2+(3", "cannot reckon: not a sum"),
        ("__import__('os').getpid()", "cannot reckon: not a sum"),
        ("True + 1", "cannot reckon: not a sum"),
        ("'a' * 9", "cannot reckon: not a sum"),
        ("1+" * 200 + "1", "cannot reckon: longer than 200 characters"),
    ],
)
def test_the_calculator(said: str, value: str) -> None:
    assert tools.calculate(said) == value


@given(st.text(alphabet="0123456789+-*/%(). ,e_j\n", max_size=80) | st.text(max_size=80))
def test_the_calculator_never_fails(said: str) -> None:
    assert isinstance(tools.calculate(said), str)


def test_a_task_is_parted_and_each_part_has_its_tool() -> None:
    task = "What is 12 * 7? Then tell me the time; how do I reset my password"
    assert [(step.tool, step.input) for step in agents.plan(task)] == [
        ("calculator", "12 * 7"),
        ("clock", "UTC"),
        ("knowledge", "how do I reset my password"),
    ]
    assert agents.task_of(json.dumps({"task": task}).encode()) == task
    for wrong, parts in (("?!;", 0), ("a;" * 9, 9)):
        with pytest.raises(BadRequestError, match=f"from 1 to 8 parts, not {parts}"):
            agents.task_of(json.dumps({"task": wrong}).encode())


def test_what_is_looked_up() -> None:
    assert "Forgot password?" in tools.look_up("how do I reset my password")
    assert tools.look_up("colourless green ideas") == tools.look_up("") == tools._knowledge().fallback
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", tools.clock())


def test_what_is_made_once_is_made_again_after_a_failure() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        if len(made) == 1:
            raise OSError("not yet")
        return made[-1]

    once = Once(make)
    with pytest.raises(OSError, match="not yet"):
        once.get()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: once.get(), range(8))) == {1}
