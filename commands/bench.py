"""The workbench of a measuring command: output directory, sandbox, observer, clean end."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from profiling import reference
from profiling.errors import InterruptedRunError, SetupError
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.measuring import store
from profiling.measuring.events import Note, Observer, PhaseStarted
from profiling.measuring.interrupts import ignore_further
from profiling.measuring.sandboxes.base import Sandbox
from profiling.values import Budget, Target
from reports.live import make_observer


def new_directory(out: str, command: str) -> Path:
    """A fresh directory below `out`, proved writable before anything long begins. Raises OutputError."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return store.make_directory(Path(out) / f"{stamp}-{command}-{secrets.token_hex(2)}")


def started_experiment(
    directory: Path, command: str, candidate: str, budget: Budget, runs: Sequence[str] = ()
) -> Experiment:
    """A new experiment of this command line, written into `directory`. `runs`: those that are known beforehand."""
    experiment = Experiment(
        command=command,
        argv=tuple(sys.orig_argv[1:]),
        candidate=candidate,
        budget=budget,
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        runs=tuple(runs),
    )
    record.save(directory, experiment)
    return experiment


@contextlib.contextmanager
def interruptible_in(directory: Path) -> Iterator[None]:
    """What is interrupted in here is marked so in `directory`, and whoever did it is told where it lies."""
    try:
        yield
    except (KeyboardInterrupt, InterruptedRunError):
        ignore_further()  # whoever asks twice means the same
        record.mark_interrupted(directory)
        raise InterruptedRunError(
            f"interrupted; what was measured is in {directory}", f"see it with: report {directory}"
        ) from None


@contextlib.contextmanager
def watching(notes: Sequence[str] = ()) -> Iterator[Observer]:
    """The view of what happens, on stderr; `notes` are its first lines."""
    with make_observer(sys.stderr, os.environ) as observer:
        for text in notes:
            observer.notify(Note(text=text))
        yield observer


def prepare(target: Target, sandbox: Sandbox, observer: Observer) -> None:
    """Run the target's own set-up, which an image has in it; quick when there is nothing to do.

    Raises SetupError with what it said.
    """
    if not target.prepare or sandbox.image is not None:
        return
    observer.notify(PhaseStarted(run=target.name, phase="prepare"))
    mend = reference.MADE_BY.get(target.name, "make setup")
    try:
        done = subprocess.run(
            list(target.prepare),
            cwd=target.service.directory,
            env={**os.environ, **target.service.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError(
            f"the environment of the target {target.name!r} is not there: no {target.prepare[0]}", mend
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()][-2:]
        message = lines[0] if lines else f"{' '.join(target.prepare)} ended with exit status {done.returncode}"
        raise SetupError(message, lines[1] if len(lines) > 1 else mend)
