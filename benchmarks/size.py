"""Whether what `size` says holds: `python -m benchmarks.size [NAME ...]` prints Markdown tables; twenty minutes or so for all.

Each service is sized, and then both limits that were named are tried five times more: the one must pass each time, and at
the largest limit that killed it the kernel must kill it each time. A ballast of known size is held against what it and the
interpreter alone were seen to need.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiling.experiments.size import narrow_bytes
from profiling.units import MIB

_ROOT = Path(__file__).parents[1]
_TARGETS = _ROOT / "tests" / "targets"
_BALLAST_MIB = 200
_TRIES = 5
_WITHIN = 0.03


@dataclass(frozen=True, slots=True)
class Service:
    """What is sized: a directory with its config file, and one of its variants."""

    name: str
    directory: Path
    variant: str | None = None
    duration: str = "4s"
    config: str | None = None
    """The text of a config file, for a directory that has none."""


def ballast(mib: int) -> str:
    return (
        f"[target]\nname = 'ballast'\ncommand = [{json.dumps(sys.executable)}, 'ballast.py']\n"
        f"directory = '{_TARGETS}'\nready = '/'\nmemory = '512MiB'\n[target.env]\nBALLAST_MIB = '{mib}'\n"
    )


SERVICES = (
    Service("ballast of 200 MiB", _TARGETS, config=ballast(_BALLAST_MIB)),
    Service("examples/flask", _ROOT / "examples" / "flask", "bounded"),
    Service("examples/fastapi", _ROOT / "examples" / "fastapi", "once"),
    Service("reference", _ROOT, "singleton", "8s"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="services; all where none is named")
    asked = parser.parse_args().names
    print(
        "| service | passes at | fails at | apart, at most | runs | passing limit again | largest that killed, again |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    reached = True
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        for service in SERVICES:
            if not asked or service.name in asked:
                row, good, passing = sized(service, Path(scratch))
                print(row, flush=True)
                reached &= good
                if service.config is not None and passing is not None:
                    reached &= weighed(passing, Path(scratch))
    return 0 if reached else 1


def sized(service: Service, scratch: Path) -> tuple[str, bool, int | None]:
    """A row of the table, whether all of it is as it should be, and the limit that passes."""
    found = command(service, scratch, "size", *([service.variant] if service.variant else []))
    passing, failing = found["smallest_passing_bytes"], found["largest_failing_bytes"]
    killed, runs = found["largest_killed_bytes"], len(found["trials"])
    if passing is None or failing is None:
        return f"| {service.name} | {found['sentence']} | | | {runs} | | ✗ |", False, passing
    apart, most = passing - failing, narrow_bytes(passing)
    passed = sum(is_good(run) for run in again(service, scratch, passing))
    kills = 0 if killed is None else sum(run["oom_kills"] > 0 for run in again(service, scratch, killed))
    good = apart <= most and runs <= 8 and passed == _TRIES and (killed is None or kills == _TRIES)
    again_killed = "–" if killed is None else f"{killed // MIB} MiB: {kills} of {_TRIES}"
    row = (
        f"| {service.name} | {passing // MIB} MiB | {failing // MIB} MiB | {apart // MIB} of {most / MIB:.1f} MiB | {runs} |"
        f" {passed} of {_TRIES} | {again_killed} {'✓' if good else '✗'} |"
    )
    return row, good, passing


def again(service: Service, scratch: Path, limit: int) -> list[dict[str, Any]]:
    options = ("--no-profile", "--repeats", str(_TRIES), "--memory", str(limit))
    found = command(service, scratch, "compare", *([service.variant] if service.variant else []), *options)
    runs: list[dict[str, Any]] = found["runs"]
    return runs


def is_good(run: dict[str, Any]) -> bool:
    failing = [finding for finding in run["findings"] if finding["level"] == "fail"]
    outcome: str = run["outcome"]
    return outcome == "completed" and not failing


def weighed(passing: int, scratch: Path) -> bool:
    """The ballast's own limit against what the interpreter alone and the ballast weigh."""
    alone = Service("interpreter", _TARGETS, config=ballast(0))
    peaks = sorted(run["peak_unreclaimable_bytes"] for run in again(alone, scratch, 512 * MIB))
    weight: int = peaks[len(peaks) // 2] + _BALLAST_MIB * MIB
    share = passing / weight - 1
    sign = "✓" if abs(share) <= _WITHIN else "✗"
    print(
        f"| interpreter + ballast | {weight / MIB:.1f} MiB | | | {_TRIES} | sized at {share:+.1%} | {sign} |",
        flush=True,
    )
    return abs(share) <= _WITHIN


def command(service: Service, scratch: Path, *words: str) -> dict[str, Any]:
    place = service.directory
    if service.config is not None:
        place = scratch / service.name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        (place / "oomproof.toml").write_text(service.config)
    options = ("--sandbox", "cgroup", "--duration", service.duration, "--json", "--out", str(scratch))
    done = subprocess.run(
        [sys.executable, str(_ROOT / "cli.py"), *words, *options],
        cwd=place,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    if "error" in document:
        raise SystemExit(f"{document['error']['message']}\n{document['error']['hint']}")
    return document


def _environment() -> dict[str, str]:
    """With the commands of this interpreter's environment on PATH."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


if __name__ == "__main__":
    sys.exit(main())
