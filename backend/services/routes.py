"""The services' paths in the application: answered here, handed on, or 404 with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from flask import Flask, Response, jsonify

from backend.services import agents, catalogue, ocr, rag
from backend.services.catalogue import OFFERS, Where
from backend.services.forwarding import Forwarder
from backend.services.settings import ServiceName, ServiceSettings
from backend.wire import RefusedError, read_body, require_type

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class _Body:
    """What a path takes: a type, and how many bytes of it."""

    max_bytes: Mapping[str, int]

    def read(self) -> tuple[bytes, str]:
        """Raises RefusedError for another type, or too much."""
        kind = require_type(*self.max_bytes)
        return read_body(self.max_bytes[kind]), kind


_BODIES = {
    "/ocr": _Body({_JSON: ocr.JSON_MAX_BYTES, **dict.fromkeys(ocr.IMAGE_TYPES, ocr.IMAGE_MAX_BYTES)}),
    "/rag/documents": _Body({_JSON: rag.BODY_MAX_BYTES}),
    "/rag/query": _Body({_JSON: rag.BODY_MAX_BYTES}),
    "/agents/run": _Body({_JSON: agents.BODY_MAX_BYTES}),
}
Answers = Callable[[bytes, str], dict[str, object]]


def register(app: Flask, settings: ServiceSettings, encoder: rag.Encoder) -> None:
    """Add every path of every service; with IMPORTS=eager, load those that are answered here.

    Raises:
        SettingsError: a service is asked for that cannot be had.
    """
    for name, place in catalogue.places(settings).items():
        if place.where is Where.HERE:
            _here(app, name, settings, encoder)
        elif place.where is Where.ELSEWHERE:
            _elsewhere(app, name, settings)
        else:
            _nowhere(app, OFFERS[name].paths, place.why)


def absent(app: Flask, path: str, why: str) -> None:
    """A path that other processes have and this one has not: 404 that says why, whatever the method."""
    _nowhere(app, (path,), why)


def _here(app: Flask, name: ServiceName, settings: ServiceSettings, encoder: rag.Encoder) -> None:
    load, views = _SERVICES[name](settings, encoder)
    for path, answers in views.items():
        app.add_url_rule(path, endpoint=path, view_func=partial(_answer, _BODIES[path], answers), methods=["POST"])
    if settings.imports == "eager":
        load()


def _elsewhere(app: Flask, name: ServiceName, settings: ServiceSettings) -> None:
    forwarder = Forwarder(name, settings.addresses[name], settings.forward_timeout_s, settings.forward_at_once)
    for path in OFFERS[name].paths:
        view = partial(_forward, _BODIES[path], forwarder, path)
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["POST"])


def _nowhere(app: Flask, paths: tuple[str, ...], why: str) -> None:
    for path in paths:
        app.add_url_rule(path, endpoint=path, view_func=partial(_absent, path, why), methods=_METHODS)


def _answer(body: _Body, answers: Answers) -> Response:
    return jsonify(answers(*body.read()))


def _forward(body: _Body, forwarder: Forwarder, path: str) -> Response:
    answer = forwarder.post(path, *body.read())
    response = Response(answer.body, answer.status, content_type=_JSON)
    if answer.retry_after is not None:
        response.headers["Retry-After"] = answer.retry_after
    return response


def _absent(path: str, why: str) -> Response:
    raise RefusedError(404, f"{path} {why}")


_Made = tuple[Callable[[], None], dict[str, Answers]]


def _ocr(_settings: ServiceSettings, _encoder: rag.Encoder) -> _Made:
    service = ocr.Ocr()
    return service.load, {
        "/ocr": lambda body, kind: service.read(ocr.image_of_json(body) if kind == _JSON else body),
    }


def _rag(settings: ServiceSettings, encoder: rag.Encoder) -> _Made:
    service = rag.Rag(encoder, settings.rag_directory)
    return service.load, {
        "/rag/documents": lambda body, _kind: service.store(rag.documents_of(body)),
        "/rag/query": lambda body, _kind: service.query(rag.query_of(body)),
    }


def _agents(_settings: ServiceSettings, _encoder: rag.Encoder) -> _Made:
    service = agents.Agents()
    return service.load, {"/agents/run": lambda body, _kind: service.run(agents.task_of(body))}


_SERVICES: Mapping[ServiceName, Callable[[ServiceSettings, rag.Encoder], _Made]] = {
    "ocr": _ocr,
    "rag": _rag,
    "agents": _agents,
}
