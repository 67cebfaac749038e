"""Requests to a service that is another process, handed on over HTTP, within bounds of time, size and number."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from dataclasses import dataclass

from backend.services.settings import Address, ServiceName
from backend.wire import RefusedError

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 2
ANSWER_MAX_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
RETRY_AFTER_S = 2
"""What a client is told to wait for a service that is down or busy."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said, to be handed back as it is."""

    status: int
    body: bytes
    retry_after: str | None


class Forwarder:
    """Hands requests on to one service. A connection each: there is none that the other side could have closed."""

    def __init__(self, name: ServiceName, address: Address, timeout_s: float, at_once: int) -> None:
        self._name = name
        self._address = address
        self._timeout_s = timeout_s
        # A service that hangs must not take all the threads, which answer the chat as well.
        self._free = threading.BoundedSemaphore(at_once)

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        """Ask the service.

        Raises:
            RefusedError: 503 it is down or has enough to do, 504 it takes too long, 502 what it says is no answer.
        """
        if not self._free.acquire(blocking=False):
            raise RefusedError(503, f"{self._name} has enough to do; please try again", retry_after_s=RETRY_AFTER_S)
        try:
            return self._post(path, body, content_type)
        finally:
            self._free.release()

    def _post(self, path: str, body: bytes, content_type: str) -> Answer:
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=CONNECT_TIMEOUT_S)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise self._down(error) from error
            return self._exchange(connection, path, body, content_type)
        finally:
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, path: str, body: bytes, content_type: str) -> Answer:
        # The connection lets go of its socket when the answer is to be its last.
        socket, deadline = connection.sock, time.monotonic() + self._timeout_s
        said = bytearray()
        try:
            socket.settimeout(self._timeout_s)
            connection.request("POST", path, body, {"Content-Type": content_type, "Accept": "application/json"})
            response = connection.getresponse()
            # A timeout is for each read; one byte now and then must not last for ever.
            while len(said) <= ANSWER_MAX_BYTES and (chunk := response.read1(_CHUNK_BYTES)):
                said += chunk
                socket.settimeout(_left(deadline))
        except TimeoutError as error:
            _log.warning("%s did not answer within %g s", self._name, self._timeout_s)
            raise RefusedError(504, f"{self._name} did not answer in time") from error
        except (OSError, http.client.IncompleteRead) as error:
            raise self._down(error) from error
        except http.client.HTTPException as error:
            raise self._wrong(repr(error)) from error
        if len(said) > ANSWER_MAX_BYTES:
            raise self._wrong(f"more than {ANSWER_MAX_BYTES} bytes")
        # `read1` takes an end before the announced length for the end.
        if response.length:
            raise self._down(http.client.IncompleteRead(bytes(said), response.length))
        if response.headers.get_content_type() != "application/json":
            raise self._wrong(f"status {response.status}, {response.headers.get_content_type()}")
        return Answer(response.status, bytes(said), response.headers.get("Retry-After"))

    def _down(self, error: Exception) -> RefusedError:
        _log.warning("%s at %s:%d is down: %s", self._name, self._address.host, self._address.port, error)
        return RefusedError(503, f"{self._name} is down; please try again", retry_after_s=RETRY_AFTER_S)

    def _wrong(self, what: str) -> RefusedError:
        _log.error("%s at %s:%d: no answer: %s", self._name, self._address.host, self._address.port, what)
        return RefusedError(502, f"{self._name} gave no answer that can be handed on")


def _left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError where there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
