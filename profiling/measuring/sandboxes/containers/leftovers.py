"""Containers that a dead tool left behind, as far as its keeper did not remove them."""

from __future__ import annotations

import contextlib
from typing import Any

from profiling.measuring.sandboxes.containers import options
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine


def labelled(engine: Engine) -> list[tuple[Any, str]]:
    """The SDK's containers that bear our label, and whose they are.

    Sparse: inspecting each would fail, with a status that depends on the engine, where one goes away meanwhile.
    """
    found = engine.client.containers.list(all=True, filters={"label": options.LABEL}, sparse=True)
    return [(container, container.attrs["Labels"][options.LABEL]) for container in found]


def find(engine: Engine) -> list[Any]:
    """The SDK's containers whose owner is dead, sparse. Empty if the engine does not say."""
    with contextlib.suppress(*ENGINE_ERRORS):
        return [container for container, owner in labelled(engine) if options.is_orphan(owner, local=engine.local)]
    return []


def name(container: Any) -> str:
    """Of a sparse one."""
    return str(container.attrs["Names"][0]).lstrip("/")


def clear(engine: Engine) -> None:
    """Remove them."""
    for container in find(engine):
        with contextlib.suppress(*ENGINE_ERRORS):
            container.remove(force=True, v=True)
