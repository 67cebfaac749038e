"""`imports`: what each import costs, as a tree, and what a later import would save at the start."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from commands import bench, results
from commands.job import make_job
from commands.options import SECONDS, output_options, target_options
from commands.sandbox import open_sandbox
from loadtests.plan import RequestTemplate
from profiling import reference
from profiling.errors import CannotRunError, DataError, ExitCode, InterruptedRunError
from profiling.experiments import imports as experiment
from profiling.experiments.imports import Imports
from profiling.import_costs import ImportCosts, ImportsRun
from profiling.measuring import store
from profiling.measuring.capture import CannotTrackError
from profiling.measuring.events import ExperimentStarted, Observer
from profiling.measuring.imports.kernel import counters_lag, default_limit
from profiling.measuring.imports.start import ImportPlan, open_starter
from profiling.measuring.interrupts import ignore_further
from profiling.measuring.sandboxes.base import Sandbox
from profiling.values import Limits, Service, Target
from reports.imports import RENDERERS, folded, report_path

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_TIMEOUT_S = 60.0
_DEPTH = 2
_EXIT = {"pass": ExitCode.OK, "fail": ExitCode.FAILED}


@click.command()
@click.argument("modules", nargs=-1, metavar="[MODULE ...]")
@target_options
@click.option(
    "--python", metavar="PATH", help="The interpreter for MODULE. Default: the config file's, else the active one's."
)
@click.option(
    "--repeats", type=click.IntRange(1, 50), default=3, show_default=True, help="Fresh interpreters of each kind."
)
@click.option(
    "--cold/--no-cold",
    default=True,
    help="Whether half of the starts have the program's files dropped from the page cache before. Default: yes.",
)
@click.option(
    "--lazy",
    type=click.IntRange(0, 50),
    default=3,
    show_default=True,
    metavar="N",
    help="Measure for so many import statements what importing later would save, each in a start of its own.",
)
@click.option(
    "--timeout",
    type=SECONDS,
    metavar="TIME",
    help="The longest that one start may take. Default: the target's, else 60s.",
)
@click.option(
    "--depth", type=click.IntRange(1, 100), default=_DEPTH, show_default=True, help="Levels of the tree that are shown."
)
@click.option(
    "--folded",
    "folded_file",
    metavar="FILE",
    help="Write folded stacks for flame graph tools; weight: anonymous bytes.",
)
@output_options
@click.pass_context
def imports(
    ctx: click.Context,
    /,
    modules: tuple[str, ...],
    python: str | None,
    repeats: int,
    cold: bool,
    lazy: int,
    timeout: float | None,
    depth: int,
    folded_file: str | None,
    sandbox: str,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what each import costs in memory, as a tree, and which import statements would save most if they came later.

    MODULE is imported in a fresh interpreter; several one after the other. Without one, the target's own command
    is started and recorded until it is ready; instead of a config file, a command can stand behind --:
    imports -- gunicorn app:app --bind {host}:{port}

    Exit code: 0 recorded to the end, 1 an import failed, was killed or did not return, 4 it is no Python program.
    """
    for name in modules:
        if name.endswith(".py") and Path(name).is_file():
            raise click.UsageError(f"{name!r} is a file; name the module: {name.removesuffix('.py').replace('/', '.')}")
        if not _MODULE.fullmatch(name):
            raise click.UsageError(
                f"{name!r} is no module's name; write it as in an import statement, like app or app.models"
            )
    if modules and ctx.obj:
        raise click.UsageError("name modules, or a command after --, not both")
    if python is not None and not modules:
        raise click.UsageError("--python goes with MODULE; a command after -- names its own interpreter")
    memory = options.pop("memory")
    cpus = options.pop("cpus")
    target, timeout_s, port, notes = _target(modules, python, ctx.obj or (), memory, options)
    folded_path = results.openable(folded_file, "--folded")
    directory = bench.new_directory(out, "imports")
    with bench.watching(notes) as observer, open_sandbox(sandbox, target, observer) as opened:
        bench.prepare(target, opened, observer)
        limit = memory or default_limit(within_session=opened.image is None)
        plan = ImportPlan(
            name=", ".join(modules) or target.name,
            target=target,
            modules=modules,
            limits=Limits(memory_bytes=limit, cpus=cpus),
            timeout_s=timeout or timeout_s,
            port=port,
            walk=counters_lag(),
        )
        policy = Imports(repeats=repeats, cold=cold, lazy=lazy, modules=modules)
        run, found = _record(policy, plan, opened, directory, observer)
    _check_found(run, found)
    write_files(directory, run, found)
    if folded_path is not None:
        store.write_atomically(folded_path, folded.render_folded(found).encode("utf-8", "replace"))
    click.echo(RENDERERS["json" if as_json else "text"](run, found, directory, depth), nl=False)
    ctx.exit(_EXIT.get(found.status, ExitCode.CANNOT_RUN))


