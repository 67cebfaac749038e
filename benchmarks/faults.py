"""How often `verify` says what is wrong: `python -m benchmarks.faults [RUNS]` prints a Markdown table.

Each service of tests/targets with one fault, and some with none, is verified so many times (default 10). Found: the check
that is there for the fault fails, what depends on it fails with it or is inconclusive, and nothing else fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults import FAULTS, SOUND, Fault, config, is_found

_ROOT = Path(__file__).parents[1]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print("| service | the check that must fail | with it | said so |")
    print("| --- | --- | --- | --- |")
    for fault in (*FAULTS, *SOUND):
        answers = [_verify(fault) for _ in range(runs)]
        found = sum(is_found(fault, statuses) for statuses in answers)
        otherwise = Counter(_failing(statuses) for statuses in answers if not is_found(fault, statuses))
        but = "".join(f"; {count} times {text}" for text, count in otherwise.items())
        along = ", ".join(sorted(fault.also)) or "–"
        print(f"| `{fault.name}` | {fault.tells or 'none'} | {along} | {found} of {runs}{but} |", flush=True)


def _verify(fault: Fault) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        (Path(scratch) / "oomproof.toml").write_text(config(fault))
        command = [sys.executable, str(_ROOT / "cli.py"), "verify", "--json", "--sandbox", "cgroup"]
        done = subprocess.run(
            command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=300, check=False
        )
        return {check["id"]: check["status"] for check in json.loads(done.stdout).get("checks", ())}


def _failing(statuses: dict[str, str]) -> str:
    return ", ".join(sorted(key for key, status in statuses.items() if status in ("fail", "inconclusive"))) or "nothing"


if __name__ == "__main__":
    main()
