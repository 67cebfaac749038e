"""What every container of ours is created with."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docker.types import Ulimit

from profiling.errors import EngineError
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.containers import place
from profiling.measuring.sandboxes.containers.engine import Engine
from profiling.values import Limits

LABEL = "oomproof"
DEFAULT_PIDS = 1024
_PID_MAX = Path("/proc/sys/kernel/pid_max")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def owner() -> str:
    """The label's value: which process, of which boot of which machine, a container belongs to."""
    return f"{tree.owned_name('container')}@{_boot()}"


def is_orphan(label: str, *, local: bool) -> bool:
    """Whether the owner is dead. What another machine's tool runs on a shared engine is none of our business; on this
    machine's own engine another boot id is an earlier boot."""
    name, _, boot = label.partition("@")
    return tree.is_orphan(name) if boot == _boot() else local and bool(boot)


def _boot() -> str:
    return _BOOT_ID.read_text().strip()


def guarded(engine: Engine) -> dict[str, Any]:
    """No rights that a service does not need, and no restart that would hide its end."""
    return {
        "detach": True,
        "labels": {LABEL: owner()},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        # Platforms do not run an image's HEALTHCHECK; each one would be a process more within the limit.
        "healthcheck": {"test": ["NONE"]},
        # Podman asks for more by default than a host may allow it.
        "ulimits": _ulimits() if engine.name == "podman" else None,
    }


def limited(limits: Limits) -> dict[str, Any]:
    """The limits, with swap off: for both engines `--memory-swap` is memory and swap together."""
    return {
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "nano_cpus": round(limits.cpus * 1e9) if limits.cpus is not None else None,
        "pids_limit": limits.pids or DEFAULT_PIDS,
    }


def network(engine: Engine, port: int) -> dict[str, Any]:
    """Loopback only, where the engine is here; else a port that it publishes, on that address of its machine that we
    know. Raises EngineError if its name leads to none."""
    if engine.local:
        return {"network_mode": "host"}
    try:
        address = socket.getaddrinfo(engine.host, port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise EngineError(
            f"the engine's machine {engine.host} has no address: {error.strerror}",
            "name it in DOCKER_HOST as it is known to this machine's resolver, or by its address",
        ) from error
    return {"ports": {f"{port}/tcp": (address, port)}}


def command_line(command: Sequence[str]) -> dict[str, Any]:
    """A whole command line in the place of the image's ENTRYPOINT and CMD; nothing for its own."""
    return {"entrypoint": [command[0]], "command": list(command[1:])} if command else {}


def traced(run_directory: Path, memray: Iterable[Path]) -> dict[str, Any]:
    """What a memray pass needs to see. SELinux would keep a container from files of the host's."""
    return {
        "volumes": place.mounts(run_directory, memray),
        "security_opt": ["no-new-privileges", "label=disable"],
    }


def environment(env: Mapping[str, str], port: int, host: str) -> dict[str, str]:
    """PORT as platforms set it, HOST for services that honour it, then the service's own."""
    return {"PORT": str(port), "HOST": host, **env}


def _ulimits() -> list[Ulimit]:
    """Our own, as far as Podman can pass them on: it lowers its processes' to the number of pids that there are."""
    files, processes = resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_NPROC)
    most = int(_PID_MAX.read_text())
    return [
        Ulimit(name="nofile", soft=files[0], hard=files[1]),
        Ulimit(
            name="nproc",
            **{kind: min(n, most) if n >= 0 else most for kind, n in zip(("soft", "hard"), processes, strict=True)},
        ),
    ]
