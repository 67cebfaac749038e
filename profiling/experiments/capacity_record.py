"""A search for capacity on disk: `capacity.json` beside its runs. It is judged again from there, with nothing measured again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from profiling.capacities import CapacityRecord, LoadTrial
from profiling.errors import DataError
from profiling.judging.analysis import analyse
from profiling.judging.findings import with_findings
from profiling.judging.load_trials import judge_trial
from profiling.measuring import store
from profiling.values import Budget

FILE_NAME = "capacity.json"


def save(directory: Path, record: CapacityRecord) -> None:
    """Write `capacity.json`. Raises OutputError."""
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(record), indent=1))


def load(directory: Path) -> CapacityRecord:
    """Read `capacity.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=CapacityRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable search for capacity ({error})", "name a directory that `capacity` printed"
        ) from error


def judged(directory: Path, record: CapacityRecord, budget: Budget) -> list[tuple[int, LoadTrial]]:
    """Every trial's load in steps with what its run says of it, from disk. Raises DataError."""
    return [(place.steps, judge(directory / place.directory, record, budget)) for place in record.trials]


def judge(place: Path, record: CapacityRecord, budget: Budget) -> LoadTrial:
    """What the run in `place` says of its load. Raises DataError."""
    stored = store.load(place)
    return judge_trial(with_findings(analyse(stored), stored, budget), stored, budget, record.by)
