"""Ctrl-C and SIGTERM end a measurement in good order: they raise KeyboardInterrupt, and never during the clean-up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread."""
    with _handling(_interrupt):
        yield


def ignore_further() -> None:
    """From here on they are ignored, to the end of the process: it is ending already, with an exit code of its own."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within, they are ignored: for clean-up, which is bounded in time."""
    with _handling(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handling(handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    except KeyboardInterrupt:
        # Whoever interrupts twice means the same: not even the moment until it is handled may fall to the default.
        ignore_further()
        raise
    finally:
        if all(signal.getsignal(number) is handler for number in _ENDING):
            for number, old in before.items():
                signal.signal(number, old)
