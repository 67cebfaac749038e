"""`compare --grid`: from `workers=1,2 users=8,64` to cells, each with its target, limits and load."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from commands import bench, results
from commands.grid_runs import CellJob, Runs
from commands.job import Job, choose_variants, make_job, make_load
from commands.options import parse_memory
from commands.sandbox import open_sandbox
from loadtests.plan import LoadPlan
from loadtests.workers import Workers
from profiling import reference
from profiling.errors import ConfigError
from profiling.experiments import record
from profiling.experiments.grid import MAX_CELLS, cell_name, settings_of
from profiling.experiments.settings import OFF, ON, VARIABLES, applied
from profiling.grids import KEYS, MEMORY, PRELOAD, THREADS, USERS, VARIANT, WORKERS, Axis, CellPlace, GridRecord
from profiling.judging.report import Report
from profiling.manifests.secrets import looks_secret
from profiling.units import format_bytes, shortened

_MOST = {WORKERS: 1024, THREADS: 65_535, USERS: 65_535}
_PRELOAD = {"1": ON, "true": ON, "yes": ON, "on": ON, "0": OFF, "false": OFF, "no": OFF, "off": OFF}
_OURS = ("HOST", "PORT")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_EXAMPLE = "write it like workers=1,2 threads=4,16 users=8,64 memory=256MiB,512MiB MALLOC_ARENA_MAX=1,2"


def split(grid: Sequence[str], words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The axes as they were written, and the variants: further axes may stand behind the option's own."""
    if not grid:
        return (), tuple(words)
    axes = [axis for text in grid for axis in text.split()] + [word for word in words if "=" in word]
    return tuple(axes), tuple(word for word in words if "=" not in word)


def parsed(texts: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of KEY=VALUE,VALUE ... Raises UsageError."""
    axes = tuple(_axis(text) for text in texts)
    keys = [axis.key for axis in axes]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise click.UsageError(f"--grid {twice}: it is named twice; write all its values behind one {twice}=")
    if not axes:
        raise click.UsageError(f"--grid names nothing; {_EXAMPLE}")
    return axes


def _axis(text: str) -> Axis:
    key, equals, values = text.partition("=")
    shown = shortened(text)
    if not equals or not values:
        raise click.UsageError(f"--grid {shown!r}: no values; {_EXAMPLE}")
    parse = _PARSERS.get(key)
    if parse is None:
        if not _VARIABLE.fullmatch(key):
            known = f"{', '.join(KEYS)}, and environment variables in capitals"
            raise click.UsageError(f"--grid {shown!r}: nothing is called {shortened(key)!r}. Known: {known}")
        if key in _OURS:
            raise click.UsageError(f"--grid {shown!r}: {key} is set for each run by the tool; leave it out")
        parse = _variable
    try:
        found = tuple(parse(key, value) for value in values.split(","))
    except ValueError as error:
        raise click.UsageError(f"--grid {shown!r}: {error}") from None
    if len(set(found)) != len(found):
        raise click.UsageError(f"--grid {shown!r}: a value is named twice; name each once")
    return Axis(key=key, values=found)


def _count(key: str, value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= _MOST[key]:
        raise ValueError(f"{shortened(value)!r} is no whole number from 1 to {_MOST[key]:,}")
    return str(int(value))


def _preload(key: str, value: str) -> str:
    if value.lower() not in _PRELOAD:
        raise ValueError(f"{shortened(value)!r} is neither {ON} nor {OFF}")
    return _PRELOAD[value.lower()]


def _memory(key: str, value: str) -> str:
    return format_bytes(parse_memory(value)) if _is_round(parse_memory(value)) else value


def _is_round(size: int) -> bool:
    """Whether it is shown exactly."""
    return parse_memory(format_bytes(size).replace(" ", "").replace(",", "")) == size


def _variable(key: str, value: str) -> str:
    if not value:
        raise ValueError("a value is empty")
    if looks_secret(key, value):
        raise ValueError("it looks like a secret, and its values would stand in the report; leave it out")
    return value


_PARSERS: dict[str, Callable[[str, str], str]] = {
    WORKERS: _count,
    THREADS: _count,
    USERS: _count,
    PRELOAD: _preload,
    MEMORY: _memory,
}


def run(
    axes: tuple[Axis, ...],
    variants: tuple[str, ...],
    *,
    sandbox: str,
    repeats: int,
    infer: bool,
    out: str,
    options: dict[str, Any],
) -> Report:
    """Measure the grid and write its report. Raises UsageError, and as `measure` does."""
    keys = {axis.key for axis in axes}
    for key in (USERS, MEMORY):
        if key in keys and options[key] is not None:
            raise click.UsageError(f"--{key} and --grid {key}=... are both given; leave one of them out")
    if MEMORY in keys:
        smallest = min(parse_memory(value) for axis in axes if axis.key == MEMORY for value in axis.values)
        options = {**options, "memory": smallest}  # so that no other need be said
    job = make_job(command=(), **options)
    if USERS in keys and job.load.rate is not None:
        raise ConfigError(
            "--grid users: with a rate they are only what may be in flight", "leave out the rate, or the users"
        )
    if variants:
        names = tuple(variant.name for variant in choose_variants(job, variants))
        axes = (Axis(key=VARIANT, values=names), *axes)
    settings = settings_of(axes)
    if len(settings) > MAX_CELLS:
        raise click.UsageError(f"--grid has {len(settings):,} cells; {MAX_CELLS} is the most, so name fewer values")
    jobs = [_cell(job, each, options["workers"]) for each in settings]
    asked = GridRecord(
        name=job.target.name,
        axes=axes,
        repeats=repeats,
        infer=infer,
        rate=job.load.rate,
        cells=tuple(
            CellPlace(settings=each, users=cell.load.peak_users, memory_bytes=cell.limits.memory_bytes)
            for each, cell in zip(settings, jobs, strict=True)
        ),
    )
    started = time.monotonic()
    directory: Path = bench.new_directory(out, record.COMPARE)
    experiment = bench.started_experiment(directory, record.COMPARE, cell_name(asked.cells[-1]), job.budget)
    with (
        bench.interruptible_in(directory),
        bench.watching(job.notes) as observer,
        open_sandbox(sandbox, job.target, observer, job.load.workers) as opened,
    ):
        bench.prepare(job.target, opened, observer)
        runs = Runs(job, jobs, opened, observer, directory, experiment, asked)
        runs.make_all()
        return results.finish(directory, runs.experiment, started, observer)


def _cell(job: Job, settings: dict[str, str], workers: Workers | None) -> CellJob:
    """What one cell measures. Raises ConfigError where a setting cannot be applied."""
    target, limits, load = job.target, job.limits, job.load
    for key, value in settings.items():
        if key == VARIANT:
            target = target.with_env(job.variant(value).env)
        elif key == USERS:
            load = make_load(int(value), load.duration_s, load.rate, workers)
        elif key == MEMORY:
            limits = msgspec.structs.replace(limits, memory_bytes=parse_memory(value))
        else:
            target = applied(target, key, value, _declared(job))
    return CellJob(target=target, limits=limits, load=_patient(load))


def _declared(job: Job) -> set[str]:
    """The variables that the service is known to read: the reference backend's, and those that its variants set."""
    if job.target.name == reference.NAME:
        return set(VARIABLES.values())
    return {name for variant in job.variants for name in variant.env}


def _patient(load: LoadPlan) -> LoadPlan:
    """Whatever is under way at the load's end may take as long as at any other moment: a late answer is no failed one."""
    return msgspec.structs.replace(load, stop_timeout_s=load.request_timeout_s)
