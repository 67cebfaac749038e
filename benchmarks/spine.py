"""Everything that `compare` promises on the reference backend, as one table: `make bench`, about fifteen minutes."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from profiling.judging.analysis import gap_percentile_ms
from profiling.measuring import store

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


class Row(NamedTuple):
    """One line of the table."""

    what: str
    wanted: str
    measured: str
    reached: bool


class Comparison(NamedTuple):
    """One `compare`, with its wall time in seconds."""

    document: dict[str, Any]
    wall_s: float

    def run(self, name: str) -> dict[str, Any]:
        """The last run of a variant: after one that hung at the limit there is another."""
        found: dict[str, Any] = [run for run in self.document["runs"] if run["name"].partition(" #")[0] == name][-1]
        return found

    @property
    def hangs(self) -> int:
        """Runs that hung at the limit without being killed."""
        return sum(finding["id"] == "stuck-at-limit" for run in self.document["runs"] for finding in run["findings"])


def compare(out: Path, *options: str) -> Comparison:
    """One `compare --json` as a user would start it."""
    command = [sys.executable, str(ROOT / "cli.py"), "compare", "--json", "--out", str(out), *options]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    wall_s = time.monotonic() - started
    print(f"$ {' '.join(['cli.py', *command[2:]])}: exit {done.returncode} after {wall_s:.0f} s", file=sys.stderr)
    return Comparison(json.loads(done.stdout), wall_s)


def the_claim(results: list[Comparison]) -> list[Row]:
    """Five times in a row: the same claim, and the candidate's peak hardly moves."""
    baselines = [result.run("per-request") for result in results]
    candidates = [result.run("singleton") for result in results]
    peaks = np.array([run["peak_unreclaimable_bytes"] for run in candidates], dtype=float)
    spread = float(np.abs(peaks / np.median(peaks) - 1).max())
    claims = [result.document["claim"] for result in results]
    kills = [run["oom_kills"] for run in baselines]
    availability = max(run["availability"] for run in baselines)
    growth = [finding for run in candidates for finding in run["findings"] if finding["id"] == "growth"]
    return [
        Row(f"claim of {len(results)} comparisons in a row", "proved", ", ".join(claims), set(claims) == {"proved"}),
        Row("per-request: OOM kills of each", "at least 1", ", ".join(map(str, kills)), min(kills) >= 1),
        Row(
            "per-request: runs that hung at the limit and were made again",
            "-",
            str(sum(r.hangs for r in results)),
            True,
        ),
        Row("per-request: highest availability", "under 50 %", f"{availability:.1%}", availability < 0.5),
        Row(
            "singleton: kills, failures in all",
            "0, 0",
            f"{sum(r['oom_kills'] for r in candidates)}, {sum(r['failures'] for r in candidates)}",
            not any(r["oom_kills"] or r["failures"] for r in candidates),
        ),
        Row(
            "singleton: peak, farthest from its median",
            "within 1 %",
            f"{spread:.2%} (median {np.median(peaks) / 2**20:.1f} MiB)",
            spread <= 0.01,
        ),
        Row("singleton: growth after warm-up", "none found", f"{len(growth)} findings", not growth),
    ]


def the_sampler(results: list[Comparison]) -> list[Row]:
    """Gaps while the load runs, its cost, and its peak against the kernel's, over all runs."""
    gaps, shares, misses = [], [], []
    for result in results:
        for run in result.document["runs"]:
            stored = store.load(Path(run["run_dir"]))
            info = stored.result
            gaps.append(gap_percentile_ms(stored, 99) or 0.0)
            if info.sampler_cpu_s is not None:
                span_ns = int(stored.samples["t_ns"][-1] - stored.samples["t_ns"][0])
                shares.append(info.sampler_cpu_s / (span_ns / 1e9))
            if info.kernel_peak_charged_bytes:
                misses.append(1 - int(stored.samples["charged"].max()) / info.kernel_peak_charged_bytes)
    return [
        Row("sampler: 99 % of the gaps under load, worst run", "under 25 ms", f"{max(gaps):.1f} ms", max(gaps) < 25),
        Row(
            "sampler: share of one core, median run",
            "at most 1 %",
            f"{np.median(shares):.2%}",
            float(np.median(shares)) <= 0.01,
        ),
        Row(
            "sampler: charged peak below the kernel's, worst run",
            "within 1 %",
            f"{max(misses):.2%}",
            max(misses) <= 0.01,
        ),
    ]


def many_users(result: Comparison) -> list[Row]:
    run = result.run("singleton")
    return [
        Row(
            "64 users, singleton: kills, failures",
            "0, 0",
            f"{run['oom_kills']}, {run['failures']} of {run['requests']:,}",
            not run["oom_kills"] and not run["failures"],
        )
    ]


def mapped_weights(result: Comparison) -> list[Row]:
    slow, quick = result.run("per-request"), result.run("singleton")
    ratio = slow["p50_ms"] / quick["p50_ms"]
    return [
        Row(
            "safetensors: claim; p50 per-request / singleton",
            "baseline-survived",
            f"{result.document['claim']}; {ratio:.1f} times",
            result.document["claim"] == "baseline-survived",
        )
    ]


def the_rest(result: Comparison) -> list[Row]:
    """Everything but start-up and load of the runs and passes, by the clock on the wall."""
    directory = Path(result.document["report"]).parent
    spent = sum(
        (phase.end_ns - phase.start_ns) / 1e9
        for path in directory.glob("*/run.json")
        for phase in store.load(path.parent).result.phases
        if phase.name in ("start", "load")
    )
    share = result.wall_s / spent - 1
    return [Row("time beside the runs, memray passes counted as runs", "at most 25 %", f"{share:.0%}", share <= 0.25)]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-", dir=ROOT) as folder:
        out = Path(folder)
        plain = ("--users", "8", "--duration", "20s", "--no-profile")
        repeated = [compare(out, *plain) for _ in range(REPEATS)]
        rows = [
            *the_claim(repeated),
            *the_sampler(repeated),
            *many_users(compare(out, "--users", "64", "--no-profile")),
            *mapped_weights(compare(out, "--checkpoint", "safetensors", "--no-profile")),
            *the_rest(compare(out, "--users", "8", "--duration", "20s")),
        ]
    print(
        f"Measured on {platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}.\n"
    )
    print("| what | wanted | measured | |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.wanted} | {row.measured} | {'✓' if row.reached else '✗'} |")
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