def _record(
    policy: Imports, plan: ImportPlan, sandbox: Sandbox, directory: Path, observer: Observer
) -> tuple[ImportsRun, ImportCosts]:
    """Make all starts; what was recorded until an interruption is kept and said. Raises CannotRunError."""
    try:
        starter = open_starter(plan, sandbox, directory)
    except CannotTrackError as reason:
        raise CannotRunError(
            f"the imports of {plan.name} cannot be recorded: {reason}",
            "name the Python command itself, or modules: imports MODULE --python PATH",
        ) from None
    run = experiment.described(plan, starter, sandbox, tuple(sys.orig_argv[1:]))
    experiment.save(directory, run)
    observer.notify(ExperimentStarted(title=f"imports {plan.name}", runs=()))
    try:
        run, _ = experiment.make(policy, starter, directory, run, observer)
    except KeyboardInterrupt:
        ignore_further()  # whoever asks twice means the same, and what there is must be saved
        experiment.save(directory, msgspec.structs.replace(experiment.load(directory), interrupted=True))
        raise InterruptedRunError(
            f"interrupted; what was recorded is in {directory}", f"see it with: report {directory}"
        ) from None
    return run, experiment.load_costs(directory, run)


def _target(
    modules: tuple[str, ...], python: str | None, command: tuple[str, ...], memory: int | None, options: dict[str, Any]
) -> tuple[Target, float, int | None, tuple[str, ...]]:
    """What is started, how long it may take, its port, and what should be known of where that comes from.

    Modules without a config file are imported in the working directory, by the interpreter that is active there.
    """
    if modules and (python is not None or _is_bare(options["target"])):
        interpreter = python or _active_python()
        service = Service(command=(interpreter, "-c", "pass"), directory=str(Path.cwd()))
        request = RequestTemplate()
        name = Path.cwd().name
        return Target(name=name, services=(service,), request=request, reads=(str(Path.cwd()),)), _TIMEOUT_S, None, ()
    # Any limit will do: the one in force is chosen later.
    job = make_job(command=command, memory=memory or reference.DEFAULT_MEMORY_BYTES, cpus=None, **options)
    return job.target, job.target.service.startup_timeout_s, job.port, job.notes


def _is_bare(target: str | None) -> bool:
    from profiling import config

    return target is None and config.find(Path.cwd()) is None


def _active_python() -> str:
    """The active virtual environment's interpreter, else the one that runs this tool."""
    active = os.environ.get("VIRTUAL_ENV")
    candidate = Path(active, "bin", "python") if active else Path(sys.executable)
    return str(candidate if candidate.exists() else sys.executable)


def _check_found(run: ImportsRun, found: ImportCosts) -> None:
    """Raises CannotRunError where not even the first module was there to be imported, or nothing was recorded."""
    first = run.starts[0] if run.starts else None
    said = (first.said if first else None) or found.problem or "it recorded nothing"
    if run.modules and not found.modules:
        raise CannotRunError(
            f"{run.name} cannot be imported by {run.interpreter}: {said}",
            "check its name, start it where the module is found, or name another interpreter with --python",
        )
    if found.status == "skipped":
        raise CannotRunError(f"no import was recorded: {said}", "see whether the command runs by itself")


def render_again(directory: Path, as_json: bool) -> ExitCode:
    """Show once more what was recorded into `directory`. Raises DataError where there is nothing in it."""
    run = experiment.load(directory)
    found = experiment.load_costs(directory, run)
    if found.status == "skipped":
        raise DataError(f"{directory} holds no imports: {found.problem}", "make it again")
    write_files(directory, run, found)
    click.echo(RENDERERS["json" if as_json else "text"](run, found, directory, _DEPTH), nl=False)
    return _EXIT.get(found.status, ExitCode.CANNOT_RUN)


def write_files(directory: Path, run: ImportsRun, found: ImportCosts) -> None:
    """Write report.html, result.json and imports.folded. Raises OutputError."""
    page, document = RENDERERS["html"](run, found, directory, 0), RENDERERS["json"](run, found, directory, 0)
    store.write_atomically(Path(report_path(directory)), page.encode("utf-8", "replace"))
    store.write_atomically(directory / "result.json", document.encode("utf-8", "replace"))
    store.write_atomically(directory / "imports.folded", folded.render_folded(found).encode("utf-8", "replace"))
