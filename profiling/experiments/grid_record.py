"""A grid on disk: `grid.json` beside its runs. It is judged again from there, with nothing measured again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from profiling.capacities import By, LoadTrial
from profiling.errors import DataError
from profiling.grids import GridRecord
from profiling.judging.analysis import analyse
from profiling.judging.findings import with_findings
from profiling.judging.load_trials import judge_trial
from profiling.judging.report import AnalysedRun
from profiling.measuring import store
from profiling.values import Budget

FILE_NAME = "grid.json"


def save(directory: Path, record: GridRecord) -> None:
    """Write `grid.json`. Raises OutputError."""
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(record), indent=1))


def load(directory: Path) -> GridRecord:
    """Read `grid.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=GridRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable grid ({error})", "name a directory that `compare --grid` printed"
        ) from error


def judge_run(place: Path, record: GridRecord, budget: Budget) -> tuple[AnalysedRun, LoadTrial]:
    """The run in `place`, and what it says of its load. Raises DataError."""
    stored = store.load(place)
    run = with_findings(analyse(stored), stored, budget)
    return run, judge_trial(run, stored, budget, By.USERS if record.rate is None else By.RATE)
