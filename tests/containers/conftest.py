"""A real engine and the reference image: what every test of a container needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image

from profiling.measuring.sandboxes.wheels import serve_local_wheels
from tests.helpers import ROOT

TAG = "oomproof/reference"
OFFLINE_BASE = "oomproof-base"
"""What scripts/base-image.sh makes."""


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The client of an engine that answers."""
    try:
        client = docker.from_env(timeout=1800)
    except DockerException:
        pytest.skip("docker: no engine answers")
    try:
        client.ping()
    except (DockerException, OSError):
        client.close()
        pytest.skip("docker: no engine answers")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Image:
    """The Dockerfile as it is now: built where it is not, a look at cached layers where it is."""
    base = os.environ.get("PYTHON_IMAGE") or _offline_base(engine)
    with serve_local_wheels() as wheels:
        arguments = {"PYTHON_IMAGE": base, "PIP_FIND_LINKS": wheels}
        built, _ = engine.images.build(
            path=str(ROOT),
            tag=TAG,
            network_mode="host",
            rm=True,
            buildargs={name: value for name, value in arguments.items() if value},
        )
    return built


def _offline_base(engine: docker.DockerClient) -> str | None:
    try:
        engine.images.get(OFFLINE_BASE)
    except ImageNotFound:
        return None
    return OFFLINE_BASE
