"""`self-check`: what a gate on this machine can and cannot see, by regressions of known size."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec
import numpy as np

from commands import bench
from commands.job import Job, gate_job
from commands.options import gate_load_options, output_options, target_options
from commands.sandbox import open_sandbox
from profiling.errors import ConfigError, ExitCode
from profiling.experiments import record
from profiling.experiments.gate import ERROR, LOOKS
from profiling.experiments.replay import replay
from profiling.judging import change
from profiling.judging.regression import figures
from profiling.measuring import ballast, store
from profiling.measuring.events import ExperimentStarted, Observer
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.regressions import GateVerdict, RunFigures
from profiling.units import format_bytes, format_change, format_percent
from profiling.values import SCHEMA_VERSION, Service, Target, Value

_PLANTED = (0.0, 0.02, 0.03, 0.05)
_REPLAYS = 300
_SEED = 1
_SETTLE_S = 1.0


class Planted(Value, frozen=True, kw_only=True):
    """A regression of known size, and what gates make of it."""

    planted: float
    """As a share of the peak without it; 0: a null change."""
    planted_bytes: int
    change: float
    """Of the peak, as measured, with its interval."""
    low: float | None
    high: float | None
    regressed: float
    """The share of replayed gates that say so."""
    improved: float
    inconclusive: float
    median_runs: float
    """Of both sides together, in a replayed gate."""


class SelfChecked(Value, frozen=True, kw_only=True):
    """`self-check --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "self-check"
    target: str
    tolerance: float
    peak_bytes: int
    """The median without ballast."""
    noise: float
    """Standard deviation of the peak, as a share of it."""
    runs: int
    """Of each size, which gates are replayed from."""
    gates: int
    """Replayed of each size."""
    rows: tuple[Planted, ...]
    run_dir: str


@click.command("self-check")
@click.option(
    "--runs", type=click.IntRange(6, 200), default=12, show_default=True, metavar="N", help="Runs of each size."
)
@target_options
@gate_load_options
@output_options
@click.pass_context
def self_check(ctx: click.Context, /, runs: int, sandbox: str, out: str, as_json: bool, **options: Any) -> None:
    """Plant regressions of known size beside the service, and null changes, and print what a gate here can detect.

    The ballast is a process of its own within the service's limit. N runs of each size are made in turns; then the gate's
    own policy is replayed many times over runs drawn from them.

    Exit code: 0 measured, 3 a run did not hold, so that nothing can be said.
    """
    job = gate_job(**options)
    if sandbox not in ("auto", "cgroup") or not all(service.command for service in job.target.services):
        raise ConfigError(
            "self-check plants its ballast in a cgroup of this machine", "use --sandbox cgroup and a command"
        )
    directory = bench.new_directory(out, "self-check")
    with (
        bench.watching(job.notes) as observer,
        open_sandbox("cgroup", job.target, observer, job.load.workers) as opened,
    ):
        pools = record_pools(job, opened, directory, observer, shares=_PLANTED, runs=runs)
    if pools.problem:
        click.echo(f"Nothing can be said: a run did not hold: {pools.problem}.", err=True)
        ctx.exit(ExitCode.INCONCLUSIVE)
    found = _checked(job, pools, directory)
    document = msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
    store.write_atomically(directory / "result.json", document)
    click.echo(document.decode() if as_json else _text(found), nl=False)


class Pools(Value, frozen=True, kw_only=True):
    """Runs with ballast beside them."""

    shares: tuple[float, ...]
    """Of the peak without any."""
    sizes: tuple[int, ...]
    """The same in bytes."""
    runs: tuple[tuple[RunFigures, ...], ...]
    """Of each size."""

    @property
    def problem(self) -> str:
        """Why nothing can be said; empty if all runs held."""
        return next(
            (run.failure or run.unusable for pool in self.runs for run in pool if run.failure or run.unusable), ""
        )


def record_pools(
    job: Job, sandbox: Sandbox, directory: Path, observer: Observer, *, shares: Sequence[float], runs: int
) -> Pools:
    """Make `runs` runs of each size, in turns, after a first one that is not counted. Raises as `measure` does."""
    bench.prepare(job.target, sandbox, observer)
    observer.notify(ExperimentStarted(title=f"self-check {job.target.name}", runs=()))

    def run(name: str, size: int) -> RunFigures:
        plan = RunPlan(
            name=name,
            target=_with_ballast(job.target, size),
            limits=job.limits,
            load=job.load,
            argv=tuple(sys.orig_argv[1:]),
            port=job.port,
            cold=None,
            settle_s=_SETTLE_S,
        )
        measure(plan, sandbox, directory / name, observer)
        return figures(record.load_run(directory / name, job.budget), store.load(directory / name))

    first = run("first-start", 0)
    sizes = tuple(_pages(share * (first.peak_bytes or 0)) for share in shares)
    pools: list[list[RunFigures]] = [[] for _ in sizes]
    for turn in range(1, runs + 1):
        for size, pool, share in zip(sizes, pools, shares, strict=True):
            pool.append(run(f"{turn}-{share * 100:g}-percent", size))
    return Pools(shares=tuple(shares), sizes=sizes, runs=tuple(map(tuple, pools)))


def _with_ballast(target: Target, size: int) -> Target:
    """The ballast beside the service that takes the load; beside all runs, so that only its size differs."""
    front = target.service
    command = (sys.executable, "-S", "-E", ballast.__file__, str(size), *front.command)
    changed: Service = msgspec.structs.replace(front, command=command)
    return msgspec.structs.replace(target, services=(changed, *target.services[1:]))


def _pages(size: float) -> int:
    return round(size / 4096) * 4096


def _checked(job: Job, pools: Pools, directory: Path) -> SelfChecked:
    rng = np.random.default_rng(_SEED)
    peaks = [[run.peak_bytes or 0 for run in pool] for pool in pools.runs]
    rows = []
    for share, size, pool, peak in zip(pools.shares, pools.sizes, pools.runs, peaks, strict=True):
        found = change.relative(peaks[0], peak, ERROR)
        gates = [
            replay(
                pools.runs[0],
                pool,
                rng,
                tolerance=job.budget.tolerance,
                growth_tolerance_bytes=job.budget.max_growth_bytes_per_request,
                max_turns=LOOKS[-1],
            )
            for _ in range(_REPLAYS)
        ]
        verdicts = [gate.verdict for gate in gates]
        rows.append(
            Planted(
                planted=share,
                planted_bytes=size,
                change=found.estimate,
                low=found.low,
                high=found.high,
                regressed=verdicts.count(GateVerdict.REGRESSED) / _REPLAYS,
                improved=verdicts.count(GateVerdict.IMPROVED) / _REPLAYS,
                inconclusive=verdicts.count(GateVerdict.INCONCLUSIVE) / _REPLAYS,
                median_runs=median(gate.runs for gate in gates),
            )
        )
    return SelfChecked(
        target=job.target.name,
        tolerance=job.budget.tolerance,
        peak_bytes=round(median(peaks[0])),
        noise=float(np.std(peaks[0], ddof=1) / np.mean(peaks[0])),
        runs=len(pools.runs[0]),
        gates=_REPLAYS,
        rows=tuple(rows),
        run_dir=str(directory),
    )


def _text(found: SelfChecked) -> str:
    lines = [
        f"{found.target}: peak {format_bytes(found.peak_bytes)}, which varies by {format_change(found.noise).lstrip('+')}"
        f" from run to run (standard deviation of {found.runs}). Tolerance {format_percent(found.tolerance)}.",
        "",
        "| planted | measured (interval) | gates that say regressed | inconclusive | runs of a gate, median |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in found.rows:
        name = f"{format_change(row.planted)} ({format_bytes(row.planted_bytes)})" if row.planted else "nothing"
        ends = (
            "" if row.low is None or row.high is None else f" ({format_change(row.low)} to {format_change(row.high)})"
        )
        lines.append(
            f"| {name} | {format_change(row.change)}{ends} | {format_percent(row.regressed)} |"
            f" {format_percent(row.inconclusive)} | {row.median_runs:g} |"
        )
    lines += [
        "",
        f"{found.gates} gates of each size, replayed from {found.runs} runs of each.",
        f"runs    {found.run_dir}",
    ]
    return "\n".join(lines) + "\n"
