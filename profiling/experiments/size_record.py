"""What `size` asked, on disk: `size.json` beside its runs. They are judged again from there, with nothing measured again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.manifests.catalogue import Catalogue
from profiling.measuring import store
from profiling.sizing import Catalogued, SizeRecord

FILE_NAME = "size.json"


def save(directory: Path, record: SizeRecord) -> None:
    """Write `size.json`. Raises OutputError."""
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(record), indent=1))


def load(directory: Path) -> SizeRecord:
    """Read `size.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=SizeRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable search for a limit ({error})", "name a directory that `size` printed"
        ) from error


def catalogued(known: Catalogue) -> tuple[Catalogued, ...]:
    """All plans that are known, by provider. A plan of the user's own makes no provider's date its own."""
    found = []
    for name, plans in known.plans.items():
        provider = known.providers.get(name)
        found.append(
            Catalogued(
                provider=name,
                plans=tuple(plans.values()),
                as_of=provider.as_of if provider else None,
                note=provider.note if provider else "",
            )
        )
    return tuple(found)
