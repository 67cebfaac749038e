"""Removes containers, and ends a Podman service of ours, when the tool has died: see `sandboxes.keeper`.

The first argument is the engine's address; `container NAME`, `process PID` and `scratch DIRECTORY` are guarded.
The SDK is imported only when there is something to clear, so that waiting costs no more than a bare interpreter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys

from profiling.measuring import own_process
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.keeper import Keeper, keep

_TIMEOUT_S = 10
"""The engine may have gone away, which is then said elsewhere."""


def container_keeper(address: str) -> Keeper:
    return Keeper(own_process.full_command("profiling.measuring.sandboxes.containers.keeper", address))


def main() -> None:
    address = sys.argv[1]

    def clear(thing: str) -> None:
        kind, _, name = thing.partition(" ")
        if kind == "process":
            tree.end_with_descendants(int(name))
            return
        if kind == "scratch":
            shutil.rmtree(name, ignore_errors=True)
            return
        import docker
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        with contextlib.suppress(DockerException, RequestException):
            remote = os.environ.get("DOCKER_HOST") == address
            options = {"timeout": _TIMEOUT_S}
            client = docker.from_env(**options) if remote else docker.DockerClient(base_url=address, **options)
            client.api.remove_container(name, force=True, v=True)

    keep(clear)


if __name__ == "__main__":
    main()
