"""Which path says that the service is ready, and which request stands for its use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from profiling.detecting.findings import Found, Route
from profiling.detecting.plain import shows_secrets

_READY = ("readyz", "ready", "readiness", "healthz", "health", "healthcheck", "health-check", "health_check", "livez",
          "liveness", "alive", "heartbeat", "status", "up", "ping")  # fmt: skip
"""Last part of a path that health checks use, the most telling first."""
_IN_USE = re.compile(
    r"chat|ask|predict|quer(?:y|ies)|generate|completions?|infer(?:ence)?|classif(?:y|ication)|embed(?:dings?)?|search"
    r"|summari[sz]e|translate|answer|analy[sz]e|score|rank|echo|recommend"
)
_WITH_CONSEQUENCES = re.compile(
    r"log-?in|log-?out|sign-?up|sign-?in|register|auth|token|webhook|hook|admin|delete|upload|callback|pay|charge|checkout"
    r"|order|e?mail|send|notif|reset|password|subscribe|import"
)


def without_secrets(routes: Iterable[Route]) -> Iterator[Route]:
    """The routes without those whose path looks like a secret, and without a body that does."""
    for route in routes:
        if not shows_secrets(route.path):
            yield msgspec.structs.replace(route, json=None) if shows_secrets(route.json) else route


def ready(routes: Iterable[Route]) -> Route | None:
    """The GET route that looks like a health check."""
    known = [route for route in routes if route.method == "GET" and route.plain and _last(route.path) in _READY]
    return min(known, key=lambda route: _READY.index(_last(route.path)), default=None)


def any_get(routes: Iterable[Route]) -> Route | None:
    """A GET route that can be asked just so: the root before others."""
    plain = [route for route in routes if route.method == "GET" and route.plain]
    return min(plain, key=lambda route: (route.path != "/", _last(route.path) in _READY), default=None)


def posts(routes: Iterable[Route]) -> list[Route]:
    """The POST routes that could be asked again and again."""
    return [r for r in routes if r.method == "POST" and r.plain and not _WITH_CONSEQUENCES.search(r.path.lower())]


def post(routes: Iterable[Route]) -> Route | None:
    """The POST route that the service is there for, if its body is known: one whose name says that it only answers, or
    the only one. Load is put on it, so whatever might create or send something is left to the user."""
    could_be = posts(routes)
    known = [route for route in could_be if route.json is not None and _IN_USE.fullmatch(_last(route.path))]
    if known:
        return known[0]
    return could_be[0] if len(could_be) == 1 and could_be[0].json and _IN_USE.search(could_be[0].path) else None


def is_health_check(route: Route) -> bool:
    return _last(route.path) in _READY


def values(route: Route, source: str, *, sure: bool) -> list[Found]:
    """The [request] table for a route."""
    found = [Found(key="request.method", value=route.method, source=source, sure=sure)]
    found.append(Found(key="request.path", value=route.path, source=source, sure=sure))
    if route.json is not None:
        found.append(Found(key="request.json", value=route.json, source=f"{source}: what it reads", sure=sure))
    if route.status not in (None, 200):
        found.append(Found(key="request.expect.status", value=route.status, source=source, sure=sure))
    return found


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2].lower()
