"""A service in a container of Docker or Podman, under hard limits with swap off."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from profiling.errors import CommandNotFoundError, ConfigError, EngineError, NoLimitError, OomproofError, PortTakenError
from profiling.measuring.capture import CannotTrackError
from profiling.measuring.interior import Interior
from profiling.measuring.readiness import LOOPBACK
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.base import Launch, Running, fill
from profiling.measuring.sandboxes.containers import images, leftovers, options
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.measuring.sandboxes.containers.eyes import Eyes
from profiling.measuring.sandboxes.containers.interior import ContainerInterior
from profiling.measuring.sandboxes.containers.keeper import container_keeper
from profiling.measuring.sandboxes.containers.local_eyes import LocalEyes
from profiling.measuring.sandboxes.containers.running import RunningContainer
from profiling.values import Image, Service, Target

_INSIDE_ANYWHERE = "0.0.0.0"
_REFUSALS = {
    "hybrid mode": "its runtime does not work with this machine's cgroups; docs/containers.md has the settings that do",
    "minimum memory limit": "raise --memory: no container is given less; --sandbox cgroup may be",
    "unable to set memory limit": "raise --memory: the runtime itself needs more to start a container",
    "range of cpus": "lower --cpus, or leave it out",
    "no command": "set target.command, or a CMD in the image",
    "permission denied": "target.command, or the image's CMD, must name a program that the image's user may run",
    "unable to find user": "correct USER in the image's Dockerfile",
}
"""What engines say when a request is refused that another one would not be, and what to change."""
_numbers = itertools.count(1)


class ContainerSandbox:
    """Runs services of images on one engine."""

    def __init__(self, engine: Engine, wanted: Sequence[Image], why: str, tell: Callable[[str], object]) -> None:
        """`wanted`: the images of its services; `why`: why this sandbox was chosen; `tell` gets a line for each step of a
        build.

        Raises ConfigError without an image, ImageError if one cannot be had.
        """
        if not wanted:
            raise ConfigError(
                f"--sandbox {engine.name}: the target names no image and no Dockerfile",
                "set target.image or target.dockerfile in the config file, or use --sandbox cgroup",
            )
        self._engine = engine
        self._tell = tell
        self._interior: ContainerInterior | None = None
        self.name = engine.name
        self.reason = why
        self.engine = f"{engine}, cgroup v{engine.cgroup_version}"
        self.host = engine.host
        self.swap = "off (--memory-swap = --memory)"
        # On v2 here the container's own cgroup tells (LocalEyes): Podman says that it cannot where the cgroup of its service
        # has no memory.swap.max, as the root cgroup, and limits its containers' all the same.
        if not engine.swap_limit and not (engine.local and engine.cgroup_version == 2):
            _require_no_swap(engine)
            self.swap = "off (this machine has none)"
        leftovers.clear(engine)
        by_name = {image.name: image for image in wanted}
        self.image = ", ".join(f"{name} ({images.ensure(engine, image, tell)})" for name, image in by_name.items())
        self._keeper = container_keeper(engine.address)

    def reads(self, target: Target) -> list[str] | None:
        """The image's layers, where the engine keeps them in plain directories of this machine."""
        if not self._engine.local:
            return None
        layers: list[str] = []
        for name in dict.fromkeys(service.image.name for service in target.services if service.image):
            data = self._engine.client.images.get(name).attrs.get("GraphDriver", {}).get("Data") or {}
            layers += [path for key in ("UpperDir", "LowerDir") for path in str(data.get(key) or "").split(":") if path]
        return [path for path in dict.fromkeys(layers) if Path(path).is_dir()] or None

    def interior(self, service: Service, shared: Path) -> Interior:
        if not self._engine.local:
            raise CannotTrackError(f"{self._engine} is on another machine, which sees no directory of this one")
        shared.chmod(0o777)  # the container's user is seldom ours
        self._interior = ContainerInterior(self._engine, service, shared)
        return self._interior

    def start(self, launch: Launch) -> Running:
        """Raises EngineError if the engine refuses."""
        name = tree.owned_name(f"container{next(_numbers)}")
        with contextlib.ExitStack() as undo:
            for guarded in _containers(name):
                self._keeper.guard(guarded)
            undo.callback(self._release, name)
            try:
                container = self._engine.client.containers.create(**self._settings(launch, name))
                undo.callback(_remove, container)
                running = self._started(container, launch, lambda: self._release(name))
            except ENGINE_ERRORS as error:
                raise _explained(error, launch, self._engine) from error
            undo.pop_all()
        return running

    def close(self) -> None:
        self._keeper.close()

    def _release(self, name: str) -> None:
        for guarded in _containers(name):
            self._keeper.release(guarded)

    def _settings(self, launch: Launch, name: str) -> dict[str, Any]:
        service = launch.service
        assert service.image is not None
        host = LOOPBACK if self._engine.local else _INSIDE_ANYWHERE
        values = {"host": host, "port": str(launch.port), "run_dir": launch.directory, **launch.places}
        command = [fill(word, **values) for word in service.image.command]
        env = {key: fill(value, **values) for key, value in service.env.items()}
        return {
            "image": service.image.name,
            "name": name,
            "environment": options.environment(env, launch.port, host),
            **options.guarded(self._engine),
            **options.limited(launch.limits),
            **options.network(self._engine, launch.port),
            **options.command_line(command),
            **(
                options.traced(Path(launch.directory), self._interior.memray)
                if launch.traced and self._interior
                else {}
            ),
        }

    def _started(self, container: Any, launch: Launch, release: Callable[[], object]) -> Running:
        eyes: Eyes
        if self._engine.local:
            eyes = LocalEyes(container.id, traced=launch.traced)
        else:
            from profiling.measuring.sandboxes.containers.remote_eyes import RemoteEyes

            eyes = RemoteEyes(self._engine, container.id, f"{container.name}-observer", self._tell)
        try:
            container.start()
            container.reload()
            eyes.started(launch.limits, int(container.attrs["State"].get("Pid") or 0))
            return RunningContainer(self._engine, container, eyes, Path(launch.log) if launch.log else None, release)
        except BaseException:
            eyes.close()
            raise


