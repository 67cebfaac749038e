"""Samples that come in from another machine: onto our clock, into a file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from profiling.errors import SamplerError
from profiling.measuring import samples

_SAMPLE = np.dtype(list(samples.FIELDS))


class ArrivingSamples:
    """Filled by one thread, stopped by another."""

    def __init__(self, path: Path, offset_ns: int, finish: Callable[[], object]) -> None:
        """`offset_ns`: what to add to the other machine's clock to get ours; `finish` asks the other side to end."""
        self._file = path.open("ab", buffering=0)
        self._offset_ns = offset_ns
        self._finish = finish
        self._rest = b""
        self._count = 0
        self._account: dict[str, Any] | None = None
        self._lost: str | None = None
        self._complete = threading.Event()

    def add(self, data: bytes) -> None:
        """What came in, wherever it was torn apart on the way."""
        data = self._rest + data
        whole = len(data) // _SAMPLE.itemsize * _SAMPLE.itemsize
        self._rest = data[whole:]
        records = np.frombuffer(data[:whole], _SAMPLE).copy()
        records["t_ns"] += self._offset_ns
        self._file.write(records.tobytes())
        self._count += len(records)
        self._look()

    def account(self, said: dict[str, Any]) -> None:
        """The sampler's own account. It comes by another way than the samples, and may overtake them."""
        self._account = said
        self._look()

    def ended(self, lost: str | None) -> None:
        """Nothing more will come; `lost`: what went wrong, None if the container has ended in good order."""
        self._lost = lost
        self._complete.set()

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """As `Sampling.stop`."""
        self._finish()
        self._complete.wait(timeout_s)
        if self._account is not None and self._count >= self._account["samples"]:
            return self._account
        if self._complete.is_set() and self._lost is None:  # ended before the sampler could look, or say more
            return {"samples": self._count, "cpu_s": 0.0}
        raise SamplerError(
            f"the observer container was lost: {self._lost or 'it does not answer'}",
            "the run's memory curve is not complete; make it again",
        )

    def close(self) -> None:
        self._file.close()

    def _look(self) -> None:
        if self._account is not None and self._count >= self._account["samples"]:
            self._complete.set()
