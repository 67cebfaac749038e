"""What the reference backend's imports cost, and how far that is to be trusted: `python -m benchmarks.imports` prints two
Markdown tables.

The second one imports packages alone, once under the recorder and once in a bare interpreter that reads its own
/proc/self/smaps_rollup before and after: the difference is what the recorder adds or hides.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from profiling.units import MIB

_ROOT = Path(__file__).parents[1]
_ALONE = ("json", "http.server", "numpy", "flask", "torch", "transformers.models.bert.modeling_bert")
_BARE = """
def held():
    with open("/proc/self/smaps_rollup") as file:
        sizes = {{line.split()[0]: line.split()[1] for line in file.read().splitlines()[1:]}}
    anon = int(sizes["Anonymous:"]) * 1024
    return anon, int(sizes["Rss:"]) * 1024 - anon
held()
before = held()
import {module}
after = held()
print(after[0] - before[0], after[1] - before[1])
"""


def main() -> None:
    found = _imports("--target", "reference", "--sandbox", "cgroup", "--lazy", "0")
    print("| package | asked for at | anonymous | files | modules |")
    print("| --- | --- | --- | --- | --- |")
    for package in found["packages"]:
        if package["anon_bytes"] >= MIB:
            at = f"`{package['line']}`" if package["line"] else ""
            sizes = f"{_mib(package['anon_bytes'])} | {_mib(package['file_bytes'])}"
            print(f"| {package['name']} | {at} | {sizes} | {package['modules']:,} |")
    total = f"{_mib(found['total_anon_bytes'])} | {_mib(found['total_file_bytes'])}"
    print(f"| all of it | | {total} | {len(found['modules']):,} |")
    low, high = _mib(found["total_low_bytes"]), _mib(found["total_high_bytes"])
    print(f"\nAnonymous memory in all starts: {low} to {high}.\n")

    print("| import alone | recorded: anonymous, files | seen by a bare interpreter | off by |")
    print("| --- | --- | --- | --- |")
    for module in _ALONE:
        recorded = _imports(module, "--python", sys.executable, "--no-cold", "--lazy", "0")
        anon, file = _bare(module)
        off = recorded["total_anon_bytes"] - anon
        print(
            f"| `{module}` | {_mib(recorded['total_anon_bytes'])}, {_mib(recorded['total_file_bytes'])} |"
            f" {_mib(anon)}, {_mib(file)} | {off / MIB:+.2f} MiB ({off / anon:+.1%}) |"
        )


def _imports(*arguments: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        command = [sys.executable, str(_ROOT / "cli.py"), "imports", "--json", "--out", scratch, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=600, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _bare(module: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", _BARE.format(module=module)], capture_output=True, text=True, timeout=120, check=True
    )
    anon, file = map(int, done.stdout.split())
    return anon, file


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"


if __name__ == "__main__":
    main()
