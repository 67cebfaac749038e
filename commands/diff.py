"""`diff`: what two memray captures, or two runs, hold against one another."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click

from commands import bench, diff_files, results
from commands.options import SIZE, output_options
from profiling.differences import Difference, DiffRun
from profiling.errors import DataError, ExitCode
from profiling.experiments import diff as experiment
from profiling.manifests.secrets import redacted_words
from profiling.measuring import store
from profiling.measuring.events import Note
from profiling.stacks import END, PEAK
from reports.diff import render_json, show_text
from reports.diff.folded import render_folded

_EXIT = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


@click.command()
@click.argument("before", metavar="A", type=click.Path(exists=True, path_type=Path))
@click.argument("after", metavar="B", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--at",
    type=click.Choice([PEAK, END]),
    help="Which memory is compared: what was alive at the high-water mark, or at the end of the process."
    " Default: peak; of a run that was OOM-killed, the end of the killed process.",
)
@click.option(
    "--fail-above",
    type=SIZE,
    metavar="SIZE",
    help="Exit with 1 where B holds more than A by more than that, such as 5MiB.",
)
@click.option(
    "--folded",
    "folded_file",
    metavar="FILE",
    help="Write folded stacks for flame graph tools, with two weights: bytes before and after.",
)
@output_options
@click.pass_context
def diff(
    ctx: click.Context,
    /,
    before: Path,
    after: Path,
    at: str | None,
    fail_above: int | None,
    folded_file: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Say what changed in memory from A to B, by function and package, with a differential flame graph.

    A and B are runs of `profile` or `compare` that recorded (a directory; all processes at the moment when they held
    most together), or single memray captures.

    Exit code: 0 compared, 1 it grew by more than --fail-above, 3 nothing was recorded on a side, 4 it cannot be read.
    """
    folded_path = results.openable(folded_file, "--folded")
    run = DiffRun(
        before=experiment.source(before),
        after=experiment.source(after),
        at=at,
        fail_above_bytes=fail_above,
        argv=redacted_words(sys.orig_argv[1:]),
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    directory = bench.new_directory(out, "diff")
    with bench.watching() as observer:
        files = {file for side in (run.before, run.after) for file in side.captures}
        megabytes = sum(Path(file).stat().st_size for file in files) / 1e6
        observer.notify(Note(text=f"reading {len(files)} captures, {megabytes:,.0f} MB"))
        try:
            sides = experiment.read(run)
        except (DataError, KeyboardInterrupt):
            directory.rmdir()  # there is nothing in it to be seen
            raise
        experiment.save(directory, run, *sides)
    found, stacks = diff_files.write(directory, run, *sides)
    if folded_path is not None:
        store.write_atomically(folded_path, render_folded(stacks).encode("utf-8", "replace"))
    _show(found, directory, as_json)
    ctx.exit(_EXIT[found.status])


def render_again(directory: Path, as_json: bool) -> ExitCode:
    """Show once more what was compared into `directory`. Raises DataError where there is nothing in it."""
    found, _ = diff_files.write(directory, *experiment.load(directory))
    _show(found, directory, as_json)
    return _EXIT[found.status]


def _show(found: Difference, directory: Path, as_json: bool) -> None:
    click.echo(render_json(found, directory) if as_json else show_text(found, directory), nl=False)
