"""Containers that a dead tool left behind, as far as its keeper did not remove them."""

from __future__ import annotations

import contextlib
from typing import Any

from profiling.measuring.sandboxes.containers import options
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine


def find(engine: Engine) -> list[Any]:
    """The SDK's containers that bear our label and whose owner is dead. Empty if the engine does not say."""
    with contextlib.suppress(*ENGINE_ERRORS):
        labelled = engine.client.containers.list(all=True, filters={"label": options.LABEL}, ignore_removed=True)
        return [
            container
            for container in labelled
            if options.is_orphan(container.labels.get(options.LABEL, ""), local=engine.local)
        ]
    return []


def clear(engine: Engine) -> None:
    """Remove them."""
    for container in find(engine):
        with contextlib.suppress(*ENGINE_ERRORS):
            container.remove(force=True, v=True)
