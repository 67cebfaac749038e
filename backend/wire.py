"""HTTP as all routes speak it: how a body is read, and how one is refused."""

from __future__ import annotations

from flask import Response, jsonify, request

from backend.bodies import BadRequestError


class RefusedError(Exception):
    """An answer other than 200, with a message for the client."""

    def __init__(self, status: int, message: str, field: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.retry_after_s = retry_after_s


def error(status: int, message: str, field: str | None = None, retry_after_s: int | None = None) -> Response:
    """The form of every answer that is no 200."""
    response = jsonify(error={"message": message, "field": field})
    response.status_code = status
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def refused(reason: RefusedError) -> Response:
    return error(reason.status, str(reason), reason.field, reason.retry_after_s)


def require_type(*allowed: str) -> str:
    """The body's type, which is one of these, and not encoded any further.

    Raises:
        RefusedError: 415.
    """
    if request.mimetype not in allowed:
        raise RefusedError(415, f"Content-Type must be {' or '.join(allowed)}", "Content-Type")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError(415, "Content-Encoding must be identity", "Content-Encoding")
    return request.mimetype


def read_body(max_bytes: int) -> bytes:
    """All of it.

    Raises:
        RefusedError: 413, it is larger.
        BadRequestError: it breaks off.
    """
    # Not Werkzeug's max_content_length: of a chunked body it silently drops what is beyond the limit.
    too_large = RefusedError(413, f"body is larger than {max_bytes} bytes", "body")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        while chunk := request.stream.read(max_bytes + 1 - len(body)):
            body += chunk
    except Exception as broken:
        # The client went away, or its chunks are broken: each server has exceptions of its own for that.
        raise BadRequestError("body", "body could not be read") from broken
    if len(body) > max_bytes:
        raise too_large
    return bytes(body)
