"""The memray passes of a gate: one of each side after all judged runs, and which lines hold more in head than in base."""

from __future__ import annotations

import contextlib
import datetime
from dataclasses import dataclass
from pathlib import Path

import msgspec

from commands import diff_files
from commands.gate_runs import Runs
from profiling.differences import DiffRun, Source
from profiling.errors import CannotRunError, DataError
from profiling.experiments import diff, gate_passes
from profiling.manifests.secrets import redacted_words
from profiling.measuring import capture, store
from profiling.measuring.events import Note, PhaseStarted
from profiling.measuring.memray_pass import RecordedPass
from profiling.profiles import Profile
from profiling.regressions import BASE, HEAD, GatePass
from profiling.stacks import PEAK, Stacks
from profiling.values import Outcome

DIRECTORY = "diff"
_READ_S = 120.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """A pass that was run, while its captures are read."""

    made: GatePass
    source: Source
    at: str
    folding: capture.Folding


class _NoPassError(Exception):
    """A side cannot be explained."""

    def __init__(self, side: str, reason: str) -> None:
        super().__init__(reason)
        self.made = GatePass(side=side, directory=None, reason=reason)


def make_passes(runs: Runs, root: Path, capture_limit_bytes: int) -> None:
    """Run both sides under memray and note what comes of it; `root`: the repository's. It explains and never judges: what
    goes wrong here is a note. Raises InterruptedRunError, OutputError."""
    with contextlib.ExitStack() as stack:
        sides: list[_Reading] = []
        try:
            for side in (BASE, HEAD):  # base's captures are read while head runs
                sides.append(_record(runs, side, capture_limit_bytes, stack))
            runs.observer.notify(PhaseStarted(run="", phase="flame graphs"))
            stacks = [_read(each) for each in sides]
        except _NoPassError as error:
            runs.note_passes((error.made,))
            runs.observer.notify(Note(text=f"no lines are named: {error}"))
            return
    passes = tuple(_with_peak(each.made, found) for each, found in zip(sides, stacks, strict=True))
    _compare(runs, passes, [each.source for each in sides], stacks, root)


def _record(runs: Runs, side: str, capture_limit_bytes: int, stack: contextlib.ExitStack) -> _Reading:
    name = f"memray-{side}"
    try:
        recorded = runs.record_pass(side, name, capture_limit_bytes)
        if isinstance(recorded, Profile):
            with contextlib.suppress(OSError):
                (runs.directory / name).rmdir()  # nothing is in it
            raise _NoPassError(side, recorded.reason)
        source = diff.source(recorded.directory)
    except CannotRunError as error:
        raise _NoPassError(side, error.message) from error
    result = recorded.result
    killed = bool(result.oom_kills)
    if result.outcome is not Outcome.COMPLETED and not (killed and side == HEAD):
        # What it had not come to would show as what it does not hold.
        raise _NoPassError(side, f"under memray it did not hold ({result.stop_reason or result.outcome.value})")
    made = GatePass(side=side, directory=name, reason="it was killed" if killed else _why_no_peak(recorded))
    at = diff.moment(source, gate_passes.moment_of(runs.gated))
    folding = stack.enter_context(capture.Folding([Path(file) for file in source.captures], at))
    return _Reading(made, source, at, folding)


def _why_no_peak(recorded: RecordedPass) -> str:
    """Why what was recorded has no peak to compare; empty if it has."""
    if any(capture.ended_early(path) for path in capture.captures(recorded.capture)):
        return "its recording ended before it did (--capture-limit)"
    return ""


def _read(reading: _Reading) -> Stacks:
    try:
        found = reading.folding.result(_READ_S)
    except DataError as error:
        raise _NoPassError(reading.made.side, error.message) from error
    return msgspec.structs.replace(found, directory=reading.source.directory)


def _with_peak(made: GatePass, found: Stacks) -> GatePass:
    if made.reason:
        return made
    if found.at != PEAK:
        return msgspec.structs.replace(made, reason="it was read at its end, since what stays there grew")
    return msgspec.structs.replace(made, peak_heap_bytes=found.bytes)


def _compare(runs: Runs, passes: tuple[GatePass, ...], sources: list[Source], stacks: list[Stacks], root: Path) -> None:
    run = DiffRun(
        before=sources[0],
        after=sources[1],
        argv=redacted_words(runs.experiment.argv),
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    directory = store.make_directory(runs.directory / DIRECTORY)
    diff.save(directory, run, *stacks)
    found, _ = diff_files.write(directory, run, *stacks)
    own = Path(sources[1].directory or root)
    runs.note_passes(passes, difference=DIRECTORY, lines=gate_passes.grown_lines(found, own, root))
