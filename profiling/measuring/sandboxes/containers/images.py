"""Container images: whether one is there and made from today's sources, and building or pulling it where not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO

from docker.errors import APIError, ImageNotFound
from docker.utils.build import exclude_paths, tar

from profiling.errors import ImageError
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.measuring.sandboxes.wheels import serve_local_wheels
from profiling.values import Build, Image

_SOURCE_LABEL = "oomproof.source"
_BASE_LABEL = "oomproof.base"
_BASE = "PYTHON_IMAGE"
_CLEARED = "Removing intermediate container"
"""What Docker says between a step's own words and its exit status."""
_STEP = re.compile(r"(?:Step|STEP) \d+/\d+ ?: .*")


class State(StrEnum):
    READY = "ready"
    STALE = "stale"
    """Made from other sources than are here now."""
    MISSING = "missing"


SAID = {State.READY: "built", State.STALE: "not built from these sources", State.MISSING: "not built"}
"""The states in words, to stand after "the image is"."""


def state(engine: Engine, image: Image) -> State:
    """Whether the image is there, and if it can be built here, whether it was made from these sources."""
    try:
        found = engine.client.images.get(image.name)
    except ImageNotFound:
        return State.MISSING
    labels = found.labels or {}
    base = os.environ.get(_BASE)
    if image.build and (
        labels.get(_SOURCE_LABEL) != source_digest(image.build)
        # Without a word on the base, the one that it was built on is meant.
        or (base and labels.get(_BASE_LABEL) != build_arguments(image.build)[_BASE])
    ):
        return State.STALE
    return State.READY


def ensure(engine: Engine, image: Image, tell: Callable[[str], object]) -> str:
    """Have the image ready: build it if it is not what today's sources make, pull it if it cannot be built.

    Answers with its id. `tell` gets a line for each step. Raises ImageError.
    """
    try:
        if state(engine, image) is not State.READY:
            if image.build:
                build(engine, image, tell)
            else:
                tell(f"pulling {image.name}")
                engine.client.images.pull(image.name)
        return str(engine.client.images.get(image.name).id)
    except ENGINE_ERRORS as error:
        raise ImageError(
            f"the image {image.name} cannot be had from {engine}: {first_line(error)}",
            f"build it or pull it first, or check its name: {engine.name} image inspect {image.name}",
        ) from error


def build(engine: Engine, image: Image, tell: Callable[[str], object]) -> None:
    """Build the image with the engine's own builder. Raises ImageError with what the failing step said."""
    assert image.build is not None
    made = image.build
    arguments = build_arguments(made)
    with serve_local_wheels() as wheels, _sent(made) as (context, dockerfile, text):
        if wheels and engine.local and re.search(r"(?m)^ARG PIP_FIND_LINKS\b", text):
            arguments = {"PIP_FIND_LINKS": wheels, **arguments}
        tell(f"building {image.name} from {made.dockerfile}")
        said: list[str] = []
        try:
            for line in engine.client.api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=dockerfile,
                tag=image.name,
                buildargs=arguments,
                labels={_SOURCE_LABEL: source_digest(made), _BASE_LABEL: arguments.get(_BASE, "")},
                # The engine's default network may not be there; a build only fetches.
                network_mode="host" if engine.local else None,
                rm=True,
                forcerm=True,
                decode=True,
            ):
                words = str(line.get("stream") or line.get("error") or "").strip()
                said += [one for one in words.splitlines() if not one.startswith(_CLEARED)]
                if line.get("error"):
                    raise _broken(engine, image, " ".join(said[-2:]))
                if step := _STEP.match(words):
                    tell(step[0][:100])
        except APIError as error:  # before any step: the Dockerfile itself is refused
            raise _broken(engine, image, first_line(error)) from error


def _broken(engine: Engine, image: Image, why: str) -> ImageError:
    assert image.build is not None
    return ImageError(
        f"{image.build.dockerfile} cannot be built by {engine}: {why}",
        f"try it by itself: {engine.name} build -t {image.name} -f {image.build.dockerfile} {image.build.context}",
    )


@contextlib.contextmanager
def _sent(build: Build) -> Iterator[tuple[IO[bytes], str, str]]:
    """What the engine is sent: the context as an archive, the name of the Dockerfile in it, its text.

    One from outside the context is sent along under another name. Raises ImageError if something cannot be read.
    """
    name = os.path.relpath(build.dockerfile, build.context)
    try:
        text = Path(build.dockerfile).read_text(encoding="utf-8")
        outside = name.startswith("..")
        if outside:
            name = f".dockerfile.{hashlib.sha256(text.encode()).hexdigest()}"
        context = tar(
            build.context, exclude=_ignored(Path(build.context)), dockerfile=(name, text if outside else None)
        )
    except UnicodeDecodeError as error:
        raise ImageError(f"{build.dockerfile} is not UTF-8", "correct `dockerfile` in the config file") from error
    except OSError as error:
        raise ImageError(
            f"{error.filename or build.context}: {error.strerror or error}",
            "correct that file's rights, or name it in .dockerignore",
        ) from error
    with context:
        yield context, name, text


def build_arguments(build: Build) -> dict[str, str]:
    """Its own arguments, and PYTHON_IMAGE from our environment where they do not name one."""
    base = os.environ.get(_BASE)
    return {**({_BASE: base} if base else {}), **build.args}


def source_digest(build: Build) -> str:
    """One digest over all that the build reads: the files of its context that `.dockerignore` leaves in, the
    Dockerfile, the arguments. Raises ImageError if they cannot be read."""
    context = Path(build.context)
    digest = hashlib.sha256(json.dumps(build.args, sort_keys=True).encode())
    try:
        digest.update(Path(build.dockerfile).read_bytes())
        for name in sorted(exclude_paths(build.context, _ignored(context))):
            path = context / name
            mode = path.lstat().st_mode
            digest.update(f"\0{name}\0{mode & stat.S_IXUSR}\0".encode(errors="surrogateescape"))
            if stat.S_ISLNK(mode):
                digest.update(os.fsencode(path.readlink()))
            elif stat.S_ISREG(mode):
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise ImageError(
            f"{error.filename} cannot be read ({(error.strerror or str(error)).lower()})",
            "correct `dockerfile` in the config file, or the files' rights",
        ) from error
    return digest.hexdigest()


def _ignored(context: Path) -> list[str]:
    """The patterns of `.dockerignore`, whose own line and the Dockerfile's the digest does not need."""
    path = context / ".dockerignore"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not UTF-8"
        raise ImageError(f"{path} cannot be read ({reason})", "correct it, or take it away") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
