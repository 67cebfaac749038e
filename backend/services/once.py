"""Something that takes long to make, made once and shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Once(Generic[Made]):
    """Makes it at the first `get`; those who come meanwhile wait. After a failure the next one tries again."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[Made] = []

    def get(self) -> Made:
        """Raises what making it raised."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
