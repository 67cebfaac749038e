"""From `--sandbox` to a sandbox, and why that one."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterator

from loadtests.workers import Workers
from profiling import reference
from profiling.errors import ConfigError, EngineError, NoLimitError, SetupError
from profiling.measuring.events import Note, Observer
from profiling.measuring.readiness import LOOPBACK
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.measuring.sandboxes.containers import ENGINES
from profiling.measuring.sandboxes.placement import enter_scope
from profiling.values import Target


@contextlib.contextmanager
def open_sandbox(name: str, target: Target, observer: Observer, workers: Workers | None = None) -> Iterator[Sandbox]:
    """The sandbox called `name` (auto, cgroup, docker, podman) for this target, closed on the way out.

    `workers`: who sends the load; those of other machines must reach the service.

    Raises NoLimitError where no limit can be enforced, EngineError where no engine answers, ImageError, ConfigError.
    """
    opened: contextlib.AbstractContextManager[Sandbox]
    if workers is not None and workers.remote:
        opened = _reachable(name, target, workers, observer)
    elif name == "cgroup":
        opened = _cgroup(target, "asked for")
    elif name in ENGINES:
        opened = _container(name, target, observer)
    else:
        opened = _chosen(target, observer)
    with opened as sandbox:
        observer.notify(Note(text=f"{sandbox.name}: {sandbox.reason}"))
        yield sandbox


def _reachable(
    name: str, target: Target, workers: Workers, observer: Observer
) -> contextlib.AbstractContextManager[Sandbox]:
    """One whose services other machines reach: they listen where the workers connect to."""
    host = workers.bind_host
    if name in ENGINES:
        if os.environ.get("DOCKER_HOST" if name == "docker" else "CONTAINER_HOST", "").startswith(("tcp:", "ssh:")):
            return _container(name, target, observer)
        raise ConfigError(
            f"--load-workers: {name} publishes the service's port on this machine alone",
            "use --sandbox cgroup, an engine on another machine, or `observe --url` with a service that runs already",
        )
    try:
        ours = not ipaddress.ip_address(host).is_unspecified and not ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may stand for several addresses
        ours = False
    if not ours:
        raise ConfigError(
            f"--bind {host}: the service listens there, too, and the workers have to reach it",
            "name one address of this machine that they reach, such as --bind 10.0.0.5:5557",
        )
    return _cgroup(target, f"workers on other machines reach the service at {host}", host)


def _chosen(target: Target, observer: Observer) -> contextlib.AbstractContextManager[Sandbox]:
    """What `auto` means: a container if the target has an image and an engine answers, and for the reference
    target, which runs either way, if its image is built from these sources; else a cgroup."""
    image = target.service.image
    if image is None:
        return _cgroup(target, "auto: the target names no image")
    problems = []
    for name in ENGINES:
        try:
            from profiling.measuring.sandboxes.containers import engine, images

            found = engine.connect(name)
            state = images.state(found, image) if target.name in reference.MADE_BY else images.State.READY
        except (EngineError, ImportError) as error:
            problems.append(error.message if isinstance(error, EngineError) else "the docker package is not installed")
            continue
        if state is images.State.READY:
            return _container(name, target, observer, why=f"auto: the target has an image and {name} answers")
        problems.append(f"{name}: the image {image.name} is {images.SAID[state]} (make image)")
    if not all(service.command for service in target.services):
        raise EngineError(
            f"no container engine answers ({'; '.join(problems)})",
            "start Docker or Podman; `doctor` says what is missing",
        )
    return _cgroup(target, f"auto: {'; '.join(problems)}")


@contextlib.contextmanager
def _cgroup(target: Target, why: str, host: str = LOOPBACK) -> Iterator[Sandbox]:
    """A user without rights is first moved into a systemd scope."""
    if not all(service.command for service in target.services):
        raise ConfigError(
            "--sandbox cgroup: the target names an image or a Dockerfile, and no command for this machine",
            "use --sandbox docker or podman, or give the target a command and no image",
        )
    try:
        sandbox = CgroupSandbox(why=why, host=host)
    except NoLimitError:
        enter_scope([sys.executable, *sys.orig_argv[1:]])
        raise
    with contextlib.closing(sandbox):
        yield sandbox


@contextlib.contextmanager
def _container(name: str, target: Target, observer: Observer, why: str = "asked for") -> Iterator[Sandbox]:
    """Podman is started for as long as it is needed where it is asked for and does not listen."""
    try:
        from profiling.measuring.sandboxes.containers import engine
        from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
    except ImportError as error:
        raise SetupError(
            f"--sandbox {name} needs the package docker ({error})", "pip install 'oomproof[containers]'"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            found = engine.connect(name)
        except EngineError:
            # Where CONTAINER_HOST names an engine, that one is meant and no other.
            if name != "podman" or os.environ.get("CONTAINER_HOST"):
                raise
            found = stack.enter_context(engine.podman_service())
        wanted = [service.image for service in target.services if service.image is not None]
        sandbox = ContainerSandbox(found, wanted, why, lambda text: observer.notify(Note(text=text)))
        stack.enter_context(contextlib.closing(sandbox))
        yield sandbox
