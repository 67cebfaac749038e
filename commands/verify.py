"""`verify`: one service under its limits, before the deploy; a checklist, pass or fail."""

from __future__ import annotations

import time

import click
import msgspec

from commands import bench, results
from commands.job import choose_target, make_job
from commands.options import load_options, output_options, target_options
from commands.sandbox import open_sandbox
from profiling.experiments import imports, record
from profiling.judging.imports.blame import starved_at_start
from profiling.measuring.events import ExperimentStarted
from profiling.measuring.measure import RunPlan, measure

_SETTLE_S = 3.0


@click.command()
@click.argument("variant", required=False)
@target_options
@load_options
@output_options
@click.pass_context
def verify(
    ctx: click.Context, /, variant: str | None, sandbox: str, out: str, as_json: bool, **options: object
) -> None:
    """Run the service once under its limits and say whether it can be deployed so.

    It must start in time and in the memory there is, listen on PORT, become ready, answer the load as agreed, keep its
    OpenAPI document if it has one, refuse bad input, stay alive, keep headroom, stay flat, and end on SIGTERM. Instead of
    a config file, a command can stand behind --: verify --memory 512MiB -- gunicorn app:app --bind {host}:{port}

    VARIANT is one of the config file's variants; the service as it is where none is named.

    Exit code: 0 all checks pass (warnings included), 1 one fails, 3 too little was measured to say so.
    """
    job = make_job(command=ctx.obj or (), **options)  # type: ignore[arg-type]
    target, name = choose_target(job, variant)
    started = time.monotonic()
    directory = bench.new_directory(out, record.VERIFY)
    experiment = bench.started_experiment(directory, record.VERIFY, name, job.budget, (f"1-{name}",))
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sandbox(sandbox, target, observer, job.load.workers) as opened,
    ):
        bench.prepare(target, opened, observer)
        observer.notify(ExperimentStarted(title=f"verify {job.target.name}", runs=(name,)))
        plan = RunPlan(
            name=name,
            target=target,
            limits=job.limits,
            load=job.load,
            argv=experiment.argv,
            port=job.port,
            settle_s=_SETTLE_S,
            probe=True,
        )
        measure(plan, opened, directory / experiment.runs[0], observer)
        if starved := starved_at_start(record.load_run(directory / experiment.runs[0], job.budget)):
            experiment = msgspec.structs.replace(experiment, imports=f"2-imports-{name}")
            record.save(directory, experiment)
            imports_plan = imports.plan_after_kill(target.alone(starved.result.target.service.name), opened)
            imports.after_kill(imports_plan, opened, directory / str(experiment.imports), experiment.argv, observer)
        report = results.finish(directory, experiment, started, observer, name)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))
