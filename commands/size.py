"""`size`: the smallest limit under which the load passes, with a failure on the other side, and the smallest plans that hold it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import msgspec

from commands import bench, results
from commands.job import Job, choose_target, make_job
from commands.options import FRACTION, load_options, output_options, target_options
from commands.sandbox import open_sandbox
from profiling.errors import ConfigError
from profiling.experiments import record, size_record
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.experiments.size import Size, SizeStep
from profiling.manifests import catalogue
from profiling.measuring.events import ExperimentStarted, Observer
from profiling.measuring.imports.kernel import default_limit
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.measuring.stopping import StopWhen
from profiling.sizing import SizeRecord, Tried
from profiling.units import format_bytes
from profiling.values import Target

_DEFAULT_HEADROOM = 0.10


@click.command()
@click.argument("variant", required=False)
@click.option(
    "--headroom",
    type=FRACTION,
    metavar="SHARE",
    help="What a plan must leave free of its memory, such as 20%. Default: [budget] min_headroom, or 10%.",
)
@target_options
@load_options
@output_options
@click.pass_context
def size(
    ctx: click.Context,
    /,
    variant: str | None,
    headroom: float | None,
    sandbox: str,
    out: str,
    as_json: bool,
    **options: object,
) -> None:
    """Find the smallest memory limit under which the service starts and passes the load, and the smallest plans that hold it.

    It starts at the limit that is given (--memory, the config file, the manifest; else a generous one), looks at what was
    needed, and tries limits around that: at most eight runs. Both sides of the answer are tried twice, at most 8 MiB or 3 %
    apart: the limit that passes, and the one below it at which the kernel kills or the budget is broken. A run that fails
    ends as soon as that is certain. Instead of a config file, a command can stand behind --: size -- gunicorn app:app

    VARIANT is one of the config file's variants; the service as it is where none is named.

    Exit code: 0 both sides are known, 1 it passes at no limit, 3 too little was measured to say so.
    """
    generous = default_limit(within_session=True)
    job = make_job(command=ctx.obj or (), otherwise_bytes=generous, **options)  # type: ignore[arg-type]
    if job.target.is_system:
        raise ConfigError(
            f"{job.target.name} has {len(job.target.services)} services, each with a limit of its own",
            "give `size` a config file with the one service to be sized as [target]",
        )
    target, name = choose_target(job, variant)
    asked = _asked(job, generous, headroom)
    started = time.monotonic()
    directory = bench.new_directory(out, record.SIZE)
    experiment = bench.started_experiment(directory, record.SIZE, name, job.budget)
    size_record.save(directory, asked)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sandbox(sandbox, target, observer, job.load.workers) as opened,
    ):
        bench.prepare(target, opened, observer)
        observer.notify(ExperimentStarted(title=f"size {job.target.name}", runs=()))
        runs = _Runs(job, target, opened, observer, directory, experiment)
        carry_out(Size(asked, name, job.budget.min_headroom), runs.make)
        report = results.finish(directory, runs.experiment, started, observer)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


def _asked(job: Job, generous: int, headroom: float | None) -> SizeRecord:
    if headroom is None:
        headroom = _DEFAULT_HEADROOM if job.budget.min_headroom is None else job.budget.min_headroom
    return SizeRecord(
        start_bytes=job.limits.memory_bytes,
        given=job.memory_given,
        highest_bytes=max(job.limits.memory_bytes, generous),
        headroom=headroom,
        cpus=job.limits.cpus,
        cpu_count=os.cpu_count() or 1,
        catalogue=size_record.catalogued(catalogue.load().with_plans(job.plans)),
    )


class _Runs:
    """Makes the runs one by one; `experiment.json` is up to date after each, so that a later failure loses nothing."""

    def __init__(
        self, job: Job, target: Target, sandbox: Sandbox, observer: Observer, directory: Path, experiment: Experiment
    ) -> None:
        self.experiment = experiment
        self._job = job
        self._target = target
        self._sandbox = sandbox
        self._observer = observer
        self._directory = directory

    def make(self, step: Step) -> Tried:
        """Raises as `measure` does."""
        assert isinstance(step, SizeStep)
        limit = format_bytes(step.limit_bytes) if step.limit_bytes % 2**20 else f"{step.limit_bytes // 2**20} MiB"
        name = f"{len(self.experiment.runs) + 1}-{limit.replace(' ', '')}"
        self.experiment = msgspec.structs.replace(self.experiment, runs=(*self.experiment.runs, name))
        record.save(self._directory, self.experiment)
        plan = RunPlan(
            name=limit if step.repeat == 1 else f"{limit} #{step.repeat}",
            variant=step.variant,
            target=self._target,
            limits=msgspec.structs.replace(self._job.limits, memory_bytes=step.limit_bytes),
            load=self._job.load,
            argv=self.experiment.argv,
            port=self._job.port,
            stop_when=StopWhen.decided(self._job.budget),
        )
        measure(plan, self._sandbox, self._directory / name, self._observer)
        return record.load_tried(self._directory / name, self.experiment.budget)[1]
