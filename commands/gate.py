"""`gate`: whether a change makes a service need more memory, by runs of both revisions under the same limit and load."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from commands import bench, gate_results, results
from commands.gate_baseline import described, doubts, load_baseline
from commands.gate_passes import make_passes
from commands.gate_runs import Runs, open_sides
from commands.job import Job, gate_job
from commands.options import capture_option, gate_load_options, output_options, target_options
from commands.sides import Change, base_target, environments, find_change, temporary_environments
from profiling.experiments import record
from profiling.experiments.gate import BUDGET_RUNS, LOOKS
from profiling.experiments.gate_passes import asks_for_passes
from profiling.measuring.events import Observer, PhaseStarted
from profiling.regressions import HEAD, Against, GateRecord, Side
from profiling.values import Target


@click.command()
@click.option("--base", metavar="REV", help="The revision to compare with, such as origin/main or HEAD~1.")
@click.option("--baseline", metavar="FILE", help="What `baseline update` wrote, to compare with instead.")
@click.option(
    "--max-runs",
    type=click.IntRange(LOOKS[0], 100),
    default=LOOKS[-1],
    show_default=True,
    metavar="N",
    help="The most runs of each side, and as many again to confirm a regression.",
)
@click.option(
    "--profile/--no-profile",
    default=None,
    help="A memray pass of each side after the judged runs: its peak heap, and the lines that hold more in head."
    " Default: only where memory regressed from --base.",
)
@capture_option
@target_options
@gate_load_options
@gate_results.file_options
@output_options
@click.pass_context
def gate(
    ctx: click.Context,
    /,
    base: str | None,
    baseline: str | None,
    max_runs: int,
    profile: bool | None,
    capture_limit: int,
    markdown: str | None,
    junit: str | None,
    sandbox: str,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Say whether the working tree needs more memory than REV: both run in turns under the same limit and load.

    It stops as soon as the answer is clear. A regression is one whose whole interval lies above the tolerance
    ([budget] tolerance, 1 %), in two independent sets of runs. Head is the working tree as it is, base a checkout beside it.
    Without REV and FILE head is held against the absolute limits of [budget] alone.

    Exit code: 0 no regression or an improvement, 1 regressed or over budget, 3 nothing can be said.
    """
    if base is not None and baseline is not None:
        raise click.UsageError("--base and --baseline are both given; compare with one of them")
    if profile and base is None:
        raise click.UsageError("--profile compares the heap of both sides; give --base")
    files = gate_results.openable(markdown, junit)
    change = None if base is None else find_change(base, options["target"], out)
    job = gate_job(**options)
    gated = started_record(job)
    if base is not None or baseline is not None:
        gated = msgspec.structs.replace(gated, max_turns=max_runs)
    if baseline is not None:
        stored = load_baseline(Path(baseline), job)
        gated = msgspec.structs.replace(
            gated,
            against=Against.BASELINE,
            base=Side(label=described(stored), commit=stored.revision or None),
            stored=stored.runs,
            doubt=doubts(stored),
        )
    started = time.monotonic()
    directory = bench.new_directory(out, record.GATE)
    experiment = bench.started_experiment(directory, record.GATE, HEAD, job.budget)
    with bench.interruptible_in(directory), bench.watching(job.notes) as observer:
        with (
            _targets(change, job, gated, directory, options["checkpoint"], observer) as (base_side, head_side, named),
            open_sides(sandbox, base_side, head_side, observer, job.load.workers) as sides,
        ):
            runs = Runs(job, sides, observer, directory, experiment, named)
            runs.make_all()
            if change is not None and asks_for_passes(runs.gated, profile):
                make_passes(runs, change.repository.root, capture_limit)
        report = results.finish(directory, runs.experiment, started, observer)
    gate_results.write(report, files)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


def started_record(job: Job) -> GateRecord:
    """A gate of the working tree against its budget, with nothing run yet."""
    return GateRecord(
        base=None,
        head=Side(label="working tree"),
        tolerance=job.budget.tolerance,
        growth_tolerance_bytes=job.budget.max_growth_bytes_per_request,
        max_turns=BUDGET_RUNS,
        warm=not job.target.prepare,  # whose set-up writes the bytecode
        against=Against.BUDGET,
    )


@contextlib.contextmanager
def _targets(
    change: Change | None, job: Job, gated: GateRecord, directory: Path, checkpoint: str | None, observer: Observer
) -> Iterator[tuple[Target | None, Target, GateRecord]]:
    """Base's service and head's, with the record that names them; base is checked out within the block."""
    if change is None:
        yield None, job.target, gated
        return
    with change.repository.worktree(change.base, directory) as worktree, temporary_environments(directory):
        base, notes = base_target(change, job, worktree, checkpoint)
        observer.notify(PhaseStarted(run="", phase="set-up"))
        base, head, more = environments(change, base, job.target, worktree, directory)
        of_base, of_head = change.sides
        notes += more
        named = msgspec.structs.replace(gated, against=Against.BASE, base=of_base, head=of_head, notes=tuple(notes))
        yield base, head, named
