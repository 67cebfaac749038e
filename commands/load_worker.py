"""`load-worker`: a machine that sends a part of the load that a measurement on another machine asks for."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from commands.options import ADDRESS
from loadtests.joining import Joining
from loadtests.workers import MAX_WORKERS

_POLL_S = 0.1
_AGAIN_S = 3.0
"""After a load without a part for this one the next may be far off; each try costs a start of Python."""


@click.command("load-worker")
@click.argument("address", type=ADDRESS, metavar="HOST:PORT")
@click.option(
    "--processes",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    metavar="N",
    help="Workers on this machine; one keeps at most one core busy. Each counts for --load-workers.",
)
@click.option(
    "--loads",
    type=click.IntRange(1),
    metavar="N",
    help="End after a part in so many loads. Default: go on until Ctrl-C.",
)
def load_worker(address: tuple[str, int], processes: int, loads: int | None) -> None:
    """Join the loads of a measurement on another machine, as Locust workers.

    HOST:PORT is what was given there as --bind, by a name or an address that reaches that machine from here. What to send,
    and to where, is fetched from there, so that nothing has to be copied; locustfiles, too: only join a machine that you
    trust as much as to run its code.
    """
    host, port = address
    click.echo(f"load-worker: asking for a load at {host}:{port}; Ctrl-C ends it", err=True)
    done = 0
    while loads is None or done < loads:
        with (
            tempfile.TemporaryDirectory(prefix="oomproof-load-worker-") as work,
            Joining(host, port, processes, Path(work)) as joined,
        ):
            told = False
            while (status := joined.poll()) is None:
                if not told and joined.begun:
                    click.echo("load-worker: the load begins", err=True)
                    told = True
                time.sleep(_POLL_S)
            begun = told or joined.begun
            if begun:
                done += 1
                how = "the load is over" if status == 0 else f"the load was broken off:\n{joined.last_lines}"
                click.echo(f"load-worker: {how}", err=True)
            elif status != 0 and "no locustfile response" not in joined.last_lines:
                click.echo(f"load-worker: no part in a load:\n{joined.last_lines}", err=True)
        if not begun:
            time.sleep(_AGAIN_S)
