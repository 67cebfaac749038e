"""The files that set-up makes and a load reads. Their names say what they were made from, so that a file
that is out of date is simply not the one that is looked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from backend import knowledge
from backend.settings import Settings
from backend.weights import ModelFiles, ModelFilesError, identify

RUNTIME = "torch"
# Part of every key: raise it when the way in which embeddings or checkpoints are made changes.
_RECIPE = "1"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The model and where what was made of it lies, whether it has been made yet or not."""

    model: ModelFiles
    state_dict: Path
    """The weights as `torch.save` writes a state dict."""
    embeddings: Path
    """float32 array (texts, dimensions), rows of length 1, in `Knowledge.texts()` order."""

    def missing(self) -> list[Path]:
        """Those of the files that are not there."""
        return [path for path in (self.state_dict, self.embeddings) if not path.is_file()]


def locate(settings: Settings) -> Prepared:
    """Name the prepared files for this model and this knowledge base.

    Raises:
        ModelFilesError: the model itself is missing or wrong.
    """
    model = identify(settings.model_path, settings.cache_dir)
    texts = "\0".join(knowledge.read().texts())
    return Prepared(
        model=model,
        state_dict=settings.cache_dir / f"weights-{_key(model.weights_sha256)}.bin",
        embeddings=settings.cache_dir / f"kb-{RUNTIME}-{_key(model.sha256, texts)}.npy",
    )


def require(settings: Settings) -> Prepared:
    """Like `locate`, but everything must be there.

    Raises:
        ModelFilesError: with the command that makes what is missing.
    """
    prepared = locate(settings)
    missing = prepared.missing()
    if missing:
        raise ModelFilesError(
            f"The prepared file {missing[0]} does not exist, or was made for another model or knowledge base.",
            "Run: python -m backend.prepare",
        )
    return prepared


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join((_RECIPE, *parts)).encode()).hexdigest()[:16]
