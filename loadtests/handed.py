"""The load that a worker was handed by its master, with the locustfiles: `accept` is called by the file that brings it."""

from pathlib import Path

import msgspec

from loadtests.plan import LoadJob
from loadtests.workers import PROTOCOL

job: LoadJob | None = None
"""What to carry out; None where nothing was handed over."""

refused = False
"""True where the master is of another version: it will be told so."""

_FILE = """# The load, for workers on other machines: they fetch it from the master as Locust fetches locustfiles.
import os

if "OOMPROOF_LOAD" not in os.environ:
    from loadtests import handed

    handed.accept({protocol}, {job!r})
"""


def as_locustfile(handed_over: LoadJob) -> str:
    """A Python file that hands a load over when it is imported."""
    return _FILE.format(protocol=PROTOCOL, job=msgspec.json.encode(handed_over).decode())


def accept(protocol: int, text: str) -> None:
    """Takes a load over; it is what `recording.session()` then carries out."""
    global job, refused  # noqa: PLW0603 - Locust imports files one after the other, and this is how they tell each other
    if protocol != PROTOCOL:
        refused = True
        return
    job = msgspec.json.decode(text, type=LoadJob)


def write(path: Path, handed_over: LoadJob) -> None:
    """Writes that file for its owner's eyes only: headers may hold credentials. Raises OSError."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(as_locustfile(handed_over), encoding="utf-8")
