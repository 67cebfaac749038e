"""The services of tests/targets as container images, and sandboxes to run them in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from loadtests.plan import RequestTemplate
from profiling.measuring.sandboxes.containers import leftovers, options
from profiling.measuring.sandboxes.containers.engine import Engine
from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
from profiling.values import Build, Image, Service, Target
from tests.helpers import TARGETS

OFFLINE_BASE = "oomproof-base"
SERVICES = Image(
    name="oomproof/test-services", build=Build(context=str(TARGETS), dockerfile=str(TARGETS / "Dockerfile"))
)


def contained(script: str, *command: str, startup_timeout_s: float = 20.0, **env: str) -> Target:
    """A service of tests/targets in a container; `command` instead of the script where given."""
    image = Image(name=SERVICES.name, build=SERVICES.build, command=command or ("python3", f"{script}.py"))
    return Target(
        name=script,
        services=(
            Service(image=image, directory=str(TARGETS), env=env, ready="/", startup_timeout_s=startup_timeout_s),
        ),
        request=RequestTemplate(expect_json_schema={"type": "object", "required": ["response"]}),
    )


@contextlib.contextmanager
def opened(engine: Engine) -> Iterator[ContainerSandbox]:
    """A sandbox on the engine, after which nothing of ours is left there."""
    with (
        nothing_left(engine),
        contextlib.closing(ContainerSandbox(engine, [SERVICES], "a test", lambda text: None)) as sandbox,
    ):
        yield sandbox


@contextlib.contextmanager
def nothing_left(engine: Engine) -> Iterator[None]:
    """What is done inside leaves nothing behind; what was there before may go meanwhile."""
    before = traces(engine)
    yield
    assert traces(engine) <= before


def traces(engine: Engine) -> set[str]:
    """Containers of this process and of dead ones, and cgroups of containers that are gone: other tools may be at work
    on the same engine."""
    ours = {
        leftovers.name(container)
        for container, owner in leftovers.labelled(engine)
        if owner == options.owner() or options.is_orphan(owner, local=engine.local)
    }
    known = {container.id for container in engine.client.containers.list(all=True, sparse=True)}
    roots = [Path("/sys/fs/cgroup")] if engine.cgroup_version == 2 else list(Path("/sys/fs/cgroup").iterdir())
    parents = {"docker": "docker/*/", "podman": "libpod_parent/libpod-*/"}
    groups = {path for root in roots for path in root.glob(parents[engine.name])}
    return ours | {str(path) for path in groups if path.name.removeprefix("libpod-") not in known}
