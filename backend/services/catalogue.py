"""The services that there are, and which of them is where, by the settings and what is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from backend.environment import SettingsError
from backend.services.settings import NAMES, ServiceName, ServiceSettings, flag, url

EXTRA = "oomproof[services]"
Installed = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Offer:
    """One service: what has to be installed for it, and its paths."""

    libraries: tuple[str, ...]
    """Top-level modules."""
    paths: tuple[str, ...]


OFFERS: Mapping[ServiceName, Offer] = {
    "ocr": Offer(("rapidocr_onnxruntime",), ("/ocr",)),
    "rag": Offer(("chromadb",), ("/rag/documents", "/rag/query")),
    "agents": Offer(("langgraph",), ("/agents/run",)),
}


class Where(Enum):
    HERE = "here"
    ELSEWHERE = "elsewhere"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is answered, and for NOWHERE why, as a client is told."""

    where: Where
    why: str = ""


def installed(module: str) -> bool:
    """Whether it could be imported; it is not."""
    return importlib.util.find_spec(module) is not None


def places(settings: ServiceSettings, has: Installed = installed) -> dict[ServiceName, Place]:
    """Where each service is.

    Raises:
        SettingsError: a service is asked for that cannot be had.
    """
    return {name: _place(name, settings, has) for name in NAMES}


def check(settings: ServiceSettings, workers: int, has: Installed = installed) -> None:
    """What `places` would refuse, and what does not go together.

    Raises:
        SettingsError: names the variable.
    """
    found = places(settings, has)
    if settings.rag_directory is not None and workers > 1 and found["rag"].where is Where.HERE:
        allowed = "WEB_CONCURRENCY=1 beside it: the database's files belong to one process"
        raise SettingsError("RAG_DIR", str(settings.rag_directory), allowed)


def _place(name: ServiceName, settings: ServiceSettings, has: Installed) -> Place:
    off = settings.disabled.get(name)
    if off:
        if settings.role == name:
            raise SettingsError("ROLE", name, f"a role that {flag(name)} does not switch off")
        return Place(Where.NOWHERE, f"is switched off by {flag(name)}")
    if settings.role == "api":
        if name in settings.addresses:
            return Place(Where.ELSEWHERE)
        if off is False:
            raise SettingsError(flag(name), "false", f"true, or {url(name)} to say where it is, with ROLE=api")
        return Place(Where.NOWHERE, f"is nowhere: {url(name)} is not set")
    if settings.role not in ("all", name):
        return Place(Where.NOWHERE, f"is not served by a process with ROLE={settings.role}")
    missing = [module for module in OFFERS[name].libraries if not has(module)]
    if not missing:
        return Place(Where.HERE)
    install = f"pip install '{EXTRA}'"
    if settings.role == name:
        raise SettingsError("ROLE", name, f"what {', '.join(missing)} is not needed for, or: {install}")
    if off is False:
        raise SettingsError(flag(name), "false", f"true, as {', '.join(missing)} is not installed, or: {install}")
    return Place(Where.NOWHERE, f"needs what is not installed: {install}")
