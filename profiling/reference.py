"""The built-in target: the reference chatbot backend, launched by its command line alone."""

from __future__ import annotations

import sys
from pathlib import Path

from loadtests.plan import RequestTemplate
from profiling.values import Build, Image, Service, Target, Variant

NAME = "reference"
IMAGE_NAME = "oomproof/reference"
CHECKPOINTS = ("pickle", "safetensors")
LIFECYCLES = ("per-request", "singleton", "lazy")
DEFAULT_MEMORY_BYTES = 512 * 2**20

ROOT = Path(__file__).resolve().parents[1]
_CONTRACT = {
    "type": "object",
    "required": ["response"],
    "properties": {"response": {"type": "string", "minLength": 1}},
}


def image(root: Path = ROOT) -> Image:
    """The backend's container image, built from the Dockerfile where `root` is a checkout."""
    dockerfile = root / "Dockerfile"
    build = Build(context=str(root), dockerfile=str(dockerfile)) if dockerfile.is_file() else None
    return Image(name=IMAGE_NAME, build=build)


def target(checkpoint: str, root: Path = ROOT) -> Target:
    """The reference backend with one of CHECKPOINTS, under this interpreter, in the default lifecycle. `root`: the checkout
    that it is in."""
    return Target(
        name=NAME,
        services=(
            Service(
                command=(sys.executable, "-m", "gunicorn", "-c", "backend/gunicorn.conf.py"),
                directory=str(root),
                image=image(root),
                # Bytecode is written at set-up, not by whichever variant happens to run first.
                env={"MODEL_CHECKPOINT": checkpoint, "PYTHONDONTWRITEBYTECODE": "1"},
                ready="/ready",
                startup_timeout_s=120.0,
            ),
        ),
        request=RequestTemplate(expect_json_schema=_CONTRACT),
        prepare=(sys.executable, "-m", "backend.prepare"),
        reads=(str(root / "backend"),),
    )


def variants() -> tuple[Variant, ...]:
    """The lifecycles; the first two are what `compare` runs where nothing else is asked for."""
    return tuple(Variant(name=name, env={"MODEL_LIFECYCLE": name}) for name in LIFECYCLES)
