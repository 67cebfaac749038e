"""A chatbot on Flask behind gunicorn: POST /chat answers with the known question that is most like the one asked.

    gunicorn "app:create_app()" --bind 127.0.0.1:8000

HISTORY says what is kept of each conversation: its last 20 turns (`bounded`, the default) or all (`unbounded`).
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from history import History
from matcher import Matcher

_TEXTS = {"session_id": 100, "query": 1000}
"""The fields of a question, with the most characters of each."""


def create_app() -> Flask:
    """The WSGI application, with everything that its requests need already in memory."""
    app = Flask(__name__)
    matcher = Matcher()
    history = History(bounded=os.environ.get("HISTORY", "bounded") != "unbounded")

    @app.get("/health")
    def health() -> ResponseReturnValue:
        return {"status": "ok"}

    @app.post("/chat")
    def chat() -> ResponseReturnValue:
        question = _question()
        matches = matcher.best(question["query"])
        likeness, number = matches[0] if matches else (0.0, -1)
        response = f"Did you mean: {matcher.questions[number]}" if likeness > 0.1 else "I do not know that yet."
        # Beside the answer what it came from, for whoever looks into a conversation later.
        turn = {**question, "response": response, "matches": [(score, matcher.questions[n]) for score, n in matches]}
        turns = history.add(question["session_id"], turn)
        return {"response": response, "likeness": round(likeness, 3), "turns": turns}

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> ResponseReturnValue:
        return jsonify(error=error.description), error.code or 500

    return app


def _question() -> dict[str, str]:
    """The request's body. Raises BadRequest, a 400, with what is wrong with it."""
    body = request.get_json()  # raises BadRequest itself for what is no JSON, and 415 without a Content-Type of it
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    for field, longest in _TEXTS.items():
        value = body.get(field)
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise BadRequest(f"{field} must be text of 1 to {longest} characters")
    return {field: body[field] for field in _TEXTS}
