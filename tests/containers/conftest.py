"""Real engines and the images that the tests of containers need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

docker = pytest.importorskip("docker", reason="the package docker is not installed")

from docker.models.images import Image as BuiltImage  # noqa: E402

from profiling import reference  # noqa: E402
from profiling.errors import EngineError  # noqa: E402
from profiling.measuring.sandboxes.containers import images, leftovers  # noqa: E402
from profiling.measuring.sandboxes.containers.engine import Engine, connect, podman_service  # noqa: E402
from tests.containers.services import OFFLINE_BASE, SERVICES  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def settings() -> Iterator[None]:
    """Podman as it works on this machine, and a base image that need not be pulled, for us and what we start."""
    patch = pytest.MonkeyPatch()
    if Path("/sys/fs/cgroup/memory").is_dir():
        # Podman's defaults expect systemd, and crun cgroup v2 alone.
        patch.setenv("CONTAINERS_CONF", str(Path(__file__).with_name("containers-v1.conf")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def docker_engine(settings: None) -> Engine:
    try:
        found = connect("docker")
    except EngineError as error:
        pytest.skip(error.message)
    leftovers.clear(found)
    _use_offline_base(found)
    return found


@pytest.fixture(scope="session")
def podman_engine(docker_engine: Engine, settings: None) -> Iterator[Engine]:
    """Podman over a socket of its own, as the tool starts it; the base image comes from Docker."""
    try:
        with podman_service() as found:
            leftovers.clear(found)
            base = os.environ.get("PYTHON_IMAGE")
            if base and not found.client.images.list(name=base):
                found.client.images.load(b"".join(docker_engine.client.images.get(base).save(named=True)))
            yield found
            assert not Path("oom").exists(), "what Podman leaves where it was started is not in our working directory"
    except EngineError as error:
        pytest.skip(error.message)


@pytest.fixture(params=["docker", "podman"])
def any_engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    images.ensure(found, SERVICES, lambda text: None)
    return found


@pytest.fixture(scope="session")
def engine(docker_engine: Engine) -> docker.DockerClient:
    return docker_engine.client


@pytest.fixture(scope="session")
def image(docker_engine: Engine) -> BuiltImage:
    """The Dockerfile as it is now: built where it is not, a look at its label where it is."""
    images.ensure(docker_engine, reference.image(), lambda text: None)
    return docker_engine.client.images.get(reference.image().name)


def _use_offline_base(found: Engine) -> None:
    """What scripts/base-image.sh made, where nobody named another base."""
    if "PYTHON_IMAGE" not in os.environ and found.client.images.list(name=OFFLINE_BASE):
        os.environ["PYTHON_IMAGE"] = OFFLINE_BASE
