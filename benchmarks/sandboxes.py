"""The same services in each sandbox: `python -m benchmarks.sandboxes` prints a Markdown table for the README.

A ballast of 200 MiB, whose unreclaimable peak must agree, and the reference comparison, whose claim must be the same.
Sandboxes that are not to be had here are left out, with the reason.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from profiling.measuring.sandboxes.containers import ENGINES
from profiling.measuring.sandboxes.containers.engine import podman_service
from profiling.units import format_bytes

_ROOT = Path(__file__).parents[1]
_TARGETS = _ROOT / "tests" / "targets"
_BALLAST_MIB = 200
_REPEATS = 3
_WITHIN = 0.03


def main() -> None:
    rows: dict[str, tuple[list[int], dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch, podman_service() as podman:
        os.environ.setdefault("CONTAINER_HOST", podman.address)
        for sandbox in ("cgroup", *ENGINES):
            place = Path(scratch) / sandbox
            place.mkdir()
            rows[sandbox] = (
                _ballast(sandbox, place),
                _compare("--sandbox", sandbox, "--no-profile", cwd=_ROOT, out=place),
            )
    print(f"Ballast of {_BALLAST_MIB} MiB, median of {_REPEATS} runs.\n")
    print(
        "| sandbox | ballast's peak | against cgroup | reference: claim | per-request: kills | singleton: kills, peak |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    base = statistics.median(rows["cgroup"][0])
    for sandbox, (peaks, document) in rows.items():
        peak = statistics.median(peaks)
        sign = "✓" if abs(peak / base - 1) <= _WITHIN else "✗"
        *baselines, candidate = sorted(document["runs"], key=lambda run: run["name"] == document["candidate"])
        print(
            f"| {sandbox} | {format_bytes(peak)} | {peak / base:.2%} {sign} | {document['claim']} |"
            f" {', '.join(str(run['oom_kills']) for run in baselines)} |"
            f" {candidate['oom_kills']}, {format_bytes(candidate['peak_unreclaimable_bytes'])} |"
        )


def _ballast(sandbox: str, place: Path) -> list[int]:
    what = (
        f"command = [{json.dumps(sys.executable)}, 'ballast.py']"
        if sandbox == "cgroup"
        else f"dockerfile = '{_TARGETS}/Dockerfile'\ncommand = ['python3', 'ballast.py']"
    )
    (place / "oomproof.toml").write_text(
        f"[target]\nname = 'test-services'\n{what}\ndirectory = '{_TARGETS}'\nready = '/'\nmemory = '320MiB'\n"
        f"[target.env]\nBALLAST_MIB = '{_BALLAST_MIB}'\n"
    )
    options = ("--sandbox", sandbox, "--no-profile", "--duration", "3s", "--repeats", str(_REPEATS))
    return [run["peak_unreclaimable_bytes"] for run in _compare(*options, cwd=place, out=place)["runs"]]


def _compare(*options: str, cwd: Path, out: Path) -> dict[str, Any]:
    command = [sys.executable, str(_ROOT / "cli.py"), "compare", "--json", "--out", str(out), *options]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, timeout=900, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    if "error" in document:
        raise SystemExit(f"{document['error']['message']}\n{document['error']['hint']}")
    return document


if __name__ == "__main__":
    main()
