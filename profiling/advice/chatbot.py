"""Levers of the reference backend: all that the generic ones do, by its own variables, and what only it has."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from profiling.advice.servers import ADVICE, GUIDES, NOT_RENEWED
from profiling.advice.settings import ALREADY, Setting
from profiling.levers import Lever

_SERVICES = ("OCR", "RAG", "AGENTS")
_MODEL = "model"


def levers(setting: Setting) -> tuple[Lever, ...]:
    """Those for a backend of this setting; what its code does not know is left out."""
    known = known_settings(Path(setting.directory, "backend"))
    every = (*_of_server(setting), *_of_model(setting), *_of_services(setting), _IMAGE)
    return tuple(_if_known(lever, known) for lever in every)


def known_settings(backend: Path) -> frozenset[str]:
    """What in the backend's code looks like a variable's name. Nothing of ours imports it."""
    found: set[str] = set()
    for file in backend.rglob("*.py"):
        found.update(re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", file.read_text(encoding="utf-8", errors="replace")))
    return frozenset(found)


def _if_known(lever: Lever, known: frozenset[str]) -> Lever:
    missing = [name for name in lever.env if name not in known]
    if lever.left_out or not missing:
        return lever
    return msgspec.structs.replace(lever, left_out=f"this backend does not know {', '.join(missing)}")


def _of_server(setting: Setting) -> tuple[Lever, ...]:
    workers, threads = setting.number("WEB_CONCURRENCY", 1), setting.number("THREADS", 16)
    preloads = setting.value("PRELOAD", "1") == "1"

    def server(name: str, env: dict[str, str], why: str = "", group: str = "workers") -> Lever:
        return Lever(name=name, advice=ADVICE[name], guide=GUIDES[name], group=group, env=env, left_out=why)

    one = f"it is one worker with {threads} threads already" if workers == 1 else ""
    return (
        server("workers-1", {"WEB_CONCURRENCY": "1"}, ALREADY if workers == 1 else ""),
        server("workers-double", {"WEB_CONCURRENCY": str(min(64, 2 * workers))}),
        server("threads", {"WEB_CONCURRENCY": "1", "THREADS": str(min(512, workers * threads))}, one),
        server("preload-freeze", {"PRELOAD": "1"}, ALREADY if preloads else "", "preload"),
        Lever(
            name="no-preload",
            advice="each worker loads the application for itself",
            guide="the opposite, as guides for worker isolation have it: what preloading is worth here",
            group="preload",
            env={"PRELOAD": "0"},
            left_out="" if preloads else ALREADY,
        ),
        Lever(
            name="max-requests",
            advice=ADVICE["max-requests"],
            guide=GUIDES["max-requests"],
            append=("--max-requests", "1000", "--max-requests-jitter", "100"),
            left_out="" if setting.command else "the image's own command is not known here",
            caveat=NOT_RENEWED,
        ),
    )


def _of_model(setting: Setting) -> tuple[Lever, ...]:
    lifecycle = setting.value("MODEL_LIFECYCLE", "singleton")
    checkpoint = setting.value("MODEL_CHECKPOINT", "pickle")
    runtime, dtype = setting.value("MODEL_RUNTIME", "torch"), setting.value("MODEL_DTYPE", "float32")

    def model(name: str, advice: str, guide: str, env: dict[str, str], *, same: bool, group: str = _MODEL) -> Lever:
        return Lever(name=name, advice=advice, guide=guide, group=group, env=env, left_out=ALREADY if same else "")

    loads = "every guide for models behind HTTP: load it once, never per request"
    small = "guides for inference on small machines: fewer bits for each weight"
    lean = "guides for inference on small machines: a runtime without the training library"
    return (
        model(
            "lifecycle-singleton", "the model is loaded once, at the start", loads,
            {"MODEL_LIFECYCLE": "singleton"}, same=lifecycle == "singleton", group="lifecycle",
        ),
        model(
            "lifecycle-lazy", "the model is loaded once, at the first request", f"{loads}; later, so that a start fits",
            {"MODEL_LIFECYCLE": "lazy"}, same=lifecycle == "lazy", group="lifecycle",
        ),
        model(
            "checkpoint-mapped", "the weights are mapped from their file", "the safetensors documentation: map, do not copy",
            {"MODEL_CHECKPOINT": "safetensors"}, same=checkpoint == "safetensors", group="checkpoint",
        ),
        model(
            "dtype-bfloat16", "weights of 16 bits", small,
            {"MODEL_DTYPE": "bfloat16"}, same=dtype == "bfloat16",
        ),
        model("dtype-int8", "weights of 8 bits", small, {"MODEL_DTYPE": "int8"}, same=dtype == "int8"),
        model(
            "runtime-onnx", "ONNX Runtime in place of torch", lean,
            {"MODEL_RUNTIME": "onnx"}, same=runtime == "onnx",
        ),
        model(
            "onnx-int8", "ONNX Runtime with weights of 8 bits", f"{lean}, with fewer bits for each weight",
            {"MODEL_RUNTIME": "onnx", "MODEL_DTYPE": "int8"}, same=(runtime, dtype) == ("onnx", "int8"),
        ),
    )  # fmt: skip


def _of_services(setting: Setting) -> tuple[Lever, ...]:
    eager = setting.value("IMPORTS", "eager") == "eager"
    on = [name for name in _SERVICES if setting.value(f"DISABLE_{name}") not in ("true", "1")]
    found = [
        Lever(
            name=f"disable-{name.lower()}",
            advice=f"the {name if len(name) == 3 else name.lower()} service is off, and its libraries are not imported",
            guide="hosting guides: switch off what you do not use",
            env={f"DISABLE_{name}": "true"},
            left_out=ALREADY if setting.value(f"DISABLE_{name}") in ("true", "1") else "",
            caveat="its routes then answer 404",
        )
        for name in _SERVICES
    ]
    return (
        *found,
        Lever(
            name="lazy-imports",
            advice="optional services are imported at their first request",
            guide="guides for fast starts: import late",
            env={"IMPORTS": "lazy"},
            left_out="" if eager else ALREADY,
            caveat="a service that is used is imported after all; this load asks for none",
        ),
        Lever(
            name="split-services",
            advice="this process is the main API alone; optional services run as workers of their own",
            guide="guides for large applications: a service of its own for what is heavy",
            # Nobody is there: it asks for an address of each, and goes there only for the service's own routes.
            env={"ROLE": "api"} | {f"{name}_URL": f"http://{name.lower()}:8000" for name in on},
            left_out=ALREADY if setting.value("ROLE") == "api" else "" if on else "every service is off already",
            caveat="the workers' memory is not counted here, so that it is no candidate for the best: each has a limit of its own",
            elsewhere=True,
        ),
    )


_IMAGE = Lever(
    name="multi-stage-image",
    advice="an image of two stages",
    guide="Docker's own pages: build tools stay out of what is deployed",
    left_out="it changes the image's size, not what the same code holds under load; `python -m benchmarks.images` measures both",
)
