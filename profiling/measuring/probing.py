"""Requests that a service should refuse with a 4xx: sent one by one, each with what came of it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

from loadtests.plan import RequestTemplate
from profiling.measuring.readiness import is_ready
from profiling.values import Probe

_TIMEOUT_S = 10.0
_FIELDS_AT_MOST = 5
"""So many fields of the request are left out or given a wrong type, one at a time."""
_BODY_AT_MOST = 1 << 20
"""So much of an answer's body is read: its status is what counts, and a body may have no end."""
WITHOUT = "without "
"""How the name of a body begins that lacks one field."""
_UNSET = object()


def bad_bodies(body: Any = _UNSET) -> Iterator[tuple[str, bytes]]:
    """What is wrong with it, and the body: for a JSON request whose right body is `body`."""
    yield "not JSON", b'{"oomproof": '
    yield "no body", b""
    yield "a list", b"[]" if not isinstance(body, list) else b"{}"
    if not isinstance(body, dict) or not body:
        return
    yield "no fields", b"{}"
    for name in list(body)[:_FIELDS_AT_MOST]:
        yield f'{WITHOUT}"{name}"', json.dumps({key: value for key, value in body.items() if key != name}).encode()
    for name in list(body)[:_FIELDS_AT_MOST]:
        wrong = 4711 if isinstance(body[name], str) else "wrong"
        yield f'"{name}" of a wrong type', json.dumps({**body, name: wrong}).encode()


def can_be_probed(request: RequestTemplate) -> bool:
    """Only a POST with a JSON body: what else a request means, and what it may change, is not known."""
    return request.method == "POST" and request.json is not None


def probe(host: str, port: int, request: RequestTemplate, ready: str) -> tuple[Probe, ...]:
    """Send each bad body to the request's path, and ask after each whether the service is still ready.

    Ends early when it is not: what follows would say nothing.
    """
    found: list[Probe] = []
    for name, body in bad_bodies(request.json):
        started = time.monotonic()
        status, problem = _post(host, port, request, body)
        elapsed_ms = (time.monotonic() - started) * 1000
        alive = is_ready(host, port, ready, timeout_s=_TIMEOUT_S)
        found.append(Probe(name=name, status=status, elapsed_ms=elapsed_ms, problem=problem, ready_after=alive))
        if not alive:
            break
    return tuple(found)


def _post(host: str, port: int, request: RequestTemplate, body: bytes) -> tuple[int | None, str]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json", **request.headers}
        connection.request(request.method, request.path, body, headers)
        answer = connection.getresponse()
        _read(answer, time.monotonic() + _TIMEOUT_S)
    except TimeoutError:
        return None, f"no answer within {_TIMEOUT_S:g} s"
    except (OSError, http.client.HTTPException) as error:
        return None, " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    else:
        return answer.status, ""
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse, deadline: float) -> None:
    """Read the body, or what matters of it. Raises TimeoutError if it drips past the deadline: a socket's own timeout
    begins anew with each byte."""
    read = 0
    while read < _BODY_AT_MOST and (chunk := answer.read1(1 << 16)):
        read += len(chunk)
        if time.monotonic() > deadline:
            raise TimeoutError
