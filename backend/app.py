"""The WSGI application: the HTTP contract, and nothing about models but that one answers."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from backend import chat, prepared
from backend.bodies import BadRequestError
from backend.encoders import implementation
from backend.lifecycle import LIFECYCLES, RETRY_AFTER_S, Lifecycle, Load, Model, ModelNotReadyError
from backend.services import catalogue, routes
from backend.services.embedding import Embedding
from backend.settings import Settings
from backend.wire import RefusedError, error, read_body, refused, require_type

_log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None, load: Load | None = None) -> Flask:
    """Build the application: `settings` from the environment, the model by `load`, unless given.

    Raises:
        SettingsError: a variable holds a value that is not allowed.
        ModelFilesError: the model is missing or not prepared; says what to run.
    """
    settings = Settings.from_env() if settings is None else settings
    catalogue.check(settings.services, settings.workers)
    if load is None and settings.services.needs_model:
        # At once, also where the model is loaded later: what is known to fail must not start.
        prepared.require(settings)
        # Imported here whatever the lifecycle, torch and all: so the lifecycles differ in when the model is loaded,
        # and in nothing else.
        from backend.model import ChatModel

        implementation(settings.runtime)
        load = partial(ChatModel.load, settings)

    app = Flask(__name__, static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # A doubled slash is an unknown path, not a redirect.
    app.url_map.merge_slashes = False
    lifecycle = LIFECYCLES[settings.lifecycle](partial(_timed, load or _no_model, _described(settings)))
    # The model runs on a few threads of its own, each started at its first task, so never in the master.
    # torch keeps some 5 MiB of buffers for every thread that ever ran the model: 80 MiB for the 16 threads
    # that wait on connections, and no more answers on two cores.
    inference = ThreadPoolExecutor(settings.inference_threads, "inference")
    app.extensions["inference"] = inference
    app.extensions["lifecycle"] = lifecycle if settings.services.needs_model else None
    app.extensions["raw"] = settings.chat_response == "raw"
    if settings.services.chats:
        app.add_url_rule("/chat", view_func=_chat, methods=["POST"])
    else:
        routes.absent(app, "/chat", f"is not served by a process with ROLE={settings.services.role}")
    app.add_url_rule("/health", view_func=_health, methods=["GET"])
    app.add_url_rule("/ready", view_func=_ready, methods=["GET"])
    app.register_error_handler(BadRequestError, _bad_request)
    app.register_error_handler(RefusedError, refused)
    app.register_error_handler(ModelNotReadyError, _not_ready)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)
    routes.register(app, settings.services, Embedding(lifecycle, inference))
    ready = partial(_log.info, "Worker is ready (lifecycle %s)", settings.lifecycle)
    if not settings.services.needs_model:
        _log.info("Worker is ready (role %s)", settings.services.role)
    elif settings.preload:
        lifecycle.preload()  # gunicorn's configuration says when the port is bound
    else:
        lifecycle.start(ready)
    return app


def _no_model() -> Model:
    raise ModelNotReadyError("there is no model in this process")


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
    require_type("application/json")
    asked = chat.parse(read_body(chat.BODY_MAX_BYTES))
    model = _lifecycle().model()
    inference: ThreadPoolExecutor = current_app.extensions["inference"]
    answer = inference.submit(model.predict, asked.query).result()
    if current_app.extensions["raw"] or _prefers_text():
        return Response(answer, content_type="text/plain; charset=utf-8")
    return jsonify(response=answer)


def _health() -> Response:
    return jsonify(status="alive")


def _ready() -> Response:
    if current_app.extensions["lifecycle"] is not None and not _lifecycle().ready():
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


def _bad_request(mistake: BadRequestError) -> Response:
    return error(400, str(mistake), mistake.field)


def _not_ready(reason: ModelNotReadyError) -> Response:
    return error(503, str(reason), retry_after_s=RETRY_AFTER_S)


def _http_error(raised: HTTPException) -> Response:
    status = raised.code or 500
    if status == 405:
        response = error(405, f"method {request.method} is not allowed on {request.path}")
        response.headers.extend((name, value) for name, value in raised.get_headers() if name == "Allow")
        return response
    if status == 404:
        return error(404, f"there is nothing at {request.path}")
    if status == 400:
        return error(400, "body could not be read", "body")
    return error(status, raised.name)


def _internal_error(raised: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.path, exc_info=raised)
    return error(500, "the service failed to answer; the reason is in its log")
