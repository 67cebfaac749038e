"""Planted leaks, found again: `python -m benchmarks.leaks` prints a Markdown table.

`verify` runs a service that keeps a known number of bytes for each request (tests/targets/leak.py), and services that keep
none, one of which fills a bounded cache. Planted is what the allocator takes for those bytes: glibc rounds to 16 bytes and
adds a header of 8 (malloc(3), "MALLOC_ALIGNMENT"); the object itself and its place in a list are 64 and 8 bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_TARGETS = _ROOT / "tests" / "targets"
_SIZES_KIB = (2, 10, 100)
_FLAT = {"ballast": {"BALLAST_MIB": "40"}, "cache": {"CACHE_MIB": "16"}}
_REPEATS = 3
_FLAT_REPEATS = 10


def main() -> None:
    print("| service | planted, KiB/request | found (95 % interval) | off by | wanted |")
    print("| --- | --- | --- | --- | --- |")
    for size in _SIZES_KIB:
        planted = _planted(size)
        for _ in range(_REPEATS):
            run = _verify("leak", {"LEAK_KIB": str(size)})
            found = run["growth_bytes_per_request"]
            wanted = 0.05 if size == 100 else 0.10
            if found is None:
                print(f"| leak | {planted / 1024:.2f} | nothing | – | within {wanted:.0%} ✗ |")
                continue
            off = found / planted - 1
            interval = f"{found / 1024:.2f} ({run['growth_low'] / 1024:.2f} to {run['growth_high'] / 1024:.2f})"
            sign = "✓" if abs(off) <= wanted else "✗"
            print(f"| leak | {planted / 1024:.2f} | {interval} | {off:+.1%} | within {wanted:.0%} {sign} |")
    for script, env in _FLAT.items():
        reported = 0
        for _ in range(_FLAT_REPEATS):
            reported += any(finding["id"] == "growth" for finding in _verify(script, env)["findings"])
        sign = "✗" if reported else "✓"
        print(f"| {script} | 0 | a leak in {reported} of {_FLAT_REPEATS} runs | – | none {sign} |")


def _planted(kib: int) -> int:
    """Bytes for a bytearray of `kib` KiB: its buffer has one byte more."""
    buffer = kib * 1024 + 1 + 8
    return -(-buffer // 16) * 16 + 64 + 8


def _verify(script: str, env: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        values = "\n".join(f"{key} = '{value}'" for key, value in env.items())
        (Path(scratch) / "oomproof.toml").write_text(
            f"[target]\ncommand = ['{sys.executable}', '{script}.py']\ndirectory = '{_TARGETS}'\nready = '/'\n"
            f"memory = '1GiB'\n[target.env]\n{values}\n"
        )
        command = [sys.executable, str(_ROOT / "cli.py"), "verify", "--json", "--sandbox", "cgroup"]
        done = subprocess.run(
            command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=300, check=False
        )
        run: dict[str, Any] = json.loads(done.stdout)["run"]
        return run


if __name__ == "__main__":
    main()
