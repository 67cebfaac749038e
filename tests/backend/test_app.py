"""The HTTP contract, with a model that is small instead of a real one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from io import BytesIO

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from backend.lifecycle import Load, ModelNotReadyError
from backend.settings import ChatResponse, Settings, SettingsError

BODY = {"session_id": "s", "query": "hello"}


class Echo:
    """Answers with the question."""

    def predict(self, query: str) -> str:
        return f"You asked: {query} ✓"


class Broken:
    """Fails at each question."""

    def predict(self, query: str) -> str:
        raise RuntimeError("the secret reason")


def client(load: Load = Echo, chat_response: ChatResponse = "json") -> FlaskClient:
    return create_app(Settings(chat_response=chat_response), load).test_client()


def test_an_answer_is_json() -> None:
    response = client().post("/chat", json=BODY)
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.get_json() == {"response": "You asked: hello ✓"}


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain", "application/json"])
def test_raw_answers_exactly_the_string_whatever_is_accepted(accept: str | None) -> None:
    headers = {"Accept": accept} if accept else {}
    response = client(chat_response="raw").post("/chat", json=BODY, headers=headers)
    assert response.status_code == 200
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.get_data() == "You asked: hello ✓".encode()


@pytest.mark.parametrize(
    ("accept", "raw"),
    [
        ("text/plain", True),
        ("text/plain; charset=utf-8", True),
        ("text/*", True),
        ("text/plain, */*;q=0.1", True),
        ("text/plain, application/json", False),
        ("*/*", False),
        ("application/json, text/plain;q=0.9", False),
        ("image/png", False),
        ("garbage;;;q=x", False),
    ],
)
def test_accept_chooses_the_form(accept: str, raw: bool) -> None:
    response = client().post("/chat", json=BODY, headers={"Accept": accept})
    assert response.status_code == 200
    assert response.mimetype == ("text/plain" if raw else "application/json")


def test_errors_are_json_even_for_a_raw_client() -> None:
    response = client(chat_response="raw").post("/chat", json={}, headers={"Accept": "text/plain"})
    assert response.status_code == 400
    assert response.get_json() == {"error": {"message": "session_id is missing", "field": "session_id"}}


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_content_types_that_are_accepted(kind: str) -> None:
    assert client().post("/chat", data=json.dumps(BODY), content_type=kind).status_code == 200


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({}, "Content-Type"),
        ({"Content-Type": ""}, "Content-Type"),
        ({"Content-Type": "text/plain"}, "Content-Type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "Content-Type"),
        ({"Content-Type": "application/json, text/plain"}, "Content-Type"),
        ({"Content-Type": "multipart/form-data"}, "Content-Type"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "Content-Encoding"),
    ],
)
def test_other_content_is_415(headers: dict[str, str], field: str) -> None:
    response = client().post("/chat", data=json.dumps(BODY), headers=headers)
    assert response.status_code == 415
    error = response.get_json()["error"]
    assert error["field"] == field
    assert field in error["message"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(65536, 200), (65537, 413), (1_000_000, 413)])
def test_body_over_64_kib_is_413(size: int, status: int, chunked: bool) -> None:
    data = json.dumps(BODY).encode().ljust(size)
    if chunked:  # no length, as gunicorn hands over a chunked body
        response = client().post(
            "/chat",
            input_stream=BytesIO(data),
            content_type="application/json",
            environ_overrides={"wsgi.input_terminated": True},
            headers={"Transfer-Encoding": "chunked"},
        )
    else:
        response = client().post("/chat", data=data, content_type="application/json")
    assert response.status_code == status
    if status == 413:
        assert response.get_json()["error"] == {"message": "body is larger than 65536 bytes", "field": "body"}


def test_a_body_that_breaks_off_is_400() -> None:
    class Dropped(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("connection reset")

    response = client().post(
        "/chat",
        input_stream=Dropped(),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.status_code == 400
    assert response.get_json()["error"]["field"] == "body"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_chat_takes_post_only(method: str) -> None:
    response = client().open("/chat", method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    if method != "HEAD":
        assert response.get_json()["error"]["message"] == f"method {method} is not allowed on /chat"


@pytest.mark.parametrize("path", ["/", "/nope", "/chat/", "/ready//", "/static/app.py", "/%00"])
def test_unknown_path_is_a_json_404(path: str) -> None:
    response = client().get(path)
    assert response.status_code == 404
    assert response.get_json()["error"]["field"] is None


def test_no_traceback_leaves_the_process(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = client(Broken).post("/chat", json=BODY)
    assert response.status_code == 500
    assert "secret" not in response.get_data(as_text=True)
    assert "Traceback" not in response.get_data(as_text=True)
    assert set(response.get_json()["error"]) == {"message", "field"}
    assert "the secret reason" in caplog.text


def not_yet() -> Echo:
    raise ModelNotReadyError("the model is still being loaded")


def test_503_with_retry_after_while_there_is_no_model() -> None:
    app = create_app(Settings(lifecycle="per-request"), not_yet).test_client()
    response = app.post("/chat", json=BODY)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.get_json() == {"error": {"message": "the model is still being loaded", "field": None}}


def test_a_bad_request_is_refused_without_a_model() -> None:
    assert create_app(Settings(lifecycle="per-request"), not_yet).test_client().post("/chat").status_code == 415


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_and_ready(path: str) -> None:
    response = client().get(path)
    assert response.status_code == 200
    assert response.is_json


def test_the_factory_raises_on_invalid_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_LIFECYCLE", "foo")
    with pytest.raises(SettingsError, match="MODEL_LIFECYCLE='foo'"):
        create_app()


def test_loads_are_logged_with_their_seconds(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("backend")]
    assert lines[0] == "Loading the model (checkpoint pickle)"
    assert lines[1].startswith("Loaded the model in ")


@pytest.mark.parametrize(("lifecycle", "loads"), [("per-request", 3), ("singleton", 1), ("lazy", 1)])
def test_how_often_three_requests_load(lifecycle: str, loads: int, settings_for: Callable[[str], Settings]) -> None:
    models: list[Echo] = []

    def load() -> Echo:
        models.append(Echo())
        return models[-1]

    app = create_app(settings_for(lifecycle), load).test_client()
    assert len(models) == (1 if lifecycle == "singleton" else 0)
    for _ in range(3):
        assert app.post("/chat", json=BODY).status_code == 200
    assert len(models) == loads


@pytest.fixture
def settings_for() -> Callable[[str], Settings]:
    return lambda lifecycle: Settings.from_env({"MODEL_LIFECYCLE": lifecycle})
