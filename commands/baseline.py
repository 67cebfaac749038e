"""`baseline update FILE`: the only thing that writes a baseline."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from commands import bench, results
from commands.gate import started_record
from commands.gate_baseline import load_baseline
from commands.gate_runs import Runs, open_sides
from commands.job import Job, gate_job
from commands.options import gate_load_options, output_options, target_options
from profiling.errors import DataError, ExitCode, OomproofError, OutputError
from profiling.experiments import record
from profiling.experiments.gate import ERROR, LOOKS, WARM
from profiling.experiments.gate_verdict import policy_of
from profiling.judging.change_words import NAMES, changed, level
from profiling.judging.regression import compare
from profiling.measuring import store
from profiling.measuring.revisions import Repository
from profiling.regressions import HEAD, Baseline, GateRecord, RunFigures

_RUNS = LOOKS[1]
"""Of a baseline, so that four runs against it already have a narrow interval."""


@click.group()
def baseline() -> None:
    """What a service needed once, in a file, for `gate --baseline FILE` to hold a later one against."""


@baseline.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@target_options
@gate_load_options
@output_options
@click.pass_context
def update(ctx: click.Context, /, file: Path, sandbox: str, out: str, as_json: bool, **options: Any) -> None:
    """Measure the service as it is, write its figures to FILE, and say what changed.

    Nothing else writes FILE. A service that is killed, crashes or is over its budget never becomes the baseline.

    Exit code: 0 written, 1 the service does not hold, 3 too little was measured; then FILE stays as it was.
    """
    job = gate_job(**options)
    before = _before(file, job)
    _check_writable(file)
    directory = bench.new_directory(out, "baseline")
    experiment = bench.started_experiment(directory, record.GATE, HEAD, job.budget)
    gated = msgspec.structs.replace(started_record(job), max_turns=_RUNS)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sides(sandbox, None, job.target, observer, job.load.workers) as sides,
    ):
        runs = Runs(job, sides, observer, directory, experiment, gated)
        runs.make_all()
    report = record.report(directory, runs.experiment)
    results.write_files(report)
    results.show(report, as_json)
    code = results.exit_code(report)
    if code is ExitCode.OK:
        made = _made(job, runs.gated, directory)
        store.write_atomically(file, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
        click.echo("\n".join(_changes(file, before, made, runs.gated)), err=as_json)
    else:
        click.echo(f"{file} is not written: {report.verdict.sentence}", err=True)
    ctx.exit(code)


def _before(file: Path, job: Job) -> Baseline | str | None:
    """What FILE holds; as text, why it cannot be compared with; None where it is not there."""
    if not file.exists():
        return None
    try:
        return load_baseline(file, job)
    except DataError:
        return "what it held could not be read"
    except OomproofError as error:
        return error.message


def _check_writable(file: Path) -> None:
    try:
        store.make_directory(file.resolve().parent)
    except OutputError as error:
        raise OutputError(error.message, "name another FILE") from error


def _made(job: Job, gated: GateRecord, directory: Path) -> Baseline:
    result = store.load(directory / gated.runs[-1].directory).result
    assert result.environment is not None
    return Baseline(
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        target=job.target.name,
        revision=_revision(),
        memory_limit_bytes=job.limits.memory_bytes,
        users=job.load.peak_users,
        duration_s=job.load.duration_s,
        rate=job.load.rate,
        sandbox=result.sandbox,
        environment=result.environment,
        runs=_counted(gated),
    )


def _counted(gated: GateRecord) -> tuple[RunFigures, ...]:
    return tuple(run.figures for run in gated.runs if run.set != WARM and not run.figures.unusable)


def _revision() -> str:
    try:
        return Repository(Path.cwd()).commit("HEAD").sha
    except OomproofError:
        return ""


def _changes(file: Path, before: Baseline | str | None, made: Baseline, gated: GateRecord) -> list[str]:
    """In lines for people: what FILE says now that it did not."""
    if before is None:
        return [f"{file}: written, for the first time"]
    if isinstance(before, str):
        return [f"{file}: written anew; {before}"]
    tolerances = policy_of(gated).tolerances
    found = compare(before.runs, made.runs, tolerances, ERROR)
    lines = [
        f"  {NAMES[metric.name]}: {level(metric, metric.base)} → {level(metric, metric.head)}, {changed(metric)}"
        for metric in found
        if metric.base and metric.head
    ]
    return [f"{file}: written; it was made at {before.created_at}", *lines]
