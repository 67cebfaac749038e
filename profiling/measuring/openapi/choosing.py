"""Which operations of a document may be asked, and below which path they lie: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_FILLED = re.compile(r"\{(?:session|query)\}")


def is_own(own: tuple[str, str] | None, method: str, path: str) -> bool:
    """Whether the load's request is one of the operation `method path`; `path` is the document's, with its base path."""
    return own is not None and own[0] == method and _matches(path, own[1])


def base_path(declared: str, paths: Iterable[str], own: tuple[str, str] | None) -> str:
    """The path below which the service has the document's paths, without a slash at its end.

    A document's `servers` tell where the world finds the service, often behind a proxy that takes a prefix away. The load's
    own request is known to arrive: if it is one of the document's paths as it stands, there is no prefix.
    """
    prefix = "/" + declared.strip("/") if declared.strip("/") else ""
    if not prefix or own is None:
        return prefix
    paths = tuple(paths)
    if any(_matches(prefix + path, own[1]) for path in paths):
        return prefix
    return "" if any(_matches(path, own[1]) for path in paths) else prefix


def _matches(template: str, path: str) -> bool:
    """Whether `path`, of the load's request, is an instance of a document's path template."""
    path = _FILLED.sub("x", path.partition("?")[0])
    parts = re.split(r"\{[^{}/]*\}", template)
    return re.fullmatch("[^/]+".join(re.escape(part) for part in parts), path) is not None


def refers_elsewhere(document: Any, *, local: bool) -> str | None:
    """The first place outside the document that it refers to and that is not read: of a local file, what has a scheme; of
    one that the service sent, all. None: there is none."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key in ("$ref", "externalValue"):
                place = value.get(key)
                if isinstance(place, str) and not place.startswith("#") and (not local or ":" in place):
                    return place
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return None
