"""`profile`: one run under memray, and what held the memory in it."""

from __future__ import annotations

import datetime
import os
import sys
import time

import click
import msgspec

from commands import bench, results
from commands.job import choose_variants, make_job
from commands.options import capture_option, load_options, output_options, target_options
from commands.sandbox import open_sandbox
from profiling.errors import CannotRunError
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.judging.ledger import explain_with_ledger
from profiling.judging.report import Report
from profiling.measuring.events import PhaseStarted
from profiling.measuring.measure import RunPlan
from profiling.measuring.memray_pass import record_pass
from profiling.profiles import Profile
from reports.documents import Profiled
from reports.render import absolute
from reports.words import report_path


@click.command()
@click.argument("variant", required=False)
@target_options
@load_options
@click.option(
    "--source-lines/--no-source-lines",
    default="CI" not in os.environ,
    help="Whether flame graphs quote the service's source. Default: yes, but not where CI is set.",
)
@capture_option
@output_options
@click.pass_context
def profile(
    ctx: click.Context,
    /,
    variant: str | None,
    source_lines: bool,
    capture_limit: int,
    sandbox: str,
    out: str,
    as_json: bool,
    **options: object,
) -> None:
    """Run the service once under memray and say which lines of its code held the memory, with flame graphs.

    VARIANT is one of the target's variants (reference: per-request, singleton, lazy); the first where none is named.
    Instead of a config file, a command can stand behind --: profile --memory 512MiB -- gunicorn app:app

    The limit is raised by what memray itself costs, so this run never is the one that passes or fails.

    Exit code: 0 the service survived, 1 it did not, 4 memray cannot enter it.
    """
    job = make_job(command=ctx.obj or (), **options)  # type: ignore[arg-type]
    chosen = choose_variants(job, (variant,) if variant else ())[0]
    started = time.monotonic()
    directory = bench.new_directory(out, "profile")
    with bench.watching(job.notes) as observer, open_sandbox(sandbox, job.target, observer, job.load.workers) as opened:
        bench.prepare(job.target, opened, observer)
        plan = RunPlan(
            name=chosen.name,
            target=job.target.with_env(chosen.env),
            limits=job.limits,
            load=job.load,
            argv=tuple(sys.orig_argv[1:]),
            port=job.port,
        )
        name = f"1-memray-{chosen.name}"
        recorded = record_pass(plan, opened, directory / name, observer, capture_limit)
        if isinstance(recorded, Profile):
            raise CannotRunError(
                f"memray cannot enter this service: {recorded.reason}",
                "install memray where the service runs, name its Python command, or name a directory on a disk with --out",
            )
        observer.notify(PhaseStarted(run=chosen.name, phase="flame graphs"))
        found = explain_with_ledger(recorded, source_lines=source_lines)
        observer.notify(PhaseStarted(run=chosen.name, phase="report"))
        experiment = Experiment(
            command="profile",
            argv=plan.argv,
            candidate=chosen.name,
            budget=job.budget,
            created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            runs=(name,),
            profiles=(found,),
            elapsed_s=time.monotonic() - started,
        )
        record.save(directory, experiment)
        page = record.report(directory, experiment)
        results.write_files(page)
    if as_json:
        click.echo(_document(found, page))
    else:
        results.show(page, as_json=False)
    ctx.exit(results.exit_code(page))


def _document(found: Profile, page: Report) -> str:
    """The JSON of `profile`, with absolute paths."""
    shown = absolute(found, page.directory)
    document = Profiled(
        captures=shown.captures,
        flamegraphs=shown.flamegraphs,
        ledger=shown.ledger.entries if shown.ledger else (),
        autopsy=page.autopsies[0] if page.autopsies else None,
        profile=shown,
        report=report_path(page),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
