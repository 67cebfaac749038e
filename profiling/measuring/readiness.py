"""Ports, and asking a service whether it is ready."""

from __future__ import annotations

import contextlib
import http.client
import socket
from pathlib import Path

from profiling.errors import PortTakenError

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"


def free_port() -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def claim_port(port: int) -> int:
    """`port`, after a look that it is free. Raises PortTakenError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTakenError(
                f"port {port} on {LOOPBACK} cannot be used ({(error.strerror or str(error)).lower()})",
                "leave --port out to get a free one, or end what listens there",
            ) from error
    return port


def url(host: str, port: int) -> str:
    """RFC 3986: an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ask(host: str, port: int, path: str, timeout_s: float = 2.0) -> int | None:
    """The status that `GET path` is answered with now; None: no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def means_ready(status: int | None) -> bool:
    """Whether it is a 2xx."""
    return status is not None and 200 <= status < 300


def is_ready(host: str, port: int, path: str, timeout_s: float = 2.0) -> bool:
    """Whether `GET path` is answered with 2xx now."""
    return means_ready(ask(host, port, path, timeout_s))


def is_listening(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether something takes connections there now."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=timeout_s):
        return True
    return False


def listens_everywhere(port: int) -> bool:
    """Whether something of this machine takes connections to `port` on all its addresses. See proc_net_tcp(5)."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(name).read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                address, _, number = local.rpartition(":")
                if state == _LISTEN and int(number, 16) == port and not address.strip("0"):
                    return True
    return False
