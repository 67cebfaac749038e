"""The request body of POST /chat: bytes to a checked value."""

from __future__ import annotations

from dataclasses import dataclass

from backend.bodies import BadRequestError, json_object, text

__all__ = ["BODY_MAX_BYTES", "QUERY_MAX_CHARS", "SESSION_ID_MAX_CHARS", "BadRequestError", "ChatRequest", "parse"]

BODY_MAX_BYTES = 64 * 1024
QUERY_MAX_CHARS = 2000
SESSION_ID_MAX_CHARS = 128


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
    document = json_object(body)
    return ChatRequest(
        session_id=text(document, "session_id", SESSION_ID_MAX_CHARS),
        query=text(document, "query", QUERY_MAX_CHARS),
    )
