"""Folded stacks on disk: JSON, compressed."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.measuring import store
from profiling.stacks import Stacks


def save(path: Path, stacks: Stacks) -> None:
    """Raises OutputError."""
    store.write_atomically(path, gzip.compress(msgspec.json.encode(stacks), compresslevel=6, mtime=0))


def load(path: Path) -> Stacks:
    """Raises DataError."""
    try:
        raw = gzip.decompress(path.read_bytes())
        store.check_version(path, raw)
        return msgspec.json.decode(raw, type=Stacks)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path} holds no readable stacks ({error})", "make it again") from error
