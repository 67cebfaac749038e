"""Keeps the checker's process to one service and within its time and memory."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

_ADDRESS_SPACE = 4 << 30
"""Bytes. It needs some 300 MB, and a document made for it could ask for any amount."""


class OutOfTime(BaseException):
    """The time for what was being done is over. No Exception: neither schemathesis nor Hypothesis may catch it."""


def connect_only_to(host: str, port: int) -> None:
    """From here on this process cannot connect to anything else, for good: whatever a document names."""
    allowed = {entry[4][:2] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and tuple(arguments[1][:2]) not in allowed:
            raise PermissionError("only the service itself may be asked")
        if event == "socket.getaddrinfo" and arguments[0] != host:
            raise PermissionError("only the service itself may be asked")

    sys.addaudithook(refuse)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))


def end_with(stream: Any) -> None:
    """End this process when `stream` ends: the tool at its other end is gone."""

    def watch() -> None:
        stream.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _ring(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in what is within once `seconds` are over. Within another one, the other's clock stands still, and
    rings afterwards if its time is over by then. For the main thread."""
    began = time.monotonic()
    outer, _ = signal.getitimer(signal.ITIMER_REAL)
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        left = outer - (time.monotonic() - began)
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3) if outer else 0.0)
    if outer and left <= 0:
        raise OutOfTime  # at once: whoever begins the next thing first would stop that clock again
