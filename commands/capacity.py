"""`capacity`: the largest load that a service carries under its limits, and what limits it."""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec

from commands import bench, results
from commands.capacity_runs import Runs
from commands.job import choose_target, make_job
from commands.options import RATE, SECONDS, duration_option, output_options, target_options, worker_options
from commands.sandbox import open_sandbox
from loadtests.workers import Workers
from profiling.capacities import By, CapacityRecord
from profiling.errors import ConfigError
from profiling.experiments import record
from profiling.experiments.capacity import MAX_TRIALS, RATE_STEP

_MAX_USERS = 256
_MAX_RATE = 1000.0


@click.command()
@click.argument("variant", required=False)
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    help="Raise the number of users, each of whom sends again once it was answered, or the rate at which requests are due."
    " Default: rate where --rate or the config file names one, else users.",
)
@click.option(
    "--users",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="How many users it starts with. Default: 1. With --by rate: how many requests may be in flight at once.",
)
@click.option(
    "--max-users",
    type=click.IntRange(1, 10_000),
    default=_MAX_USERS,
    show_default=True,
    metavar="N",
    help="No more users than so many are tried.",
)
@click.option(
    "--rate",
    type=RATE,
    metavar="REQ/S",
    help="Open loop: the rate it starts with; so many requests per second are due, whatever the answers, and latency counts"
    " from then. Default: 1.",
)
@click.option(
    "--max-rate",
    type=RATE,
    default=_MAX_RATE,
    show_default=True,
    metavar="REQ/S",
    help="No higher rate than this is tried.",
)
@click.option(
    "--max-p95",
    type=SECONDS,
    metavar="TIME",
    help="A load whose p95 latency is over this fails, such as 500ms. Default: the config file's, else none.",
)
@click.option(
    "--max-trials",
    type=click.IntRange(2, 100),
    default=MAX_TRIALS,
    show_default=True,
    metavar="N",
    help="The most runs in all.",
)
@target_options
@duration_option
@worker_options
@output_options
@click.pass_context
def capacity(
    ctx: click.Context,
    /,
    variant: str | None,
    by: str | None,
    max_users: int,
    max_rate: float,
    max_p95: float | None,
    max_trials: int,
    workers: Workers | None,
    sandbox: str,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the largest load that passes under the limits and the budget, and say what limits it.

    The load starts at --users (default 1) or --rate (default 1 request/s), doubles until it fails, and is then narrowed to a
    tenth; both ends are tried twice. A load fails when the service is OOM-killed, hangs at the limit, fails requests, or
    breaks its budget, or when it cannot keep the rate. Instead of a config file, a command can stand behind --:
    capacity --memory 512MiB -- gunicorn app:app --bind {host}:{port}

    VARIANT is one of the config file's variants; the service as it is where none is named.

    Exit code: 0 there is an answer, 1 even the smallest load fails, 3 nothing can be said: the load generator was the
    bottleneck before anything failed, for one.
    """
    job = make_job(command=ctx.obj or (), **options)
    if max_p95 is not None:
        job = msgspec.structs.replace(job, budget=msgspec.structs.replace(job.budget, max_p95_ms=1000 * max_p95))
    raised = By(by) if by else By.USERS if job.load.rate is None else By.RATE
    if raised is By.USERS and options["rate"] is not None:
        raise click.UsageError("--rate and --by users are both given; leave one of them out")
    highest = float(max_users) if raised is By.USERS else max_rate
    start = options["users"] if raised is By.USERS else options["rate"]
    least = workers.remote if workers is not None and raised is By.USERS else 0
    searched = _record(raised, start, highest, max_trials, max(1, least))
    if raised is By.RATE and job.target.locustfile:
        raise ConfigError(
            "the users of a locustfile decide themselves when they send: a rate cannot be kept", "use --by users"
        )
    target, name = choose_target(job, variant)
    started = time.monotonic()
    directory = bench.new_directory(out, record.CAPACITY)
    experiment = bench.started_experiment(directory, record.CAPACITY, name, job.budget)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sandbox(sandbox, target, observer, workers) as opened,
    ):
        bench.prepare(target, opened, observer)
        in_flight = options["users"] if raised is By.RATE else None
        runs = Runs(job, target, opened, observer, directory, experiment, searched, in_flight, workers)
        runs.make_all()
        report = results.finish(directory, runs.experiment, started, observer)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


def _record(by: By, start: float | None, highest: float, max_trials: int, lowest: int) -> CapacityRecord:
    """A search with nothing run yet. `lowest`: workers on other machines want a user each. Raises UsageError where it would
    begin beyond its end."""
    step = 1.0 if by is By.USERS else RATE_STEP
    begin = min(max(1.0, lowest), highest) if start is None else start
    first, last = round(begin / step), round(highest / step)
    option, most = ("--users", "--max-users") if by is By.USERS else ("--rate", "--max-rate")
    if min(first, last) < 1:
        raise click.UsageError(f"the smallest rate is {RATE_STEP:g} requests/s")
    if first > last:
        raise click.UsageError(f"{option} {begin:g} is where it starts, and beyond {most} {highest:g}; raise {most}")
    if first < lowest:
        raise click.UsageError(f"{lowest} load workers for {first} users: some would send nothing; raise {option}")
    return CapacityRecord(by=by, step=step, start=first, lowest=lowest, highest=last, max_trials=max_trials)
