"""What was found in a directory: values for the config file, each with where it comes from."""

from __future__ import annotations

from typing import Any

from profiling.values import Value


class Found(Value, frozen=True, kw_only=True):
    """One value for the file."""

    key: str
    """Its path in the file, such as `target.command`."""
    value: Any
    source: str
    """Why it stands there, such as `from Procfile: web`."""
    sure: bool = True
    """False: nothing says so; it stands there so that the file can be used, and is marked."""


class Missing(Value, frozen=True, kw_only=True):
    """One value that nothing says, and without which nothing can be measured."""

    key: str
    why: str


class Launch(Value, frozen=True, kw_only=True):
    """One way in which the service can be started, of a manifest, a Dockerfile, a Procfile, or the code."""

    source: str
    command: tuple[str, ...] = ()
    dockerfile: str | None = None
    directory: str | None = None
    build_args: dict[str, str] = {}
    env: dict[str, str] = {}
    ready: str | None = None
    """Path of a health check that stands beside it."""
    sure: bool = True
    notes: tuple[str, ...] = ()
    manifest: str | None = None
    """The command stays where it is: this file is read again at each run."""
    service: str | None = None


class Route(Value, frozen=True, kw_only=True):
    """One path that the code answers."""

    method: str
    path: str
    where: str
    """`app.py:12`."""
    plain: bool = True
    """It can be asked just so: no parameters, no required query, nobody who has to be logged in."""
    status: int | None = None
    """What it answers with, where the code says so."""
    json: Any = None
    """A body that it should understand; None: not known."""


class Findings(Value, frozen=True, kw_only=True):
    """Everything that goes into the file, in its order."""

    found: tuple[Found, ...] = ()
    missing: tuple[Missing, ...] = ()
    aside: dict[str, tuple[str, ...]] = {}
    """By key: lines that stand at it as comments."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the directory as a whole."""

    def value(self, key: str) -> Any:
        """The value of a key; None where it has none."""
        return next((found.value for found in self.found if found.key == key), None)

    @property
    def assumed(self) -> tuple[Found, ...]:
        return tuple(found for found in self.found if not found.sure)
