"""`gate`: whether a change makes a service need more memory, by runs of both revisions under the same limit and load."""

from __future__ import annotations

import contextlib
import datetime
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from commands import bench, gate_results, results
from commands.job import Job, make_job
from commands.options import load_options, output_options, target_options
from commands.sandbox import open_sandbox
from commands.sides import base_target, environments, find_change
from loadtests.plan import LoadPlan
from profiling.experiments import gate_record, record
from profiling.experiments.gate import LOOKS, WARM, GateStep
from profiling.experiments.gate_verdict import policy_of
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.judging.regression import figures
from profiling.measuring import store
from profiling.measuring.events import ExperimentStarted, Note, Observer, PhaseStarted
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.regressions import BASE, HEAD, GateRecord, GateRun, RunFigures
from profiling.values import Target

_SETTLE_S = 1.0
_WARM_USERS, _WARM_S = 1, 1.0


@click.command()
@click.option("--base", metavar="REV", help="The revision to compare with, such as origin/main or HEAD~1.")
@click.option(
    "--max-runs",
    type=click.IntRange(LOOKS[0], 100),
    default=LOOKS[-1],
    show_default=True,
    metavar="N",
    help="The most runs of each side, and as many again to confirm a regression.",
)
@target_options
@load_options
@gate_results.file_options
@output_options
@click.pass_context
def gate(
    ctx: click.Context,
    /,
    base: str | None,
    max_runs: int,
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

    Exit code: 0 no regression or an improvement, 1 regressed or over budget, 3 nothing can be said.
    """
    if base is None:
        raise click.UsageError("name the revision to compare with: --base origin/main")
    files = gate_results.openable(markdown, junit)
    change = find_change(base, options["target"], out)
    job = make_job(command=(), **options)
    started = time.monotonic()
    directory = bench.new_directory(out, record.GATE)
    experiment = Experiment(
        command=record.GATE,
        argv=tuple(sys.orig_argv[1:]),
        candidate=HEAD,
        budget=job.budget,
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    record.save(directory, experiment)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        change.repository.worktree(change.base, directory) as worktree,
    ):
        base_side, notes = base_target(change, job, worktree, options["checkpoint"])
        observer.notify(PhaseStarted(run="", phase="set-up"))
        base_side, head_side, more = environments(change, base_side, job.target, worktree, directory)
        of_base, of_head = change.sides
        gated = GateRecord(
            base=of_base,
            head=of_head,
            tolerance=job.budget.tolerance,
            growth_tolerance_bytes=job.budget.max_growth_bytes_per_request,
            max_turns=max_runs,
            warm=not job.target.prepare,  # whose set-up writes the bytecode
            notes=(*notes, *more),
        )
        gate_record.save(directory, gated)
        for note in gated.notes:
            observer.notify(Note(text=note))
        with _sides(sandbox, base_side, head_side, observer) as sides:
            observer.notify(
                ExperimentStarted(title=f"gate {job.target.name}: {of_base.label} against {of_head.label}", runs=())
            )
            runner = _Runner(job, sides, observer, directory, experiment, gated)
            carry_out(policy_of(gated), runner.make)
        observer.notify(PhaseStarted(run="", phase="report"))
        experiment = record.with_elapsed(runner.experiment, time.monotonic() - started)
        record.save(directory, experiment)
        report = record.report(directory, experiment)
        results.write_files(report)
    gate_results.write(report, files)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


@dataclass(frozen=True, slots=True)
class _Side:
    target: Target
    sandbox: Sandbox


@contextlib.contextmanager
def _sides(name: str, base: Target, head: Target, observer: Observer) -> Iterator[dict[str, _Side]]:
    """Both in sandboxes of the same kind, prepared: a cgroup of this machine wherever both have a command for it."""
    commands = all(service.command for target in (base, head) for service in target.services)
    chosen = "cgroup" if name == "auto" and commands else name
    with open_sandbox(chosen, base, observer) as of_base, open_sandbox(chosen, head, observer) as of_head:
        bench.prepare(base, of_base, observer)
        bench.prepare(head, of_head, observer)
        yield {BASE: _Side(base, of_base), HEAD: _Side(head, of_head)}


class _Runner:
    """Makes the runs one by one; both records are up to date after each, so that a later failure loses nothing."""

    def __init__(
        self,
        job: Job,
        sides: dict[str, _Side],
        observer: Observer,
        directory: Path,
        experiment: Experiment,
        gated: GateRecord,
    ) -> None:
        self.experiment = experiment
        self._gated = gated
        self._job = job
        self._sides = sides
        self._observer = observer
        self._directory = directory

    def make(self, step: Step) -> RunFigures:
        assert isinstance(step, GateStep)
        side, warm = self._sides[step.variant], step.set == WARM
        name = f"{len(self.experiment.runs) + 1}-{step.variant}"
        self.experiment = msgspec.structs.replace(self.experiment, runs=(*self.experiment.runs, name))
        record.save(self._directory, self.experiment)
        plan = RunPlan(
            name=f"{step.variant}, first start"
            if warm
            else f"{step.variant} #{step.repeat}" + " again" * (step.set - 1),
            variant=step.variant,
            target=side.target,
            limits=self._job.limits,
            load=LoadPlan.constant(_WARM_USERS, _WARM_S) if warm else self._job.load,
            argv=self.experiment.argv,
            port=self._job.port,
            cold=None,  # what is judged is no page cache
            settle_s=0.0 if warm else _SETTLE_S,
        )
        place = self._directory / name
        measure(plan, side.sandbox, place, self._observer)
        found = figures(record.load_run(place, self.experiment.budget), store.load(place))
        run = GateRun(side=step.variant, set=step.set, directory=name, figures=found)
        self._gated = msgspec.structs.replace(self._gated, runs=(*self._gated.runs, run))
        gate_record.save(self._directory, self._gated)
        return found