def _containers(name: str) -> tuple[str, str]:
    """What the keeper is told of a service's container and of its observer, which may never be made."""
    return f"container {name}", f"container {name}-observer"


def _remove(container: Any) -> None:
    with contextlib.suppress(*ENGINE_ERRORS):
        container.remove(force=True, v=True)


def _require_no_swap(engine: Engine) -> None:
    swaps = Path("/proc/swaps").read_text().splitlines()[1:] if engine.local else ["unknown"]
    if swaps:
        raise NoLimitError(
            f"{engine} cannot limit swap, so that a memory limit would prove nothing",
            "switch swap off there (swapoff -a), or boot with swapaccount=1",
        )


def _explained(error: Exception, launch: Launch, engine: Engine) -> OomproofError:
    """What the engine refused, as our own kinds of error."""
    said = first_line(error)
    # Docker says "executable file not found in $PATH" of a bare word, "stat /word: no such file or directory" of a path.
    if (
        (isinstance(error, NotFound) or "exec: " in said) and "no such file or directory" in said.lower()
    ) or "executable file not found" in said:
        return CommandNotFoundError(
            f"the container's command was not found: {said}", "correct target.command, or the image's CMD"
        )
    for words, hint in _REFUSALS.items():
        if words in said.lower():
            return EngineError(f"{engine} did not start the container: {said}", hint)
    if "port is already allocated" in said or "address already in use" in said:
        return PortTakenError(
            f"port {launch.port} is taken on {engine.host}: {said}", "leave --port out, or name another"
        )
    if "cannot assign requested address" in said:
        return EngineError(
            f"{engine} cannot publish a port on {engine.host}, which is none of its machine's own addresses",
            "name one of them in DOCKER_HOST, or run the tool on that machine",
        )
    return EngineError(
        f"{engine} did not start the container: {said}", f"see `{engine.name} info` and the engine's log"
    )
