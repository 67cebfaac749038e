"""What `init` writes for a directory with nothing but a Dockerfile is what `verify` runs in a container."""

from __future__ import annotations

from pathlib import Path

from profiling.measuring.sandboxes.containers.engine import Engine
from tests.containers.services import nothing_left
from tests.profiling.detecting.directories import DOCKERFILE, fill
from tests.test_init import verified


def test_a_dockerfile_alone_is_verified_as_it_is(docker_engine: Engine, tmp_path: Path) -> None:
    directory = fill(tmp_path / "only-a-dockerfile", DOCKERFILE)
    try:
        with nothing_left(docker_engine):
            document = verified(directory)
    finally:
        for image in docker_engine.client.images.list(name="oomproof/only-a-dockerfile"):
            docker_engine.client.images.remove(image.id, force=True)
    assert document["run"]["sandbox"] == "docker"
    assert document["run"]["failures"] == 0
