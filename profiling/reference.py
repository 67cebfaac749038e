"""The built-in targets: the reference chatbot backend, launched by its command line alone, without and with its services."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from loadtests.plan import RequestTemplate
from profiling.values import Build, Image, Service, Target, Variant

NAME = "reference"
SERVICES_NAME = "reference-services"
MADE_BY = {NAME: "make setup", SERVICES_NAME: "make services"}
"""Each target, and what installs all that it needs."""
CHECKPOINTS = ("pickle", "safetensors")
LIFECYCLES = ("per-request", "singleton", "lazy")
DEFAULT_MEMORY_BYTES = 512 * 2**20

ROOT = Path(__file__).resolve().parents[1]
SERVICES_PYTHON = ROOT / ".venv-services" / "bin" / "python"
_SWITCHES = ("DISABLE_OCR", "DISABLE_RAG", "DISABLE_AGENTS")
_CONTRACT = {
    "type": "object",
    "required": ["response"],
    "properties": {"response": {"type": "string", "minLength": 1}},
}


def image(root: Path = ROOT, name: str = NAME) -> Image:
    """The container image of one of MADE_BY, built from the Dockerfile where `root` is a checkout."""
    dockerfile = root / "Dockerfile"
    args = {"EXTRAS": "backend services"} if name == SERVICES_NAME else {}
    build = Build(context=str(root), dockerfile=str(dockerfile), args=args) if dockerfile.is_file() else None
    return Image(name=f"oomproof/{name}", build=build)


def target(checkpoint: str, root: Path = ROOT, name: str = NAME) -> Target:
    """One of MADE_BY with one of CHECKPOINTS, in the default lifecycle. `root`: the checkout that it is in.

    `reference` runs under this interpreter, with every service off whatever is installed; `reference-services` in an environment
    of its own, with every service on and loaded at the start.
    """
    services = name == SERVICES_NAME
    python = str(SERVICES_PYTHON) if services else sys.executable
    # Bytecode is written at set-up, not by whichever variant happens to run first.
    env = {"MODEL_CHECKPOINT": checkpoint, "PYTHONDONTWRITEBYTECODE": "1"}
    env |= dict.fromkeys(_SWITCHES, "false" if services else "true")
    if services:
        env["IMPORTS"] = "eager"
    # What lies beside the interpreter is known; torch and the like lie beside ours.
    beside = (sysconfig.get_path("purelib"),) if services else ()
    return Target(
        name=name,
        services=(
            Service(
                command=(python, "-m", "gunicorn", "-c", "backend/gunicorn.conf.py"),
                directory=str(root),
                image=image(root, name),
                env=env,
                ready="/ready",
                startup_timeout_s=120.0,
            ),
        ),
        request=RequestTemplate(expect_json_schema=_CONTRACT),
        prepare=(python, "-m", "backend.prepare"),
        reads=(str(root / "backend"), *beside),
    )


def variants() -> tuple[Variant, ...]:
    """The lifecycles; the first two are what `compare` runs where nothing else is asked for."""
    return tuple(Variant(name=name, env={"MODEL_LIFECYCLE": name}) for name in LIFECYCLES)
