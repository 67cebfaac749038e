"""How often a gate errs on the reference backend: `python -m benchmarks.gate DIRECTORY`.

Records a pool of runs once, with and without 3 % of ballast, into DIRECTORY (40 of each: an hour or so), and replays the gate's
policy over runs drawn from it; with `--live N` so many whole gates of each kind, end to end, come after it. A DIRECTORY that
holds a pool already is replayed only. `--target FILE` takes another service.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from commands.job import Job, gate_job
from commands.sandbox import open_sandbox
from commands.self_check import Pools, record_pools
from profiling import reference
from profiling.experiments.gate import LOOKS
from profiling.experiments.replay import replay
from profiling.measuring import store
from profiling.measuring.events import Silent
from profiling.regressions import GateVerdict

ROOT = Path(__file__).resolve().parents[1]
PLANTED = 0.03
REPLAYS = 2000


def pool(job: Job, directory: Path, runs: int) -> Pools:
    """What DIRECTORY holds, or is made to hold."""
    path = store.make_directory(directory) / "pool.json"
    if not path.exists():
        if any(directory.iterdir()):
            raise SystemExit(
                f"{directory} is not empty and holds no pool yet: one may be being recorded there; name another"
            )
        with open_sandbox("cgroup", job.target, Silent()) as sandbox:
            made = record_pools(job, sandbox, directory, Silent(), shares=(0.0, PLANTED), runs=runs)
        store.write_atomically(path, msgspec.json.encode(made))
    return msgspec.json.decode(path.read_bytes(), type=Pools)


def replayed(found: Pools, job: Job) -> list[str]:
    """Rows of the table."""
    rng = np.random.default_rng(1)
    rows = []
    for share, head in zip(found.shares, found.runs, strict=True):
        gates = [
            replay(
                found.runs[0],
                head,
                rng,
                tolerance=job.budget.tolerance,
                growth_tolerance_bytes=job.budget.max_growth_bytes_per_request,
                max_turns=LOOKS[-1],
            )
            for _ in range(REPLAYS)
        ]
        regressed = sum(gate.verdict is GateVerdict.REGRESSED for gate in gates) / REPLAYS
        reached = regressed >= 0.99 if share else regressed <= 0.01
        wanted = "at least 99 %" if share else "at most 1 %"
        runs = median(gate.runs for gate in gates)
        rows.append(f"| {share:+.0%} | {len(head)} | {wanted} | {regressed:.2%} {_mark(reached)} | {runs:g} |")
    return rows


def live(count: int, out: Path) -> list[str]:
    """Whole gates of this repository's reference backend: nothing changed, and 3 % more held by the backend's own process."""
    rows = []
    times: list[float] = []
    for name, ballast, wanted in (("nothing changed", "", "pass"), ("14 MiB held", _HELD, "regressed")):
        for _ in range(count):
            with tempfile.TemporaryDirectory(prefix="oomproof-bench-", dir=ROOT) as folder:
                clone = Path(folder) / "clone"
                subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
                changed = clone / "backend" / "app.py"
                planted = f"{changed.relative_to(clone)}:{len(changed.read_text().splitlines()) + 3}" if ballast else ""
                with changed.open("a") as file:
                    file.write(f"\n# changed\n{ballast}")
                command = [sys.executable, "cli.py", "gate", "--base", "HEAD", "--json", "--out", str(out)]
                started = time.monotonic()
                done = subprocess.run(command, cwd=clone, stdout=subprocess.PIPE, check=False)
                took = time.monotonic() - started
                said = msgspec.json.decode(done.stdout)
                verdict, runs = said["verdict"], sum(len(said["metrics"][0][side]) for side in ("base", "head"))
                named = "".join(f"{line['path']}:{line['line']}" for line in said["lines"][:1])
                times.append(took)
                rows.append(
                    f"| {name} | {wanted} | {verdict} {_mark(verdict == wanted)} |"
                    f" {f'{named} {_mark(named == planted)}' if named or planted else '–'} | {runs} |"
                    f" {took:.0f} s | {os.getloadavg()[1]:.1f} |"
                )
    rows.append(f"\nmedian of the {len(times)}: {median(times):.0f} s {_mark(median(times) < _WANTED_S)}")
    return rows


def _mark(reached: bool) -> str:
    return "✓" if reached else "✗"


_WANTED_S = 240.0
"""At most, in the median."""
_HELD = "_held = bytearray(14 << 20)\nfor _at in range(0, len(_held), 4096):\n    _held[_at] = 1\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--live", type=int, default=0)
    parser.add_argument("--target", default=reference.NAME)
    asked = parser.parse_args()
    job = gate_job(target=asked.target, checkpoint=None, memory=None, cpus=None, port=None)
    found = pool(job, asked.directory, asked.runs)
    if found.problem:
        print(f"a run of the pool did not hold: {found.problem}", file=sys.stderr)
        return 1
    print("| planted | runs of each side in the pool | wanted | gates that say regressed | runs of a gate, median |")
    print("| --- | ---: | --- | ---: | ---: |")
    rows = replayed(found, job)
    print("\n".join(rows))
    if asked.live:
        more = live(asked.live, asked.directory)
        print(
            "\n| whole gates | wanted | verdict | line | runs | took | load average |"
            "\n| --- | --- | --- | --- | ---: | ---: | ---: |"
        )
        print("\n".join(more))
        rows += more
    return 0 if all("✗" not in row for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
