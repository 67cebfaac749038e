"""How often `verify` says what is wrong: `python -m benchmarks.faults [RUNS]` prints a Markdown table.

Each service of tests/targets with one fault, and some with none, is verified so many times (default 10). Found: the checks
that are there for the fault fail, and no others but those that depend on them.
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
    print("| service | fails | said so |")
    print("| --- | --- | --- |")
    for fault in (*FAULTS, *SOUND):
        answers = [_verify(fault) for _ in range(runs)]
        found = sum(is_found(fault, statuses) for statuses in answers)
        otherwise = Counter(_failing(statuses) for statuses in answers if not is_found(fault, statuses))
        but = "".join(f"; {count} times {text}" for text, count in otherwise.items())
        print(
            f"| `{fault.name}` | {', '.join(sorted(fault.fails)) or 'nothing'} | {found} of {runs}{but} |", flush=True
        )


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
