"""`compare`: which variants survive the same load under the same limits."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import msgspec

from commands import bench, grid, results
from commands.job import Job, choose_variants, make_job
from commands.options import capture_option, load_options, output_options, target_options
from commands.sandbox import open_sandbox
from loadtests.plan import Stage
from profiling.experiments import record
from profiling.experiments.compare import Compare
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.judging.ledger import explain_with_ledger
from profiling.judging.report import AnalysedRun
from profiling.measuring.events import ExperimentStarted, Observer, PhaseStarted
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.memray_pass import record_pass
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.stopping import StopWhen
from profiling.profiles import Profile
from profiling.values import Variant


@click.command()
@click.argument("variants", nargs=-1, metavar="[A B ...]")
@click.option(
    "--grid",
    "axes",
    multiple=True,
    metavar="KEY=V1,V2 ...",
    help="A run for each combination of these values instead: workers=1,2 threads=4,16 preload=on,off users=8,64"
    " memory=256MiB,512MiB, and any environment variable in capitals.",
)
@click.option(
    "--infer",
    is_flag=True,
    help="With --grid: leave out cells with no fewer users in no more memory than one that ran out of memory, and mark them.",
)
@target_options
@load_options
@click.option(
    "--repeats",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs of each variant or cell, in turns.",
)
@click.option(
    "--profile/--no-profile",
    default=None,
    help="A memray pass of each variant, after the measured runs: flame graphs and the lines that held the memory."
    " Default: on, but not with --grid.",
)
@click.option(
    "--stop-early",
    is_flag=True,
    help="End a run as soon as its outcome is certain: at the first OOM kill, or when its budget cannot be kept any more."
    " With --grid that is always so.",
)
@capture_option
@output_options
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    variants: tuple[str, ...],
    axes: tuple[str, ...],
    infer: bool,
    sandbox: str,
    repeats: int,
    profile: bool | None,
    stop_early: bool,
    capture_limit: int,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Run each variant under the same limits and the same load, and say which survive.

    The last variant named is the candidate. The reference target has per-request, singleton and lazy; without names
    it compares per-request with singleton. "Proved" means: another variant was OOM-killed, by the kernel's own count,
    and the candidate answered everything without a kill.

    With --grid each combination of settings is a cell that holds its load or does not: compare --grid workers=1,2
    users=8,64. Variants that are named are one more axis.

    Exit code: 0 the candidate survived, 1 it did not, 3 nothing can be said. With --grid: 0 every cell is known and some hold,
    1 none holds, 3 of some cell nothing can be said.
    """
    if ctx.obj:
        raise click.UsageError("compare takes no command after --; write a config file with variants (docs/config.md)")
    texts, variants = grid.split(axes, variants)
    if axes:
        if profile:
            raise click.UsageError("--profile: a grid makes no memray passes; compare two of its cells as variants")
        found = grid.run(
            grid.parsed(texts), variants, sandbox=sandbox, repeats=repeats, infer=infer, out=out, options=options
        )
        results.show(found, as_json)
        ctx.exit(results.exit_code(found))
    if infer:
        raise click.UsageError("--infer is for cells of a --grid; leave it out")
    job = make_job(command=(), **options)
    chosen = choose_variants(job, variants)
    started = time.monotonic()
    directory = bench.new_directory(out, record.COMPARE)
    experiment = bench.started_experiment(directory, record.COMPARE, chosen[-1].name, job.budget)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sandbox(sandbox, job.target, observer, job.load.workers) as opened,
    ):
        bench.prepare(job.target, opened, observer)
        policy = Compare([variant.name for variant in chosen], repeats=repeats, profile=profile is not False)
        observer.notify(
            ExperimentStarted(
                title=f"compare {job.target.name}",
                runs=tuple(_title(step) for step in (*policy.planned, *policy.passes)),
            )
        )
        stop_when = StopWhen.decided(job.budget) if stop_early else None
        runner = _Runner(job, chosen, opened, observer, directory, experiment, capture_limit, stop_when)
        with contextlib.closing(runner):
            carry_out(policy, runner.make)
            runner.finish(started)
        observer.notify(PhaseStarted(run="", phase="report"))
        report = record.report(directory, runner.experiment)
        results.write_files(report)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


