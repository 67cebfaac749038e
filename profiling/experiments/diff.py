"""`diff`: what two programs' captures hold against one another, on disk and read again."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from profiling.differences import AFTER, BEFORE, DiffRun, Source
from profiling.errors import DataError
from profiling.measuring import capture, store, stored_stacks
from profiling.stacks import END, PEAK, Stacks
from profiling.values import RunResult

FILE_NAME = "diff.json"


def source(path: Path) -> Source:
    """What is meant by `path`, with what the run that recorded it says. Raises DataError."""
    captures = capture.find(path)
    run = _run(captures[0].parent)
    return Source(
        path=str(path.resolve()),
        name=run.variant if run else path.resolve().name,
        captures=tuple(str(file.resolve()) for file in captures),
        directory=run.target.service.directory if run else None,
        oom_killed=bool(run and run.oom_kills),
    )


def _run(directory: Path) -> RunResult | None:
    """The run that recorded the captures in `directory`, if it was one of ours and can be read."""
    with contextlib.suppress(DataError):
        return store.load(directory).result
    return None


def moment(source: Source, at: str | None) -> str:
    """PEAK or END: as was asked for, else the end where the kernel killed it, and else the peak."""
    return at or (END if source.oom_killed and any(_was_killed(Path(file)) for file in source.captures) else PEAK)


def _was_killed(file: Path) -> bool:
    return not capture.is_blank(file) and not capture.ended_cleanly(file)


def read(run: DiffRun) -> tuple[Stacks, Stacks]:
    """The stacks of both sides, two processes at work on them; once where both are the same. Raises DataError."""
    before, after = _read(run)
    return (
        msgspec.structs.replace(before, directory=run.before.directory),
        msgspec.structs.replace(after, directory=run.after.directory),
    )


def _read(run: DiffRun) -> tuple[Stacks, Stacks]:
    ats = moment(run.before, run.at), moment(run.after, run.at)
    captures = [[Path(file) for file in side.captures] for side in (run.before, run.after)]
    with capture.Folding(captures[0], ats[0]) as before:
        if (captures[0], ats[0]) == (captures[1], ats[1]):
            same = before.result()
            return same, same
        with capture.Folding(captures[1], ats[1]) as after:
            return before.result(), after.result()


def save(directory: Path, run: DiffRun, before: Stacks, after: Stacks) -> None:
    """Write `diff.json` and the stacks of both sides. Raises OutputError."""
    stored_stacks.save(directory / _stacks_name(BEFORE), before)
    stored_stacks.save(directory / _stacks_name(AFTER), after)
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(run), indent=1))


def load(directory: Path) -> tuple[DiffRun, Stacks, Stacks]:
    """Read what `save` wrote. Raises DataError."""
    path = directory / FILE_NAME
    try:
        raw = path.read_bytes()
        store.check_version(path, raw)
        run = msgspec.json.decode(raw, type=DiffRun)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable difference ({error})", "name a directory that `diff` printed"
        ) from error
    return (
        run,
        stored_stacks.load(directory / _stacks_name(BEFORE)),
        stored_stacks.load(directory / _stacks_name(AFTER)),
    )


def _stacks_name(side: str) -> str:
    return f"{side}.stacks.json.gz"
