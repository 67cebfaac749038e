"""What is wrong with an answer, in a few words that quote nothing of it but numbers: it may hold anybody's data."""

from __future__ import annotations

import json
from typing import Any

from schemathesis.core.failures import Failure, MalformedJson, ServerError
from schemathesis.openapi.checks import (
    JsonSchemaError,
    MalformedMediaType,
    MissingContentType,
    UndefinedContentType,
    UndefinedStatusCode,
)

_WANTED_AT_MOST = 80


def explain(failure: Failure) -> tuple[str, str]:
    """(kind, what is wrong), the kind as in `ApiProblem`."""
    match failure:
        case ServerError():
            return "server-error", f"status {failure.status_code} to a valid request"
        case UndefinedStatusCode():
            documented = ", ".join(failure.defined_status_codes) or "none"
            return "status", f"status {failure.status_code}; documented: {documented}"
        case MissingContentType() | UndefinedContentType() | MalformedMediaType():
            return "content-type", _content_type(failure)
        case JsonSchemaError():
            return "schema", _schema(failure)
        case _:
            return "schema", "the body is no JSON" if isinstance(failure, MalformedJson) else failure.title


def _content_type(failure: MissingContentType | UndefinedContentType | MalformedMediaType) -> str:
    match failure:
        case MissingContentType():
            return f"no Content-Type; documented: {', '.join(failure.media_types)}"
        case UndefinedContentType():
            return f"Content-Type {failure.content_type}; documented: {', '.join(failure.defined_content_types)}"
        case MalformedMediaType():
            return f"Content-Type {failure.actual} is none; documented: {failure.defined}"


def _schema(failure: JsonSchemaError) -> str:
    where = "/" + "/".join(str(step) for step in failure.instance_path) if failure.instance_path else "the body"
    keyword = str(failure.schema_path[-1]) if failure.schema_path else ""
    wanted, instance = failure.schema.get(keyword), failure.instance
    if keyword == "required" and isinstance(instance, dict) and isinstance(wanted, list):
        missing = ", ".join(json.dumps(name) for name in wanted if name not in instance)
        return f"{where} lacks {missing}"
    if keyword == "additionalProperties" and wanted is False:
        return f"{where} has a key that is not documented"
    if keyword == "type":
        kinds = " or ".join(wanted) if isinstance(wanted, list) else wanted
        return f"{where} is {_shown(instance)}; documented: {kinds}"
    text = json.dumps(wanted, ensure_ascii=False, default=str)
    text = text if len(text) <= _WANTED_AT_MOST else text[: _WANTED_AT_MOST - 1] + "…"
    return f"{where} is {_shown(instance)}; documented: {keyword} {text}"


def _shown(value: Any) -> str:
    match value:
        case None | bool() | int() | float():
            return json.dumps(value)
        case str():
            return f"text of {len(value):,} character{'s' if len(value) != 1 else ''}"
        case list():
            return f"a list of {len(value):,}"
        case _:
            return "an object"
