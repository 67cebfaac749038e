"""Set-up: `python -m backend.prepare` makes what a load reads. Quick when there is nothing to do.

It makes the files for the runtime, numbers and checkpoint that the environment asks for; with `--all` for each of them that
is installed here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from backend import knowledge, prepared
from backend.encoders import check_can_export, check_installed, implementation, is_installed
from backend.prepared import Prepared
from backend.settings import CHECKPOINTS, DTYPES, Settings, SettingsError
from backend.weights import WEIGHTS, ModelFilesError, stamp, stamp_path

EXIT_SETTINGS = 2
EXIT_CANNOT = 4


def main(arguments: Sequence[str] = ()) -> int:
    """Prepare for the settings in the environment; the exit code, with two lines on stderr if not 0."""
    parser = argparse.ArgumentParser(
        prog="python -m backend.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="for every runtime, kind of number and checkpoint")
    everything: bool = parser.parse_args(arguments).all
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        sys.stderr.write(f"{error}\nCorrect or unset that variable.\n")
        return EXIT_SETTINGS
    try:
        made = [path for wanted in _wanted(settings, everything=everything) for path in prepare(wanted)]
    except ModelFilesError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CANNOT
    for path in made:
        sys.stdout.write(f"made {path}\n")
    if not made:
        sys.stdout.write(f"nothing to do: {settings.cache_dir} is up to date\n")
    return 0


def _wanted(settings: Settings, *, everything: bool) -> list[Settings]:
    if not everything:
        return [settings]
    return [
        replace(settings, runtime=runtime, dtype=dtype, checkpoint=checkpoint)
        for runtime, dtypes in DTYPES.items()
        if is_installed(runtime)
        for dtype in dtypes
        for checkpoint in CHECKPOINTS
    ]


def prepare(settings: Settings) -> list[Path]:
    """Make what is missing and return it. Two of these at once are safe: both make the same files.

    Raises:
        ModelFilesError: the model is missing or wrong, or the files cannot be written.
    """
    check_installed(settings.runtime)
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        files = prepared.locate(settings)
        # Written again each time it is out of date, so that the next identification is quick.
        weights = files.model.directory / WEIGHTS
        _write_if_changed(stamp_path(weights, settings.cache_dir), stamp(weights, files.model.weights_sha256))
        made = files.missing()
        if made:
            if settings.runtime == "onnx" and made != [files.embeddings]:
                check_can_export()
            _make(files, made, settings)
    except OSError as error:
        raise ModelFilesError(
            f"Cannot write what the model needs into {settings.cache_dir}: {error.strerror or error}.",
            "Make that directory writable, or set MODEL_CACHE to one that is.",
        ) from error
    return made


def _make(files: Prepared, missing: list[Path], settings: Settings) -> None:
    # Only now, and not at the top: torch takes seconds, and mostly there is nothing to make.
    import numpy as np

    try:
        if missing != [files.embeddings]:
            _make_weights(files, settings)
        if files.embeddings in missing:
            encoder = implementation(settings.runtime)(files, settings)
            rows = np.stack([encoder.embed(text) for text in knowledge.read().texts()])
            _write(files.embeddings, lambda file: np.save(file, rows))
    except (OSError, ModelFilesError):
        raise
    except Exception as error:
        raise ModelFilesError(
            f"The model in {files.model.directory} cannot be used: {error}",
            "Set MODEL_PATH to a complete model directory, or unset it for the packaged model.",
        ) from error


def _make_weights(files: Prepared, settings: Settings) -> None:
    if settings.runtime == "onnx":
        from backend.onnx_export import export

        export(files, settings.dtype)
        return
    import torch

    from backend import reduced
    from backend.encoder import mapped_model, mapped_state_dict

    directory = files.model.directory
    if settings.dtype == "float32":
        state_dict = mapped_state_dict(directory)
        _write(files.weights, lambda file: torch.save(state_dict, file))
    else:
        _write(files.weights, lambda file: reduced.save(mapped_model(directory), settings.dtype, file))


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        _write(path, lambda file: file.write(content))


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is either not there or complete, whoever else writes it or is killed meanwhile."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        # mkstemp makes files for the owner alone; the service may run as another user than set-up did.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
