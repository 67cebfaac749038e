"""The runs of `levers` on disk: `levers.json` beside them. They are judged again from there, with nothing measured again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.levers import Lever, LeversRecord
from profiling.manifests.secrets import redacted, redacted_words
from profiling.measuring import store

FILE_NAME = "levers.json"


def save(directory: Path, record: LeversRecord) -> None:
    """Write `levers.json`, without what looks like a secret. Raises OutputError."""
    shown = msgspec.structs.replace(
        record,
        command=redacted_words(record.command),
        levers=tuple(_without_secrets(lever) for lever in record.levers),
    )
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(shown), indent=1))


def load(directory: Path) -> LeversRecord:
    """Read `levers.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=LeversRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable trial of levers ({error})", "name a directory that `levers` printed"
        ) from error


def _without_secrets(lever: Lever) -> Lever:
    return msgspec.structs.replace(lever, env=redacted(lever.env), command=redacted_words(lever.command))
