"""A module of ours as a process of its own that gives one answer on stdout: what breaks it breaks nothing else."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from types import TracebackType

from profiling.measuring import own_process

_LOOK_S = 0.2


class Answering:
    """Such a process, at work. A context manager: it is gone afterwards, whatever happens."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Start it, with what is installed beside the tool."""
        self._process = subprocess.Popen(
            own_process.full_command(module, *arguments),
            env=own_process.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what memray says of a torn capture is expected
            start_new_session=True,  # Ctrl-C is for the one who waits for it
        )

    def __enter__(self) -> Answering:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def give_up(self) -> None:
        """End it; nothing where it has ended."""
        self._process.kill()
        self._process.wait()

    def answer(self, within_s: float | None = None, stop: threading.Event | None = None) -> bytes:
        """What it says until its end; possibly torn off, see `how_it_ended`. Raises TimeoutError, and InterruptedError as soon
        as `stop` is set; the process goes on then."""
        deadline = None if within_s is None else time.monotonic() + within_s
        while True:
            if stop is not None and stop.is_set():
                raise InterruptedError
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.communicate(timeout=_LOOK_S)[0]

    def how_it_ended(self) -> str:
        """The name of the signal, or the exit status."""
        status = self._process.wait()
        return (signal.strsignal(-status) or f"signal {-status}") if status < 0 else f"exit status {status}"