_LONGEST_PASS_S = 10.0


def shortened(plan: RunPlan) -> RunPlan:
    """The plan with a load of at most ten seconds: a memray pass explains what is held, and that shows soon."""
    load = plan.load
    if load.duration_s <= _LONGEST_PASS_S:
        return plan
    stage = Stage(load.peak_users, _LONGEST_PASS_S)
    return msgspec.structs.replace(plan, load=msgspec.structs.replace(load, stages=(stage,)))


def _title(step: Step) -> str:
    name = step.variant if step.repeat == 1 else f"{step.variant} #{step.repeat}"
    return f"{name} (memray pass)" if step.profile else name


class _Runner:
    """Makes the steps one by one; `experiment.json` is up to date after each, so that a later failure loses nothing."""

    def __init__(
        self,
        job: Job,
        variants: tuple[Variant, ...],
        sandbox: Sandbox,
        observer: Observer,
        directory: Path,
        experiment: Experiment,
        capture_limit: int,
        stop_when: StopWhen | None,
    ) -> None:
        self.experiment = experiment
        self._stop_when = stop_when
        self._capture_limit = capture_limit
        self._job = job
        self._variants = {variant.name: variant for variant in variants}
        self._sandbox = sandbox
        self._observer = observer
        self._directory = directory
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._explaining: list[Future[Profile]] = []
        self._stop = threading.Event()

    def make(self, step: Step) -> AnalysedRun | None:
        """Make one step. None for a memray pass, which judges nothing."""
        target = self._job.target.with_env(self._variants[step.variant].env)
        plan = RunPlan(
            name=_title(step),
            variant=step.variant,
            target=target,
            limits=self._job.limits,
            load=self._job.load,
            argv=self.experiment.argv,
            port=self._job.port,
            cold=step.cold,
            stop_when=None if step.profile else self._stop_when,
        )
        number = len(self.experiment.runs) + len(self.experiment.passes) + 1
        if step.profile:
            self._pass(plan, f"{number}-memray-{step.variant}")
            return None
        name = f"{number}-{step.variant}"
        self._note(runs=(*self.experiment.runs, name))
        measure(plan, self._sandbox, self._directory / name, self._observer)
        return record.load_run(self._directory / name, self.experiment.budget)

    def _pass(self, plan: RunPlan, name: str) -> None:
        place = self._directory / name
        recorded = record_pass(shortened(plan), self._sandbox, place, self._observer, self._capture_limit)
        if isinstance(recorded, Profile):
            self._note(profiles=(*self.experiment.profiles, recorded))
            return
        self._note(passes=(*self.experiment.passes, name))
        # Explained while the next pass runs: that one judges nothing either.
        self._explaining.append(
            self._pool.submit(explain_with_ledger, recorded, source_lines="CI" not in os.environ, stop=self._stop)
        )

    def finish(self, started: float) -> None:
        """Wait for the explanations. `started`: when all began, by time.monotonic()."""
        if any(not future.done() for future in self._explaining):
            self._observer.notify(PhaseStarted(run="", phase="flame graphs"))
        explained = [future.result() for future in self._explaining]
        order = list(self._variants)
        profiles = sorted((*self.experiment.profiles, *explained), key=lambda profile: order.index(profile.variant))
        self._note(profiles=tuple(profiles))
        self._note(elapsed_s=time.monotonic() - started)

    def close(self) -> None:
        """Give up explanations that nobody waits for any more."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _note(self, **changes: object) -> None:
        self.experiment = msgspec.structs.replace(self.experiment, **changes)
        record.save(self._directory, self.experiment)
