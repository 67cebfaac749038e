"""`serve`: the reference backend under the memory limit, in the foreground, for trying it by hand."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import click

from commands import bench
from commands.job import Job, make_job
from commands.options import target_options
from commands.sandbox import open_sandbox
from profiling import reference
from profiling.errors import CannotRunError, ExitCode
from profiling.measuring.interrupts import uninterrupted
from profiling.measuring.readiness import claim_port, free_port, is_ready
from profiling.measuring.sandboxes.base import Launch, Running
from profiling.units import format_bytes

_POLL_S = 0.1
_GRACE_S = 10.0


@click.command()
@click.option(
    "--lifecycle",
    type=click.Choice(reference.LIFECYCLES),
    default="singleton",
    show_default=True,
    help="When the model is loaded.",
)
@target_options
@click.pass_context
def serve(ctx: click.Context, /, lifecycle: str, target: str | None, sandbox: str, **options: Any) -> None:
    """Run the reference backend in the capped sandbox until Ctrl-C, and say when the kernel kills.

    Try it: curl -H 'Content-Type: application/json' -d '{"session_id": "me", "query": "How do I reset my password?"}'
    http://127.0.0.1:PORT/chat

    Exit code: 130 after Ctrl-C, 1 if it was OOM-killed or ended by itself.
    """
    if ctx.obj:
        raise click.UsageError("serve takes no command after --: it runs the reference backend")
    if target is not None and target not in reference.MADE_BY:
        raise click.UsageError(f"serve runs the reference backend only: --target {' or '.join(reference.MADE_BY)}")
    job = make_job(target=target or reference.NAME, command=(), **options)
    port = claim_port(job.port) if job.port else free_port()
    with contextlib.ExitStack() as stack:
        with bench.watching() as observer:
            opened = stack.enter_context(open_sandbox(sandbox, job.target, observer))
            bench.prepare(job.target, opened, observer)
        click.echo(f"oomproof: {opened.name}: {opened.reason}", err=True)
        service = job.target.with_env({"MODEL_LIFECYCLE": lifecycle}).service
        running = opened.start(
            Launch(service=service, limits=job.limits, port=port, directory=str(Path.cwd()), log=None)
        )
        try:
            code = _watch(running, job, opened.host, port)
        finally:
            with uninterrupted():
                running.stop(_GRACE_S)
                kills = running.counters().oom_kills
                running.close()
                click.echo(f"oomproof: ended; {kills} OOM kill{'' if kills == 1 else 's'} in all", err=True)
    ctx.exit(code)


def _watch(running: Running, job: Job, host: str, port: int) -> ExitCode:
    """Report readiness and kills until the service ends by itself."""
    service, limit = job.target.service, format_bytes(job.limits.memory_bytes)
    click.echo(f"oomproof: starting under {limit}; Ctrl-C ends it", err=True)
    ready, kills, deadline = False, 0, time.monotonic() + service.startup_timeout_s
    while (status := running.exit_status()) is None:
        if not ready:
            ready = is_ready(host, port, service.ready)
            if ready:
                click.echo(f"oomproof: ready at http://{host}:{port}", err=True)
            elif time.monotonic() > deadline:
                raise CannotRunError(f"not ready within {service.startup_timeout_s:g} s", "see its output above")
        counted = running.counters().oom_kills
        if counted > kills:
            click.echo(f"oomproof: OOM kill at {limit} ({counted} so far)", err=True)
            kills = counted
        time.sleep(_POLL_S)
    click.echo(f"oomproof: the service ended by itself with exit status {status}", err=True)
    return ExitCode.FAILED
