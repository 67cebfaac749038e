"""A value in a manifest together with its place, so that every error can name the file and the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from profiling.errors import ManifestError
from profiling.units import shortened

Parsed = TypeVar("Parsed")

MIN_MEMORY_BYTES = 1 << 20
MIN_CPUS, MAX_CPUS = 0.01, 1024.0
"""The kernel takes no quota under 1 ms in 100 ms."""
_HINT = "correct that key; docs/manifests.md says what is read and in which units"
_PLAIN_KEY = re.compile(r"[\w./-]+")


@dataclass(frozen=True, slots=True)
class Node:
    """`value` as parsed; `path` such as `services[0].plan`. A missing key is a Node whose value is None, as in `null`."""

    value: Any
    file: str
    path: str = ""

    def __getitem__(self, key: str) -> Node:
        """The entry under `key`. Raises ManifestError if this is no table."""
        if self.value is None:
            return self._child(key, None)
        if not isinstance(self.value, dict):
            self.refuse("must be a table of keys and values")
        return self._child(key, self.value.get(key))

    def at(self, *keys: str) -> Node:
        node = self
        for key in keys:
            node = node[key]
        return node

    def __bool__(self) -> bool:
        """Whether something is said here."""
        return self.value is not None

    def _child(self, key: object, value: object) -> Node:
        name = key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else repr(key)
        return Node(value, self.file, f"{self.path}.{shortened(name)}".lstrip("."))

    def items(self) -> Iterator[tuple[str, Node]]:
        """The entries of a table; none of null. Raises ManifestError for anything else."""
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            self.refuse("must be a table of keys and values")
        for key, value in self.value.items():
            if not isinstance(key, str | int) or isinstance(key, bool):
                self._child(key, value).refuse("has a key that is no text")
            yield self._checked(str(key)), self._child(key, value)

    def rows(self) -> list[Node]:
        """The elements of a list; none of null. Raises ManifestError for anything else."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.refuse("must be a list")
        return [Node(value, self.file, f"{self.path}[{number}]") for number, value in enumerate(self.value)]

    def text(self) -> str | None:
        """Text, or None for null and for no text at all. Raises ManifestError for anything else."""
        if self.value is None:
            return None
        if not isinstance(self.value, str):
            self.refuse("must be text")
        return self._checked(self.value) or None

    def words(self) -> tuple[str, ...]:
        """The words of a list of texts; numbers are written out."""
        return tuple(word.scalar() for word in self.rows())

    def scalar(self) -> str:
        """Text, or a number or boolean as the platforms write it out; null is empty. The value is not quoted in the
        error: it may be a secret."""
        value = self.value
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        if not isinstance(value, str):
            self.refuse("must be text or a number", quote=False)
        return self._checked(value)

    def port(self) -> int | None:
        """A TCP port from a number or from digits."""
        if self.value is None:
            return None
        text = str(self.value)
        if isinstance(self.value, bool) or not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
            self.refuse("is no port; it must be between 1 and 65535")
        return int(text)

    def memory(self, parse: Callable[[object], int]) -> int | None:
        """Bytes in the dialect of `parse`. Raises ManifestError for what is no limit that a service can have."""
        if self.value is None:
            return None
        size = self.parsed(parse)
        if not MIN_MEMORY_BYTES <= size < 1 << 62:
            self.refuse(f"is {size} bytes, which is no limit that a service can have; it must be 1 MiB or more")
        return size

    def cpus(self, parse: Callable[[object], float]) -> float | None:
        """CPUs in the dialect of `parse`."""
        if self.value is None:
            return None
        count = self.parsed(parse)
        if not MIN_CPUS <= count <= MAX_CPUS:
            self.refuse(f"is {count:g} CPUs; it must be between {MIN_CPUS:g} and {MAX_CPUS:g}")
        return count

    def parsed(self, parse: Callable[[object], Parsed]) -> Parsed:
        """What `parse` makes of the value; its ValueError becomes a ManifestError with the place."""
        try:
            return parse(self.value)
        except ValueError as error:
            raise ManifestError(f"{self._place}: {error}", _HINT) from error

    def refuse(self, what: str, *, hint: str = _HINT, quote: bool = True) -> NoReturn:
        """Raises ManifestError: the file, the key, what is wrong and what was read."""
        read = f" (read: {self._quoted()})" if quote and self.value is not None else ""
        raise ManifestError(f"{self._place}: {what}{read}", hint)

    @property
    def _place(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file

    def _quoted(self) -> str:
        # A container is named, not printed: with aliases inside one another it can be endless.
        kinds: dict[type, str] = {dict: "a table", list: "a list"}
        return kinds.get(type(self.value)) or shortened(repr(self.value), 60)

    def _checked(self, text: str) -> str:
        if "\0" in text:
            self.refuse("holds a NUL character", quote=False)
        return text


def shown(name: str) -> str:
    """A name as it can stand in one line."""
    return name if name.isprintable() and len(name) <= 60 else shortened(repr(name), 60)


def environment(pairs: Iterator[tuple[str, Node]]) -> dict[str, str]:
    """Names and values that can be environment variables. Raises ManifestError for what cannot."""
    env = {}
    for name, node in pairs:
        if not name or "=" in name:
            node.refuse("has a name that cannot be an environment variable's", quote=False)
        env[name] = node.scalar()
    return env
