"""`report`: render again from what is on disk; nothing is measured."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path

import click

from commands import diff, imports, results, schemas
from commands.options import json_option
from profiling.errors import DataError
from profiling.experiments import diff as differences
from profiling.experiments import imports as recordings
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.judging.ledger import explain_with_ledger
from profiling.judging.report import Report
from profiling.measuring import store
from profiling.measuring.memray_pass import RecordedPass
from profiling.profiles import Profile
from profiling.values import Budget

_EVERY = "all"


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN...", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--csv", "csv_only", is_flag=True, help="Write each run's series as CSV and print their paths; no page.")
@click.option(
    "--schema",
    is_flag=False,
    flag_value=_EVERY,
    type=click.Choice([_EVERY, *schemas.NAMES]),
    metavar="[NAME]",
    help="Print the JSON Schemas of the config file and of what --json prints, or one of them, and end: "
    + ", ".join(schemas.NAMES)
    + ".",
)
@json_option
@click.pass_context
def report(ctx: click.Context, runs: tuple[Path, ...], csv_only: bool, schema: str | None, as_json: bool) -> None:
    """Render the report of RUN... again: a directory that `compare` or `profile` printed, a recording of `imports`,
    a `diff`, or single runs within one.

    Several runs come onto one page, in the first one's directory's parent. Exit code: as the runs themselves say.
    """
    if schema:
        click.echo(json.dumps(schemas.schema(None if schema == _EVERY else schema), indent=2, ensure_ascii=False))
        return
    if not runs:
        raise click.UsageError("name at least one run's directory, or --schema")
    for name, command in ((recordings.FILE_NAME, imports), (differences.FILE_NAME, diff)):
        if len(runs) == 1 and (runs[0] / name).exists() and not csv_only:
            ctx.exit(command.render_again(runs[0], as_json))
    page = _page(runs)
    if csv_only:
        written = [str(path) for path in results.write_csv(page)]
        click.echo(json.dumps({"csv": written}, indent=2) if as_json else "\n".join(written))
        return
    results.write_files(page)
    results.show(page, as_json)
    ctx.exit(results.exit_code(page))


def _page(directories: tuple[Path, ...]) -> Report:
    if len(directories) == 1 and (directories[0] / record.FILE_NAME).exists():
        return record.report(directories[0], record.load(directories[0]))
    return record.report(*_together(directories))


def _together(directories: tuple[Path, ...]) -> tuple[Path, Experiment]:
    """Several directories as one experiment, written into a directory of its own beside the first."""
    runs: list[Path] = []
    passes: list[Path] = []
    profiles: list[Profile] = []
    budget, candidate = Budget(), None
    for directory in directories:
        if (directory / record.FILE_NAME).exists():
            part = record.load(directory)
            runs += [directory / name for name in part.runs]
            passes += [directory / name for name in part.passes]
            profiles += [_moved(profile, directory) for profile in part.profiles]
            budget, candidate = part.budget, part.candidate
        else:
            runs.append(directory)
            profiles += _of_pass(directory)
    if not runs:
        raise DataError(f"{directories[0]} holds no run", "name a directory that a measuring command printed")
    if candidate is None:
        candidate = store.load(runs[-1]).result.variant
    now = datetime.datetime.now().astimezone()
    place = store.make_directory(runs[0].resolve().parent / f"report-{now:%Y%m%d-%H%M%S}")
    experiment = Experiment(
        command="report",
        argv=tuple(sys.orig_argv[1:]),
        candidate=candidate,
        budget=budget,
        created_at=now.isoformat(timespec="seconds"),
        runs=tuple(str(run.resolve()) for run in runs),
        passes=tuple(str(run.resolve()) for run in passes),
        profiles=tuple(profiles),
    )
    record.save(place, experiment)
    return place, experiment


def _of_pass(directory: Path) -> list[Profile]:
    """What the captures of a single run say, if it is a memray pass: as was found before, or, of one that was interrupted, now."""
    result = store.load(directory).result
    if result.capture is None:
        return []
    above = directory.resolve().parent
    if (above / record.FILE_NAME).exists():
        found = [profile for profile in record.load(above).profiles if profile.variant == result.variant]
        if found:
            return [_moved(profile, above) for profile in found]
    recorded = RecordedPass(result, directory.resolve(), directory.resolve() / result.capture)
    return [_moved(explain_with_ledger(recorded, source_lines="CI" not in os.environ), above)]


def _moved(profile: Profile, directory: Path) -> Profile:
    """The profile with absolute paths: it is shown from another directory."""

    return profile.with_paths(lambda path: str((directory / path).resolve()))
