"""Finding a container engine and talking to it: Docker, or Podman over its Docker-compatible socket."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import DockerException
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3.connection import HTTPConnection

from profiling.errors import EngineError
from profiling.measuring.readiness import LOOPBACK
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.containers.keeper import container_keeper

ENGINE_ERRORS = (DockerException, RequestException)
"""What the SDK raises when the engine refuses or has gone away."""
_START_TIMEOUT_S = 20.0
_ANSWER_S = 120
"""Creating and removing a container may take long on a busy disk."""
_CONNECT_TIMEOUT_S = 10
_LOCAL_TIMEOUT_S = 30
"""For the first answer over a socket of this machine, which may be busy."""
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
]
"""tcp(7), s: a machine that has gone without a word, with its power or its network, is missed after 20 s. Its kernel
answers, however busy it is."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One that answered."""

    name: str
    """`docker` or `podman`."""
    client: docker.DockerClient
    address: str
    version: str
    cgroup_version: int
    swap_limit: bool
    """Whether it can limit swap."""
    local: bool
    """Its containers' processes and cgroups are seen from here."""

    @property
    def host(self) -> str:
        """Where a port is reached that it publishes."""
        name = urlsplit(self.address).hostname
        return name if name and not self.address.startswith("unix:") else LOOPBACK

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def connect(name: str, environ: Mapping[str, str] | None = None) -> Engine:
    """The engine called `name`, `docker` or `podman`. Raises EngineError if none answers."""
    environ = os.environ if environ is None else environ
    said = environ.get("DOCKER_HOST" if name == "docker" else "CONTAINER_HOST")
    addresses = [said] if said else [f"unix://{path}" for path in _sockets(name, environ) if path.is_socket()]
    problem = f"no socket of {name} is here"
    for address in addresses:
        try:
            return _connected(name, address, environ)
        except (*ENGINE_ERRORS, ValueError) as error:
            problem = f"{address}: {first_line(error)}"
    raise EngineError(f"{name}: no engine answers ({problem})", _how_to_start(name, said))


@contextlib.contextmanager
def podman_service() -> Iterator[Engine]:
    """Podman with a socket of our own, for as long as it is needed; it ends with us, however we end.

    Raises EngineError if there is no `podman`, or it does not begin to serve.
    """
    program = shutil.which("podman")
    if program is None:
        raise EngineError("podman: no engine answers (podman is not installed)", _how_to_start("podman", None))
    with tempfile.TemporaryDirectory(prefix="oomproof-podman-") as scratch:
        path = Path(scratch) / "podman.sock"
        log = Path(scratch) / "log"
        with log.open("wb") as output:
            service = subprocess.Popen(
                [program, "system", "service", "--time=0", f"unix://{path}"],
                # Even an empty CONTAINER_HOST makes podman a client, which has no such command.
                env={key: value for key, value in os.environ.items() if key != "CONTAINER_HOST"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Its conmon leaves a file named `oom` where it was started, at each kill.
                cwd=scratch,
                start_new_session=True,
            )
        keeper = container_keeper(f"unix://{path}")
        keeper.guard(f"directory {scratch}")
        keeper.guard(f"process {service.pid}")
        try:
            _wait_for(path, service, log)
            yield _connected("podman", f"unix://{path}", {})
        except ENGINE_ERRORS as error:
            raise EngineError(f"podman does not answer: {first_line(error)}", "try `podman info`") from error
        finally:
            # An interrupted build's step would go on without it.
            tree.end_with_descendants(service.pid)
            service.wait()
            keeper.release(f"process {service.pid}")
            keeper.release(f"directory {scratch}")
            keeper.close()


def _wait_for(path: Path, service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not accepts(path):
        if service.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()
            raise EngineError(
                f"podman's service did not start: {said[-1] if said else 'it said nothing'}", "try `podman info`"
            )
        time.sleep(0.05)


def accepts(path: Path) -> bool:
    """A socket is there a moment before it takes connections."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def _sockets(name: str, environ: Mapping[str, str]) -> list[Path]:
    """Where an engine listens by default: the system's, then the user's own (rootless)."""
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    if name == "docker":
        return [Path("/var/run/docker.sock"), runtime / "docker.sock"]
    own = runtime / "podman" / "podman.sock"
    return [Path("/run/podman/podman.sock"), own] if os.geteuid() == 0 else [own]


def _connected(name: str, address: str, environ: Mapping[str, str]) -> Engine:
    """Raises what the SDK raises."""
    remote = address.startswith(("tcp:", "http:", "https:"))
    settings: dict[str, Any] = {"timeout": _CONNECT_TIMEOUT_S if remote else _LOCAL_TIMEOUT_S}
    if address == environ.get("DOCKER_HOST"):
        client = docker.from_env(environment=dict(environ), **settings)  # with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH
    else:
        client = docker.DockerClient(base_url=address, **settings)
    if remote:
        for scheme in ("http://", "https://"):
            client.api.mount(scheme, _Missed())
    info = client.info()
    client.api.timeout = _ANSWER_S
    return Engine(
        name=name,
        client=client,
        address=address,
        version=str(info.get("ServerVersion", "")),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        swap_limit=bool(info.get("SwapLimit", True)),
        local=_is_local(address, str(info.get("KernelVersion", ""))),
    )


class _Missed(HTTPAdapter):
    """Connections on which the other side is missed when it has gone."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [*HTTPConnection.default_socket_options, *KEEPALIVE]
        super().init_poolmanager(*args, socket_options=options, **kwargs)


def _is_local(address: str, kernel: str) -> bool:
    """Whether the engine runs on this very kernel and in our view: not on another machine, in no virtual machine, and
    not outside the container that we are in."""
    if not address.startswith("unix:") or kernel != platform.release():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(urlsplit(address).path)
        # unix(7): pid, uid, gid of the listener; pid 0 where it is not in our pid namespace.
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(pid)


def _how_to_start(name: str, said: str | None) -> str:
    if said and os.environ.get("REQUESTS_CA_BUNDLE") and os.environ.get("DOCKER_TLS_VERIFY"):
        # requests lets it win over DOCKER_CERT_PATH's.
        return "unset REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which take the place of DOCKER_CERT_PATH's ca.pem"
    if said:
        return f"check {'DOCKER_HOST' if name == 'docker' else 'CONTAINER_HOST'}, or unset it for this machine's own"
    if name == "docker":
        return "start it (systemctl start docker), be in the group docker, or use --sandbox cgroup"
    return "install podman, or use --sandbox cgroup"


def first_line(error: Exception) -> str:
    """What an engine said, on one line."""
    text = str(getattr(error, "explanation", None) or error).strip()
    return " ".join(text.splitlines()[:1])[:300] or type(error).__name__
