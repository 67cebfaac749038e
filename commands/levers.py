"""`levers`: which piece of advice saves memory here, what it costs, and the best of them together."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from commands import bench, results
from commands.job import Job, choose_target, make_job
from commands.levers_runs import Runs
from commands.options import LEVERS_DURATION_S, levers_load_options, output_options, target_options
from commands.sandbox import open_sandbox
from profiling.advice import catalogue
from profiling.advice.plans import next_plans
from profiling.errors import ConfigError
from profiling.experiments import levers_record, record
from profiling.levers import Lever, LeversRecord
from profiling.manifests import catalogue as plans
from profiling.measuring.events import ExperimentStarted
from profiling.measuring.imports.kernel import default_limit
from profiling.measuring.sandboxes.containers import ENGINES
from profiling.units import format_bytes
from profiling.values import Target


@click.command()
@click.argument("variant", required=False)
@click.option("--only", multiple=True, metavar="LEVER", help="Try this one; can be given several times. Default: all.")
@click.option("--skip", multiple=True, metavar="LEVER", help="Leave this one out; can be given several times.")
@target_options
@levers_load_options
@output_options
@click.pass_context
def levers(
    ctx: click.Context,
    /,
    variant: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    sandbox: str,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Try each memory lever on the service, rank what it saves and costs, and find the best of them together.

    A lever is advice of the usual guides that needs no change of code: fewer workers, threads, preloading, malloc's arenas,
    jemalloc, python -O and more, and the config file's own ([levers.NAME]). Each has several runs in turns with the service as
    it is; then the best are put together, one after the other, and each is kept only if it really saves more. The output ends
    with what to paste. Instead of a config file, a command can stand behind --: levers --memory 512MiB -- gunicorn app:app

    VARIANT is one of the config file's variants; the service as it is where none is named.

    Exit code: 0 it survives its limit, as it is or with levers, 1 it survives with none, 3 too little was measured to say so.
    """
    job = make_job(command=ctx.obj or (), default_duration_s=LEVERS_DURATION_S, **options)
    if job.target.is_system:
        raise ConfigError(
            f"{job.target.name} has {len(job.target.services)} services, each with a limit of its own",
            "give `levers` a config file with the one service that matters as [target]",
        )
    target, name = choose_target(job, variant)
    target, sandbox = _placed(target, sandbox)
    known = catalogue(target, os.environ, job.levers)
    asked = _asked(job, target, _chosen(known, only, skip))
    started = time.monotonic()
    directory = bench.new_directory(out, record.LEVERS)
    experiment = bench.started_experiment(directory, record.LEVERS, name, job.budget)
    levers_record.save(directory, asked)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sandbox(sandbox, target, observer, job.load.workers) as opened,
    ):
        tried = sum(not lever.left_out for lever in asked.levers)
        title = f"levers {name}: {tried} to try at {format_bytes(asked.limit_bytes)}"
        observer.notify(ExperimentStarted(title=title, runs=()))
        runs = Runs(job, target, opened, observer, directory, experiment, asked)
        runs.make_all()
        report = results.finish(directory, runs.experiment, started, observer)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


def _placed(target: Target, sandbox: str) -> tuple[Target, str]:
    """The target as it will run, and where: a process of this machine wherever there is a command for it, since only there a
    lever can change all of it."""
    service = target.service
    if sandbox == "auto" and service.command:
        return target, "cgroup"
    if sandbox in ENGINES and service.image is not None and service.command:
        contained = msgspec.structs.replace(service, command=())
        return msgspec.structs.replace(target, services=(contained,)), sandbox
    return target, sandbox


def _chosen(known: Sequence[Lever], only: Sequence[str], skip: Sequence[str]) -> tuple[Lever, ...]:
    """Those that are asked for. Raises UsageError for an unknown name, and where none is left."""
    names = [lever.name for lever in known]
    for name in (*only, *skip):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise click.UsageError(f"unknown lever {name!r}. {hint}Known here: {', '.join(names)}")
    found = tuple(lever for lever in known if (not only or lever.name in only) and lever.name not in skip)
    if all(lever.left_out for lever in found):
        why = "; ".join(f"{lever.name}: {lever.left_out}" for lever in found) or "--skip leaves none"
        raise click.UsageError(f"there is no lever to try: {why}")
    return found


def _asked(job: Job, target: Target, chosen: tuple[Lever, ...]) -> LeversRecord:
    limit = job.limits.memory_bytes
    service = target.service
    command = service.command or (service.image.command if service.image else ())
    return LeversRecord(
        target=target.name,
        command=command,
        limit_bytes=limit,
        raised_bytes=max(limit, default_limit(within_session=True)),
        tolerance=job.budget.tolerance,
        users=job.load.peak_users,
        levers=chosen,
        plans=next_plans(plans.load().with_plans(job.plans).plans, limit),
    )
