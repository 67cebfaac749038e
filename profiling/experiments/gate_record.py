"""A gate on disk: `gate.json` beside its runs. It is judged again from there, with nothing measured again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.measuring import store
from profiling.regressions import BASE, HEAD, GateRecord, GateRun

FILE_NAME = "gate.json"


def save(directory: Path, record: GateRecord) -> None:
    """Write `gate.json`. Raises OutputError."""
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(record), indent=1))


def load(directory: Path) -> GateRecord:
    """Read `gate.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=GateRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable gate ({error})", "name a directory that `gate` printed"
        ) from error


def shown(record: GateRecord) -> tuple[GateRun, ...]:
    """One run of each side for the page: one that failed, else the one in the middle by its peak."""
    found = (_typical([run for run in record.runs if run.side == side]) for side in (BASE, HEAD))
    return tuple(run for run in found if run is not None)


def _typical(runs: Sequence[GateRun]) -> GateRun | None:
    failed = [run for run in runs if run.figures.failure]
    if failed:
        return failed[0]
    counted = [run for run in runs if run.set and not run.figures.unusable]
    by_peak = sorted(counted, key=lambda run: run.figures.peak_bytes or 0.0)
    return by_peak[len(by_peak) // 2] if by_peak else next(iter(runs), None)
