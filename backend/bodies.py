"""What JSON bodies have in common: bytes to checked values, and whose mistake it is where they are not."""

from __future__ import annotations

import json
from typing import NoReturn

_JSON_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


class BadRequestError(ValueError):
    """The client's mistake: a message for it, and the field that the mistake is in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def json_object(body: bytes) -> dict[str, object]:
    """The object that a body is.

    Raises:
        BadRequestError: it is none.
    """
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


def text(document: dict[str, object], field: str, max_chars: int, where: str = "") -> str:
    """A string that says something, under `field`; `where` stands before its name in what the client is told.

    Raises:
        BadRequestError: it is none.
    """
    name = where + field
    value = _value(document, field, where)
    if not isinstance(value, str):
        raise BadRequestError(name, f"{name} must be a string, not {_json_name(value)}")
    if len(value) > max_chars:
        raise BadRequestError(name, f"{name} is longer than {max_chars} characters")
    # JSON can spell both; neither is text that a tokenizer, a log or a database can be trusted with.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise BadRequestError(name, f"{name} must not contain NUL or lone surrogates")
    if not any(char.isprintable() and not char.isspace() for char in value):
        raise BadRequestError(name, f"{name} must not be empty")
    return value


def objects(document: dict[str, object], field: str, most: int) -> list[dict[str, object]]:
    """From one to `most` objects under `field`.

    Raises:
        BadRequestError: something else is there.
    """
    value = _value(document, field)
    if not isinstance(value, list):
        raise BadRequestError(field, f"{field} must be an array, not {_json_name(value)}")
    if not 1 <= len(value) <= most:
        raise BadRequestError(field, f"{field} must have from 1 to {most} entries, not {len(value)}")
    for number, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise BadRequestError(field, f"{field}[{number}] must be an object, not {_json_name(entry)}")
    return value


def whole_number(document: dict[str, object], field: str, *, default: int, low: int, high: int) -> int:
    """From `low` to `high` under `field`; where it is not there: the default.

    Raises:
        BadRequestError: something else is there.
    """
    value = document.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadRequestError(field, f"{field} must be a whole number from {low} to {high}")
    return value


def _value(document: dict[str, object], field: str, where: str = "") -> object:
    if field not in document:
        raise BadRequestError(where + field, f"{where}{field} is missing")
    return document[field]


def _json_name(value: object) -> str:
    return _JSON_NAMES.get(type(value), "a number")
