"""Sentence to vector: what every encoder can do, and which module has the one that was asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from backend.settings import Runtime, Settings
from backend.weights import ModelFilesError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from backend.prepared import Prepared


class Encoder(Protocol):
    """A model and its tokenizer, in memory."""

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """One vector of length 1: the mean over the tokens, as the model was trained. Thread-safe."""


LoadEncoder = Callable[["Prepared", Settings], Encoder]
"""Reads everything from disk, anew at each call; runs no forward pass. Raises ModelFilesError."""

_RUNS_WITH: dict[Runtime, tuple[str, ...]] = {"torch": ("torch", "transformers"), "onnx": ("onnxruntime",)}


def implementation(runtime: Runtime) -> LoadEncoder:
    """What loads the encoder of a runtime. Imports that runtime's libraries, and no other's."""
    if runtime == "onnx":
        from backend import onnx_encoder

        return onnx_encoder.load
    from backend import encoder

    return encoder.load


def is_installed(runtime: Runtime) -> bool:
    """Whether what runs the model is here. Quick: the libraries are looked for and not imported."""
    return not _missing(_RUNS_WITH[runtime])


def check_installed(runtime: Runtime) -> None:
    """As `is_installed`.

    Raises:
        ModelFilesError: a library is missing; says what to run.
    """
    _need(f"MODEL_RUNTIME={runtime}", _RUNS_WITH[runtime])


def check_can_export() -> None:
    """Whether what writes an ONNX graph is here.

    Raises:
        ModelFilesError: a library is missing; says what to run.
    """
    _need("Making the files for MODEL_RUNTIME=onnx", ("onnx", *_RUNS_WITH["torch"]))


def _need(what: str, modules: tuple[str, ...]) -> None:
    for module in _missing(modules):
        raise ModelFilesError(f"{what} needs {module}, which is not installed here.", f"Run: pip install {module}")


def _missing(modules: tuple[str, ...]) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is None]
