"""Captures to folded stacks by a process of its own: a damaged capture that breaks memray breaks that one, and two work at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from profiling.errors import DataError
from profiling.measuring.answering import Answering
from profiling.stacks import Folded, Stacks

_MODULE = "profiling.measuring.capture.folding"


class Folding:
    """A process at work on the captures of one program. A context manager: the process is gone afterwards, whatever happens."""

    def __init__(self, captures: Sequence[Path], at: str) -> None:
        """Start it; see `folding.fold`."""
        self._captures = tuple(captures)
        self._at = at
        self.process = Answering(_MODULE, at, *(os.fspath(path.absolute()) for path in captures))

    def __enter__(self) -> Folding:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)

    def result(self, timeout_s: float | None = None) -> Stacks:
        """Waits for it. Raises `DataError` where nothing can be read, memray breaks, or it takes longer than that."""
        try:
            said = self.process.answer(timeout_s)
        except TimeoutError:
            megabytes = sum(path.stat().st_size for path in self._captures) / 1e6
            raise DataError(
                f"{megabytes:.0f} MB of captures were not read within {timeout_s:g} s", "name fewer of them"
            ) from None
        try:
            answer = msgspec.msgpack.decode(said, type=Folded)
        except msgspec.MsgspecError:
            how = self.process.how_it_ended()
            raise DataError(f"memray broke off reading {_named(self._captures)} ({how})", "record it again") from None
        if answer.problem is not None:
            raise DataError(*answer.problem)
        return answer.stacks or Stacks(at=self._at)


def _named(captures: Sequence[Path]) -> str:
    first, *more = captures
    return f"{first} and {len(more)} more" if more else str(first)
