"""One container at work."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from urllib3.exceptions import HTTPError

from profiling.errors import EngineError, SamplerError
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.measuring.sandboxes.containers.eyes import Eyes

_KILLED_WITHIN_S = 30.0
"""An engine that never says that a killed container has ended is not waited for; removing it is tried all the same."""
_ENGINE_FOLLOWS_S = 1.0
"""An engine that goes away takes its containers along, at times before it is missed itself."""


class Ended(threading.Event):
    """Set when the container has ended; `status` as subprocess gives it: negative for a signal."""

    status: int | None = None
    lost: str | None = None
    """What the engine's going away looked like; how the container ended is not known then."""


class RunningContainer:
    """A started container."""

    def __init__(
        self, engine: Engine, container: Any, eyes: Eyes, log: Path | None, release: Callable[[], object]
    ) -> None:
        """`release` is called when the container has been removed."""
        self._engine = engine
        self._container = container
        self._eyes = eyes
        self._release = release
        self._closed = False
        self._counters = Counters(oom_kills=0, peak_charged_bytes=None, certain=False)
        self._ended = Ended()
        self._output = _Output(container, log)
        threading.Thread(target=wait_for_end, args=(container, self._ended), name="oomproof-wait", daemon=True).start()

    @property
    def cgroup(self) -> str:
        return str(self._container.id)

    def sample(self, path: Path, hz: float) -> Sampling:
        return self._eyes.sample(path, hz)

    def exit_status(self) -> int | None:
        """Raises EngineError if the engine has gone away, SamplerError if nothing is seen of the container any more."""
        blind = None if self._ended.is_set() else self._eyes.blind()
        if blind is not None:
            self._ended.wait(_ENGINE_FOLLOWS_S)
        if self._ended.lost is not None:
            raise EngineError(
                f"{self._engine} at {self._engine.host} went away during the run: {self._ended.lost}",
                "see whether it runs, and in its log why it ended; then make the run again",
            )
        if blind is not None and not self._ended.is_set():
            raise SamplerError(f"the observer container was lost: {blind}", "make the run again")
        return self._ended.status if self._ended.is_set() else None

    def counters(self) -> Counters:
        if not self._closed:
            ended = self._ended.is_set() and self._ended.lost is None
            self._counters = self._eyes.counters(ended=ended)
            if ended:
                self._counters = msgspec.structs.replace(self._counters, engine_flag=oom_flag(self._container))
        return self._counters

    def stop(self, grace_s: float) -> bool:
        return stop(self._container, self._ended, grace_s)

    def close(self) -> None:
        if self._closed:
            return
        stop(self._container, self._ended, 0.0)
        self.counters()
        self._closed = True
        self._output.close()  # while there is something to read from
        if self._ended.lost is not None:
            # An engine that is gone may be unreachable for long: the keeper still guards, and tries once.
            self._eyes.detach()
            return
        with contextlib.suppress(*ENGINE_ERRORS):
            self._container.remove(force=True, v=True)
        self._eyes.close()
        self._release()


def wait_for_end(container: Any, ended: Ended) -> None:
    """Wait as long as it takes; an engine that goes away ends the wait as well."""
    try:
        status = int(container.wait(timeout=None)["StatusCode"])
        # 128 + n is how engines write "ended by signal n".
        ended.status = 128 - status if 128 < status <= 128 + 64 else status
    except ENGINE_ERRORS as error:
        ended.lost = first_line(error)
    ended.set()


def stop(container: Any, ended: Ended, grace_s: float) -> bool:
    """SIGTERM, and SIGKILL after `grace_s`. True: it was gone within the grace time."""
    if ended.is_set():
        return True
    with contextlib.suppress(*ENGINE_ERRORS):  # it ended at this moment
        container.kill(signal="SIGTERM")
    if ended.wait(grace_s):
        return True
    with contextlib.suppress(*ENGINE_ERRORS):
        container.kill(signal="SIGKILL")
    ended.wait(_KILLED_WITHIN_S)
    return False


def oom_flag(container: Any) -> bool | None:
    """What the engine says of an OOM kill: true at times without one, false at times with one."""
    try:
        container.reload()
    except ENGINE_ERRORS:
        return None
    return bool(container.attrs["State"].get("OOMKilled"))


class _Output:
    """Copies what the container prints into a file, or onto our own standard error."""

    def __init__(self, container: Any, log: Path | None) -> None:
        self._file: BinaryIO = log.open("ab", buffering=0) if log else os.fdopen(os.dup(sys.stderr.fileno()), "wb", 0)
        self._container = container
        self._thread = threading.Thread(target=self._copy, name="oomproof-output", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        with contextlib.suppress(*ENGINE_ERRORS, HTTPError, OSError, ValueError):
            for chunk in self._container.logs(stream=True, follow=True):
                self._file.write(chunk)

    def close(self) -> None:
        """All that was printed is there when the container has ended; give up on an engine that does not say so."""
        self._thread.join(2.0)
        self._file.close()
