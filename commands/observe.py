"""`observe`: the memory of what runs already, against its limit, with or without load."""

from __future__ import annotations

import sys
import time
from urllib.parse import SplitResult, urlsplit

import click

from commands import bench, results
from commands.job import config_of, first_said, make_load
from commands.options import MEMORY, load_options, output_options
from commands.subjects import open_subject
from loadtests.plan import RequestTemplate
from loadtests.workers import Workers
from profiling import reference
from profiling.errors import ConfigError
from profiling.experiments import record
from profiling.measuring.events import ExperimentStarted
from profiling.measuring.sandboxes.containers import ENGINES
from profiling.measuring.watching.watch import WatchPlan, watch
from profiling.values import Budget


@click.command()
@click.option("--container", metavar="NAME", help="A running container of Docker or Podman, by its name or id.")
@click.option(
    "--cgroup", metavar="PATH", help="A memory cgroup: its directory, or its path as /proc/PID/cgroup shows it."
)
@click.option("--pid", type=click.IntRange(1), metavar="N", help="A running process, with its descendants.")
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="Whose container it is. auto: of the first engine that has one of that name.",
)
@click.option(
    "--memory",
    type=MEMORY,
    metavar="SIZE",
    help="Hold it against this limit, such as a plan's. Default: the smallest limit in force on it.",
)
@click.option(
    "--url",
    metavar="URL",
    help="Send load there, such as http://127.0.0.1:8000/items: GET requests where a path is given, else what [request] of"
    " the config file says. Default: no load; what comes by itself is seen all the same.",
)
@click.option(
    "--target",
    metavar="FILE",
    help="A config file, for its [request], [load] and [budget]. Default: the one here, if any.",
)
@load_options
@output_options
@click.pass_context
def observe(
    ctx: click.Context,
    /,
    container: str | None,
    cgroup: str | None,
    pid: int | None,
    engine: str,
    memory: int | None,
    url: str | None,
    target: str | None,
    users: int | None,
    duration: float | None,
    rate: float | None,
    workers: Workers | None,
    out: str,
    as_json: bool,
) -> None:
    """Watch the memory of something that runs already: a container, a cgroup, or a process with its descendants.

    It is only read: nothing is started, limited, or ended. It is watched until Ctrl-C or for --duration, and with --url for
    as long as the load lasts; then comes the same report as for any run.

    Exit code: 0 no kill (and with --url all was answered), 1 killed, ended, or over the limit, 3 nothing can be said.
    """
    if sum(name is not None for name in (container, cgroup, pid)) != 1:
        raise click.UsageError("name what to watch by one of --container, --cgroup and --pid")
    if url is None and any(said is not None for said in (users, rate, workers)):
        raise click.UsageError("--users, --rate and workers are for the load: say with --url where to send it")
    plan, budget = _plan(url, target, users, duration, rate, workers, memory)
    started = time.monotonic()
    directory = bench.new_directory(out, record.OBSERVE)
    with bench.watching() as observer, open_subject(container, cgroup, pid, engine, observer) as subject:
        name = subject.nature.name
        experiment = bench.started_experiment(directory, record.OBSERVE, name, budget, ("1-watch",))
        with bench.interruptible_in(directory):
            observer.notify(ExperimentStarted(title=f"observe {name}", runs=(name,)))
            watch(plan, subject, directory / experiment.runs[0], observer)
            report = results.finish(directory, experiment, started, observer, name)
    results.show(report, as_json)
    ctx.exit(results.exit_code(report))


def _plan(
    url: str | None,
    target: str | None,
    users: int | None,
    duration: float | None,
    rate: float | None,
    workers: Workers | None,
    memory: int | None,
) -> tuple[WatchPlan, Budget]:
    """What the options and the config file say. Raises ConfigError."""
    said = config_of(target, ())
    budget = said.budget if said else Budget()
    argv = tuple(sys.orig_argv[1:])
    if url is None:
        return WatchPlan(duration_s=duration, against_bytes=memory, argv=argv), budget
    parts = _checked(url)
    built_in = reference.target(reference.CHECKPOINTS[0], name=target) if target in reference.MADE_BY else None
    service = said.target if said else built_in
    request, locustfile = RequestTemplate(method="GET", path=_path(parts), json=None), None
    if service is not None and _path(parts) == "/":
        request, locustfile = service.request, service.locustfile
    load = make_load(
        first_said(users, said.users if said else None),
        first_said(duration, said.duration_s if said else None),
        first_said(rate, said.rate if said else None),
        workers,
    )
    address = f"{parts.scheme}://{parts.netloc}"
    return WatchPlan(
        load=load, url=address, request=request, locustfile=locustfile, against_bytes=memory, argv=argv
    ), budget


def _checked(url: str) -> SplitResult:
    """Raises ConfigError if load cannot be sent there."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"--url {url}: no address that load can be sent to", "give one like http://127.0.0.1:8000/items"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "--url: it holds a user's name or password", "set [request.headers] in a config file (--target)"
        )
    return parts


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
