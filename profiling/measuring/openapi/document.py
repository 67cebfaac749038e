"""Where an OpenAPI document comes from: asked of the service once, or read from a file."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

from profiling.values import ApiDocument

_AT_MOST = 8 << 20
"""Bytes. A large public API's document has 1 to 5 MB."""


class NoDocumentError(Exception):
    """There is none, in a few words: why. `unusable`: something is there, and it is none."""

    def __init__(self, reason: str, *, unusable: bool = False) -> None:
        super().__init__(reason)
        self.unusable = unusable


def fetch(document: ApiDocument, host: str, port: int, headers: dict[str, str], timeout_s: float) -> str:
    """The document's text. Raises NoDocumentError.

    One that nobody named is taken for one only if it is a JSON object with "openapi": a service may answer anything
    to a path that it does not know.
    """
    text = _decoded(_read(document) if document.local else _get(document.place, host, port, headers, timeout_s))
    if not document.named and not _looks_right(text):
        raise NoDocumentError("what is there is no OpenAPI document")
    return text


def _looks_right(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "openapi" in found


def _decoded(data: bytes) -> str:
    if len(data) > _AT_MOST:
        raise NoDocumentError(f"it is larger than {_AT_MOST >> 20} MiB", unusable=True)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NoDocumentError("it is not UTF-8", unusable=True) from None


def _read(document: ApiDocument) -> bytes:
    try:
        with Path(document.place).open("rb") as file:
            return file.read(_AT_MOST + 1)
    except OSError as error:
        raise NoDocumentError((error.strerror or str(error)).lower()) from None


def _get(path: str, host: str, port: int, headers: dict[str, str], timeout_s: float) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    deadline = time.monotonic() + timeout_s
    try:
        connection.request("GET", path, headers={"Accept": "application/json, */*", **headers})
        answer = connection.getresponse()
        if 300 <= answer.status < 400:
            raise NoDocumentError(f"GET is answered with {answer.status}, a redirect, which is not followed")
        if not 200 <= answer.status < 300:
            raise NoDocumentError(f"GET is answered with {answer.status}")
        data = b""
        while len(data) <= _AT_MOST and (chunk := answer.read1(1 << 16)):
            data += chunk
            if time.monotonic() > deadline:  # a socket's own timeout begins anew with each byte
                raise TimeoutError
    except TimeoutError:
        raise NoDocumentError(f"no answer within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise NoDocumentError(f"no answer: {' '.join(f'{type(error).__name__}: {error}'.split())}") from None
    finally:
        connection.close()
    return data
