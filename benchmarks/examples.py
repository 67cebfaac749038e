"""`verify` on each of examples/: `python -m benchmarks.examples`, about two minutes, prints a Markdown table.

`beyond` is what a run takes in all, from the command to its exit, less the service's own start-up and the load that was
asked for: imports, dropping the page cache, three seconds of watching after the load, bad input, the end and the report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from profiling.units import format_bytes, format_percent

_ROOT = Path(__file__).parents[1]
EXAMPLES = _ROOT / "examples"
NAMES = ("fastapi", "flask", "django", "node")
BEYOND_S = 10.0


def main() -> None:
    print("| example | start-up | load | wall | beyond | peak unreclaimable | headroom | verdict |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        for name in NAMES:
            wall_s, document = _verify(name, scratch)
            run = document["run"]
            load_s = _load_s(Path(run["run_dir"]))
            beyond_s = wall_s - run["startup_s"] - load_s
            share = run["headroom_bytes"] / run["memory_limit_bytes"]
            print(
                f"| {name} | {run['startup_s']:.1f} s | {load_s:.1f} s | {wall_s:.1f} s |"
                f" {beyond_s:.1f} s {'✓' if beyond_s <= BEYOND_S else '✗'} |"
                f" {format_bytes(run['peak_unreclaimable_bytes'])} of {format_bytes(run['memory_limit_bytes'])} |"
                f" {format_percent(share)} | {document['verdict']} |",
                flush=True,
            )


def _verify(name: str, out: str) -> tuple[float, dict[str, Any]]:
    """Seconds from the command to its exit, and what it printed."""
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(_ROOT / "cli.py"), "verify", "--json", "--sandbox", "cgroup", "--out", out],
        cwd=EXAMPLES / name,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    wall_s = time.monotonic() - started
    document: dict[str, Any] = json.loads(done.stdout)
    if "error" in document:
        raise SystemExit(f"{name}: {document['error']['message']}\n{document['error']['hint']}")
    return wall_s, document


def _load_s(run_dir: Path) -> float:
    """How long the load was put on, by its own clock: not the phase, which has its generator's end in it."""
    result = json.loads((run_dir / "run.json").read_text())
    seconds: float = (result["load_end_ns"] - result["load_start_ns"]) / 1e9
    return seconds


if __name__ == "__main__":
    main()
