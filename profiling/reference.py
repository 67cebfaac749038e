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

_ROOT = Path(__file__).resolve().parents[1]
_CONTRACT = {
    "type": "object",
    "required": ["response"],
    "properties": {"response": {"type": "string", "minLength": 1}},
}


def image() -> Image:
    """The backend's container image, built from the Dockerfile where this is a checkout."""
    dockerfile = _ROOT / "Dockerfile"
    build = Build(context=str(_ROOT), dockerfile=str(dockerfile)) if dockerfile.is_file() else None
    return Image(name=IMAGE_NAME, build=build)


def target(checkpoint: str) -> Target:
    """The reference backend with one of CHECKPOINTS, under this interpreter, in the default lifecycle."""
    return Target(
        name=NAME,
        services=(
            Service(
                command=(sys.executable, "-m", "gunicorn", "-c", "backend/gunicorn.conf.py"),
                directory=str(_ROOT),
                image=image(),
                # Bytecode is written at set-up, not by whichever variant happens to run first.
                env={"MODEL_CHECKPOINT": checkpoint, "PYTHONDONTWRITEBYTECODE": "1"},
                ready="/ready",
                startup_timeout_s=120.0,
            ),
        ),
        request=RequestTemplate(expect_json_schema=_CONTRACT),
        prepare=(sys.executable, "-m", "backend.prepare"),
        reads=(str(_ROOT / "backend"),),
    )


def variants() -> tuple[Variant, ...]:
    """The lifecycles; the first two are what `compare` runs where nothing else is asked for."""
    return tuple(Variant(name=name, env={"MODEL_LIFECYCLE": name}) for name in LIFECYCLES)
