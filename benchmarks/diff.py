"""What `diff` of two captures of 100 MB and more costs, against memray's own flame graphs of them, in one run:
`python -m benchmarks.diff`, six minutes and more, prints a Markdown table.

The captures are made here, by a program that allocates over and over from many stacks, and holds more the second time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from profiling.measuring.capture import LAUNCHER
from profiling.units import MIB

_ROOT = Path(__file__).parents[1]
_ROUNDS = 3
_ALLOCATIONS = 2_200_000
_HELD_MIB = (40, 60)
_MOST = 1.25
_PROGRAM = """
import random, sys
def step(way, size):
    return STEPS[way % 5](way // 5, size) if way else bytearray(size)
STEPS = []
for number in range(5):
    exec(compile(f"def step_{number}(way, size):\\n    return step(way, size)\\n", f"steps_{number}.py", "exec"))
    STEPS.append(globals()[f"step_{number}"])
held = bytearray(int(sys.argv[1]) * 2**20)
random.seed(1)
kept = [None] * 20_000
for at in range(int(sys.argv[2])):
    kept[at % len(kept)] = step(random.randrange(5**6), 600 + at % 5_000)
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-", dir=_disk()) as scratch:
        place = Path(scratch)
        captures = [_record(place, name, held) for name, held in zip(("before", "after"), _HELD_MIB, strict=True)]
        print("| captures | memray flamegraph, both | diff | ratio | wanted | |")
        print("| --- | --- | --- | --- | --- | --- |")
        for _ in range(_ROUNDS):
            theirs = sum(_flamegraph(capture) for capture in captures)
            ours, found = _diff(captures, place)
            ratio = ours / theirs
            sizes = " and ".join(f"{capture.stat().st_size / 1e6:.0f}" for capture in captures)
            print(
                f"| {sizes} MB | {theirs:.1f} s | {ours:.1f} s | {ratio:.2f} | at most {_MOST} |"
                f" {'✓' if ratio <= _MOST else '✗'} |",
                flush=True,
            )
        planted = (_HELD_MIB[1] - _HELD_MIB[0]) * MIB
        row = found["lines"][0]
        off = (row["after_bytes"] - row["before_bytes"]) / planted - 1
        page = Path(found["report"]).stat().st_size / MIB
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MIB
        print(
            f"\nPlanted: {planted / MIB:.0f} MiB in `held`; found in `{row['file']}:{row['line']}`, off by {off:+.2%}."
            f" The page has {page:.1f} MiB. The largest process of all, memray's flame graphs among them: {most:.0f} MiB."
        )


def _disk() -> str:
    """Not /tmp: a file system in memory would be another measurement."""
    place = _ROOT / "runs"
    place.mkdir(exist_ok=True)
    return str(place)


def _record(place: Path, name: str, held_mib: int) -> Path:
    directory = place / name
    directory.mkdir()
    (directory / "app.py").write_text(_PROGRAM)
    capture = directory / "capture.bin"
    launched = [
        sys.executable,
        str(LAUNCHER),
        "--output",
        str(capture),
        "--",
        "app.py",
        str(held_mib),
        str(_ALLOCATIONS),
    ]
    subprocess.run(launched, cwd=directory, check=True)
    return capture


def _flamegraph(capture: Path) -> float:
    output = capture.with_suffix(".html")
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "memray",
        "flamegraph",
        "--no-web",
        "--force",
        "--output",
        str(output),
        str(capture),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def _diff(captures: list[Path], place: Path) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    command = [
        sys.executable,
        str(_ROOT / "cli.py"),
        "diff",
        *map(str, captures),
        "--json",
        "--out",
        str(place / "runs"),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(done.stdout)
    return time.monotonic() - began, found


if __name__ == "__main__":
    main()
