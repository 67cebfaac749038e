"""The files that set-up makes and a load reads. Their names say what they were made from, so that a file
that is out of date is simply not the one that is looked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from backend import knowledge
from backend.encoders import check_installed
from backend.settings import Settings
from backend.weights import ModelFiles, ModelFilesError, identify

# Part of every key: raise it when the way in which embeddings or checkpoints are made changes.
_RECIPE = "1"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The model and where what was made of it lies, whether it has been made yet or not."""

    model: ModelFiles
    weights: Path
    """The weights as `torch.save` writes them, or an ONNX graph."""
    data: Path | None
    """The weights of an ONNX graph that has them beside it, to be mapped."""
    embeddings: Path
    """float32 array (texts, dimensions), rows of length 1, in `Knowledge.texts()` order."""

    def missing(self) -> list[Path]:
        """Those of the files that are not there."""
        files = (self.weights, self.data, self.embeddings)
        return [path for path in files if path is not None and not path.is_file()]


def locate(settings: Settings) -> Prepared:
    """Name the prepared files for this model and this knowledge base.

    Raises:
        ModelFilesError: the model itself is missing or wrong.
    """
    model = identify(settings.model_path, settings.cache_dir)
    texts = "\0".join(knowledge.read().texts())
    weights, data = _weights(settings, model)
    return Prepared(
        model=model,
        weights=weights,
        data=data,
        embeddings=settings.cache_dir / f"kb-{_numbers(settings)}-{_key(model.sha256, texts)}.npy",
    )


def require(settings: Settings) -> Prepared:
    """Like `locate`, but everything must be there.

    Raises:
        ModelFilesError: with the command that makes what is missing.
    """
    check_installed(settings.runtime)
    prepared = locate(settings)
    missing = prepared.missing()
    if missing:
        raise ModelFilesError(
            f"The prepared file {missing[0]} does not exist, or was made for another model or knowledge base.",
            f"Run: {_command(settings)}",
        )
    return prepared


def _weights(settings: Settings, model: ModelFiles) -> tuple[Path, Path | None]:
    if (settings.runtime, settings.dtype) == ("torch", "float32"):
        return settings.cache_dir / f"weights-{_key(model.weights_sha256)}.bin", None
    # These hold more than the weights: the graph, or what is computed when a model is built.
    stem = f"{settings.runtime}-{settings.dtype}-{_key(model.sha256)}"
    if settings.runtime == "torch":
        return settings.cache_dir / f"{stem}.bin", None
    if settings.checkpoint == "pickle":
        return settings.cache_dir / f"{stem}.onnx", None
    return settings.cache_dir / f"{stem}-mapped.onnx", settings.cache_dir / f"{stem}-mapped.data"


def _numbers(settings: Settings) -> str:
    """The part of a name that says what computed: float32 is what it is where nothing is said."""
    return settings.runtime if settings.dtype == "float32" else f"{settings.runtime}-{settings.dtype}"


def _command(settings: Settings) -> str:
    changed = [
        f"MODEL_RUNTIME={settings.runtime}" if settings.runtime != "torch" else "",
        f"MODEL_DTYPE={settings.dtype}" if settings.dtype != "float32" else "",
        f"MODEL_CHECKPOINT={settings.checkpoint}" if settings.runtime == "onnx" else "",
    ]
    return " ".join([*filter(None, changed), "python -m backend.prepare"])


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join((_RECIPE, *parts)).encode()).hexdigest()[:16]
