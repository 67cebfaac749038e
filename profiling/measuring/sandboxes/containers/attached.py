"""The two-way stream of a container that somebody attached to: words in, frames of its output and error out.

Not the SDK's reader: that one polls the descriptor before each read, and so waits forever for what TLS has decrypted
already. Source: the engine API, "Attach to a container".
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

OUTPUT, ERROR = 1, 2
_HEADER = struct.Struct(">BxxxL")
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, TimeoutError)


class Attached:
    """To a container that has been created and does not run yet, so that nothing is missed."""

    def __init__(self, container: Any) -> None:
        """Raises what the SDK raises."""
        # Kept: the connection is closed when the SDK's object goes.
        self._stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._socket: socket.socket = getattr(self._stream, "_sock", self._stream)
        self._socket.settimeout(0)
        self._lock = threading.Lock()
        """A TLS connection is not to be read and written by two threads at once."""

    def say(self, word: str) -> None:
        """A line for its standard input. Raises OSError once the container or the engine is gone."""
        with self._lock:
            self._socket.sendall(word.encode() + b"\n")

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(OUTPUT or ERROR, what was written there) until the end. Raises OSError if the connection breaks."""
        while header := self._exactly(_HEADER.size):
            stream, size = _HEADER.unpack(header)
            yield stream, self._exactly(size)

    def close(self) -> None:
        """Ends `frames` as well, in whichever thread it waits."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()

    def _exactly(self, size: int) -> bytes:
        """Nothing where the stream ends before."""
        data = b""
        while len(data) < size:
            try:
                with self._lock:
                    part = self._socket.recv(size - len(data))
            except _NOTHING_YET:
                select.select([self._socket], [], [])
                continue
            if not part:
                return b""
            data += part
        return data
