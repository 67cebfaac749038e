"""What the tool and the checker's process say to each other: one JSON object a line."""

from __future__ import annotations

from profiling.values import Value


class Task(Value, frozen=True, kw_only=True):
    """What is to be checked, and within which bounds."""

    document: str
    """The OpenAPI document's text, JSON or YAML."""
    file: str | None = None
    """The `file:` URI of a local document: what it refers to lies beside it. None: the service sent it."""
    host: str
    port: int
    methods: tuple[str, ...]
    own: tuple[str, str] | None
    """Method and path of the request that the load sends; None: the users of a locustfile decided themselves."""
    headers: dict[str, str] = {}
    """Sent along with each request."""
    examples: int
    """Generated requests of each operation, beside the document's own examples."""
    window_s: float
    """So long requests are begun."""
    timeout_s: float
    """So long each may take."""


class Ready(Value, frozen=True, kw_only=True, tag=True):
    """Everything is loaded: it waits for its task."""


class Chosen(Value, frozen=True, kw_only=True, tag=True):
    """The document is read."""

    operations: int
    chosen: int


class Asked(Value, frozen=True, kw_only=True, tag=True):
    """A request is on its way."""

    operation: str


class Found(Value, frozen=True, kw_only=True, tag=True):
    """What is wrong with an answer, or with the document."""

    operation: str
    kind: str
    status: int | None = None
    example: str
    sent: str = ""


class Unusable(Value, frozen=True, kw_only=True, tag=True):
    """Nothing can be asked by this document."""

    reason: str


class Done(Value, frozen=True, kw_only=True, tag=True):
    """All that could be asked in time has been."""

    failed: str = ""
    """Unless something of the checker's own went wrong: what."""


Message = Ready | Chosen | Asked | Found | Unusable | Done
