"""Which services this process offers, and where it finds those that it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, cast, get_args

from backend.environment import SettingsError, choice, switch, whole_number

ServiceName = Literal["ocr", "rag", "agents"]
Role = Literal["all", "api", "ocr", "rag", "agents"]
Imports = Literal["eager", "lazy"]

NAMES: tuple[ServiceName, ...] = get_args(ServiceName)
_ADDRESS = re.compile(r"(?:http://)?(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class Address:
    """A service's place on the network, spoken to by plain HTTP."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the environment asked for. An empty variable counts as unset."""

    role: Role = "all"
    """ROLE: everything in one process; the API, which forwards; or one service alone."""
    disabled: Mapping[ServiceName, bool] = field(default_factory=dict)
    """DISABLE_OCR, DISABLE_RAG, DISABLE_AGENTS: those that were said."""
    imports: Imports = "eager"
    """IMPORTS: `eager` loads what is offered at start, `lazy` on its first use."""
    addresses: Mapping[ServiceName, Address] = field(default_factory=dict)
    """OCR_URL, RAG_URL, AGENTS_URL: where ROLE=api forwards to."""
    forward_timeout_s: int = 30
    """FORWARD_TIMEOUT: seconds that a service has for its answer."""
    forward_at_once: int = 8
    """FORWARD_AT_ONCE: requests that one worker process forwards to one service at once; more are refused."""
    rag_directory: Path | None = None
    """RAG_DIR: where documents are kept; None: in memory, each worker process its own, until it ends."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read and check every variable.

        Raises:
            SettingsError: names the first bad variable, what was read and what is allowed.
        """
        directory = env.get("RAG_DIR")
        said = {name: switch(env, flag(name)) for name in NAMES}
        found = {name: _address(env, url(name)) for name in NAMES}
        return cls(
            role=cast(Role, choice(env, "ROLE", "all", get_args(Role))),
            disabled={name: value for name, value in said.items() if value is not None},
            imports=cast(Imports, choice(env, "IMPORTS", "eager", get_args(Imports))),
            addresses={name: value for name, value in found.items() if value is not None},
            forward_timeout_s=whole_number(env, "FORWARD_TIMEOUT", default=30, low=1, high=600),
            forward_at_once=whole_number(env, "FORWARD_AT_ONCE", default=8, low=1, high=512),
            rag_directory=Path(directory).expanduser().absolute() if directory else None,
        )

    @property
    def chats(self) -> bool:
        """POST /chat is answered here."""
        return self.role in ("all", "api")

    @property
    def needs_model(self) -> bool:
        """The chat's model, whose encoder the documents' search uses as well, is loaded here."""
        return self.chats or self.role == "rag"


def flag(name: ServiceName) -> str:
    """The variable that switches a service off."""
    return f"DISABLE_{name.upper()}"


def url(name: ServiceName) -> str:
    """The variable that says where a service is."""
    return f"{name.upper()}_URL"


def _address(env: Mapping[str, str], name: str) -> Address | None:
    value = env.get(name)
    if not value:
        return None
    # With a scheme as people write it, without one as a platform's blueprint fills it in.
    found = _ADDRESS.fullmatch(value)
    if found is None or not 1 <= int(found[2] or 80) <= 65535:
        raise SettingsError(name, value, "http://HOST:PORT or HOST:PORT, without a path")
    return Address(found[1].strip("[]"), int(found[2] or 80))
