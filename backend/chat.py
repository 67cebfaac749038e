"""The request body of POST /chat: bytes to a checked value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NoReturn

BODY_MAX_BYTES = 64 * 1024
QUERY_MAX_CHARS = 2000
SESSION_ID_MAX_CHARS = 128

_JSON_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


class BadRequestError(ValueError):
    """The client's mistake: a message for it, and the field that the mistake is in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid body. Fields of other names are ignored, so that a newer client can send more."""

    session_id: str
    query: str


def parse(body: bytes) -> ChatRequest:
    """Check everything that the contract says about a body.

    Raises:
        BadRequestError: names the field; `body` if it is no JSON object at all.
    """
    document = _json_object(body)
    return ChatRequest(
        session_id=_text(document, "session_id", SESSION_ID_MAX_CHARS),
        query=_text(document, "query", QUERY_MAX_CHARS),
    )


def _json_object(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadRequestError("body", "body is not valid UTF-8") from None
    except RecursionError:
        raise BadRequestError("body", "body is nested too deeply") from None
    except ValueError:
        raise BadRequestError("body", "body is not valid JSON") from None
    if not isinstance(document, dict):
        raise BadRequestError("body", f"body must be a JSON object, not {_json_name(document)}")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text(document: dict[str, object], field: str, max_chars: int) -> str:
    if field not in document:
        raise BadRequestError(field, f"{field} is missing")
    value = document[field]
    if not isinstance(value, str):
        raise BadRequestError(field, f"{field} must be a string, not {_json_name(value)}")
    if len(value) > max_chars:
        raise BadRequestError(field, f"{field} is longer than {max_chars} characters")
    # JSON can spell both; neither is text that a tokenizer, a log or a database can be trusted with.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise BadRequestError(field, f"{field} must not contain NUL or lone surrogates")
    if not any(char.isprintable() and not char.isspace() for char in value):
        raise BadRequestError(field, f"{field} must not be empty")
    return value


def _json_name(value: object) -> str:
    return _JSON_NAMES.get(type(value), "a number")
