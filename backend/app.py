"""The WSGI application: the HTTP contract, and nothing about models but that one answers."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from backend import chat, prepared
from backend.encoders import implementation
from backend.lifecycle import LIFECYCLES, RETRY_AFTER_S, Lifecycle, Load, Model, ModelNotReadyError
from backend.model import ChatModel
from backend.settings import Settings

_log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None, load: Load | None = None) -> Flask:
    """Build the application: `settings` from the environment, the model by `load`, unless given.

    Raises:
        SettingsError: a variable holds a value that is not allowed.
        ModelFilesError: the model is missing or not prepared; says what to run.
    """
    settings = Settings.from_env() if settings is None else settings
    if load is None:
        # At once, also where the model is loaded later: what is known to fail must not start.
        prepared.require(settings)
        # Imported here whatever the lifecycle, torch and all: so the lifecycles differ in when the model is loaded,
        # and in nothing else.
        implementation(settings.runtime)
        load = partial(ChatModel.load, settings)

    app = Flask(__name__, static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # A doubled slash is an unknown path, not a redirect.
    app.url_map.merge_slashes = False
    lifecycle = LIFECYCLES[settings.lifecycle](partial(_timed, load, _described(settings)))
    # The model runs on a few threads of its own, each started at its first task, so never in the master.
    # torch keeps some 5 MiB of buffers for every thread that ever ran the model: 80 MiB for the 16 threads
    # that wait on connections, and no more answers on two cores.
    app.extensions["inference"] = ThreadPoolExecutor(settings.inference_threads, "inference")
    app.extensions["lifecycle"] = lifecycle
    app.extensions["raw"] = settings.chat_response == "raw"
    app.add_url_rule("/chat", view_func=_chat, methods=["POST"])
    app.add_url_rule("/health", view_func=_health, methods=["GET"])
    app.add_url_rule("/ready", view_func=_ready, methods=["GET"])
    app.register_error_handler(chat.BadRequestError, _bad_request)
    app.register_error_handler(ModelNotReadyError, _not_ready)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)
    if settings.preload:
        lifecycle.preload()  # gunicorn's configuration says when the port is bound
    else:
        lifecycle.start(partial(_log.info, "Worker is ready (lifecycle %s)", settings.lifecycle))
    return app


def _described(settings: Settings) -> str:
    form = (
        "" if (settings.runtime, settings.dtype) == ("torch", "float32") else f", {settings.runtime} {settings.dtype}"
    )
    return f"checkpoint {settings.checkpoint}{form}"


def _timed(load: Load, what: str) -> Model:
    _log.info("Loading the model (%s)", what)
    began = time.monotonic()
    model = load()
    _log.info("Loaded the model in %.2f s", time.monotonic() - began)
    return model


def _chat() -> Response:
    if request.mimetype != "application/json":
        return _error(415, "Content-Type must be application/json", "Content-Type")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _error(415, "Content-Encoding must be identity", "Content-Encoding")
    asked = chat.parse(_body())
    model = _lifecycle().model()
    inference: ThreadPoolExecutor = current_app.extensions["inference"]
    answer = inference.submit(model.predict, asked.query).result()
    if current_app.extensions["raw"] or _prefers_text():
        return Response(answer, content_type="text/plain; charset=utf-8")
    return jsonify(response=answer)


def _body() -> bytes:
    # Not Werkzeug's max_content_length: of a chunked body it silently drops what is beyond the limit.
    if (request.content_length or 0) > chat.BODY_MAX_BYTES:
        raise RequestEntityTooLarge
    body = b""
    try:
        while chunk := request.stream.read(chat.BODY_MAX_BYTES + 1 - len(body)):
            body += chunk
    except Exception as error:
        # The client went away, or its chunks are broken: each server has exceptions of its own for that.
        raise chat.BadRequestError("body", "body could not be read") from error
    if len(body) > chat.BODY_MAX_BYTES:
        raise RequestEntityTooLarge
    return body


def _health() -> Response:
    return jsonify(status="alive")


def _ready() -> Response:
    if not _lifecycle().ready():
        raise ModelNotReadyError("the model is still being loaded")
    return jsonify(status="ready")


def _lifecycle() -> Lifecycle:
    lifecycle: Lifecycle = current_app.extensions["lifecycle"]
    return lifecycle


def _prefers_text() -> bool:
    # Werkzeug's own matching would not find "text/plain" in "text/plain; charset=utf-8". Its list is sorted,
    # the best first, so reversed the best entry for a type is the one that stays.
    accepted = {value.partition(";")[0].strip(): q for value, q in reversed(request.accept_mimetypes)}
    anything = accepted.get("*/*", 0)
    text = accepted.get("text/plain", accepted.get("text/*", anything))
    return text > accepted.get("application/json", accepted.get("application/*", anything))


def _error(status: int, message: str, field: str | None = None) -> Response:
    response = jsonify(error={"message": message, "field": field})
    response.status_code = status
    return response


def _bad_request(error: chat.BadRequestError) -> Response:
    return _error(400, str(error), error.field)


def _not_ready(error: ModelNotReadyError) -> Response:
    response = _error(503, str(error))
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status == 413:
        return _error(413, f"body is larger than {chat.BODY_MAX_BYTES} bytes", "body")
    if status == 405:
        response = _error(405, f"method {request.method} is not allowed on {request.path}")
        response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        return response
    if status == 404:
        return _error(404, f"there is nothing at {request.path}")
    if status == 400:
        return _error(400, "body could not be read", "body")
    return _error(status, error.name)


def _internal_error(error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return _error(500, "the service failed to answer; the reason is in its log")
