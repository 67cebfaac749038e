"""How much of the memory the ledger explains: `python -m benchmarks.ledger [RUNS]` prints a Markdown table.

Each service is profiled so many times (default 1) under its own limit; the run with the smallest explained share stands in the
table. Explained is what bears a name by the kernel's memory map or by a recorded stack; counted too much counts as unexplained.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_MIB = 2**20
_PLANTED = {"PLANTED_MIB": "60", "KEPT_KIB": "256"}


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    directory: Path
    arguments: tuple[str, ...]
    env: dict[str, str]


SERVICES = (
    _Service("reference, singleton", _ROOT, ("singleton", "--users", "4"), {}),
    _Service("reference, per-request", _ROOT, ("per-request", "--users", "4"), {}),
    _Service("examples/fastapi, once", _ROOT / "examples" / "fastapi", ("once",), {}),
    _Service("examples/flask", _ROOT / "examples" / "flask", (), {}),
    _Service("examples/django, three workers", _ROOT / "examples" / "django", ("each-its-own",), {}),
    _Service("examples/django, preloaded", _ROOT / "examples" / "django", ("preloaded",), {}),
    _Service(
        "tests/targets/planted.py",
        _ROOT / "tests" / "targets",
        ("--memory", "256MiB", "--users", "2", "--", sys.executable, "planted.py"),
        _PLANTED,
    ),
)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("| service | ended | unreclaimable | below the peak | explained | by group |")
    print("| --- | --- | --- | --- | --- | --- |")
    for service in SERVICES:
        worst = min((_profiled(service) for _ in range(runs)), key=_explained)
        ledger = worst["ledger"]
        below = (ledger["peak_bytes"] - ledger["unreclaimable_bytes"]) / _MIB
        size = ledger["unreclaimable_bytes"] / _MIB
        print(
            f"| {service.name} | {worst['outcome']} | {size:.1f} MiB | {below:.1f} MiB | {_explained(worst):.1%} |"
            f" {_groups(ledger)} |",
            flush=True,
        )


def _profiled(service: _Service) -> dict[str, Any]:
    """The profile as `--json` prints it."""
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as out:
        split = service.arguments.index("--") if "--" in service.arguments else len(service.arguments)
        options = ["--json", "--sandbox", "cgroup", "--duration", "5s", "--out", out]
        command = [sys.executable, str(_ROOT / "cli.py"), "profile", *service.arguments[:split], *options]
        done = subprocess.run(
            [*command, *service.arguments[split:]],
            cwd=service.directory,
            env={**os.environ, **service.env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout)["profile"]
        return found


def _explained(profile: dict[str, Any]) -> float:
    ledger = profile["ledger"]
    return 1.0 - abs(float(ledger["unexplained_bytes"])) / float(ledger["unreclaimable_bytes"])


def _groups(ledger: dict[str, Any]) -> str:
    sums: dict[str, int] = defaultdict(int)
    for entry in ledger["entries"]:
        if entry["group"] != "headroom":
            sums[entry["group"]] += entry["bytes"]
    return ", ".join(f"{group} {size / _MIB:.1f}" for group, size in sorted(sums.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    main()
