"""What runs the model, and in which numbers: `python -m benchmarks.runtimes` prints a Markdown table, ten minutes or so.

Every runtime with every kind of number, each with weights of its own (MODEL_CHECKPOINT=pickle) and mapped ones (safetensors),
under the same limit and the same load. The runs of a round follow one another, so that ratios are those of one moment; the
table shows the medians over the rounds. Quality is asked of each model afterwards, outside any load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.spine import compare
from profiling.units import MIB

ROOT = Path(__file__).resolve().parents[1]
_WANTED_MIB = 110
_WANTED_RATIO = 3.0
_WITHIN_POINTS = 1.0


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the model: how it is asked for."""

    runtime: str
    dtype: str
    checkpoint: str

    @property
    def name(self) -> str:
        """As a variant in a config file."""
        return f"{self.runtime}-{self.dtype}-{'private' if self.checkpoint == 'pickle' else 'mapped'}"

    @property
    def env(self) -> dict[str, str]:
        """The backend's variables."""
        return {"MODEL_RUNTIME": self.runtime, "MODEL_DTYPE": self.dtype, "MODEL_CHECKPOINT": self.checkpoint}


FORMS = tuple(
    Form(runtime, dtype, checkpoint)
    for runtime, dtype in (
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("torch", "int8"),
        ("onnx", "float32"),
        ("onnx", "int8"),
    )
    for checkpoint in ("pickle", "safetensors")
)
REFERENCE, BEST = FORMS[0], FORMS[-2:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FORM", help="beside the reference form; all where none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, default=64)
    parser.add_argument("--duration", default="10s")
    options = parser.parse_args()
    if unknown := set(options.names) - {form.name for form in FORMS}:
        parser.error(f"no such form: {', '.join(sorted(unknown))}; there are {', '.join(form.name for form in FORMS)}")
    forms = [form for form in FORMS if not options.names or form is REFERENCE or form.name in options.names]
    for form in forms:
        backend(form, "prepare")
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-", dir=ROOT) as folder:
        config = Path(folder) / "oomproof.toml"
        config.write_text(config_text())
        load = ("--users", str(options.users), "--duration", options.duration, "--repeats", str(options.rounds))
        names = [form.name for form in forms]
        compared = compare(Path(folder), *names, "--target", str(config), "--sandbox", "cgroup", "--no-profile", *load)
    runs = {form.name: of_variant(compared.document["runs"], form.name) for form in forms}
    points = {form.name: 100 * json.loads(backend(form, "quality", "--json"))["share"] for form in forms}
    print(
        f"Measured on {platform.release()}, {platform.machine()}, Python {platform.python_version()}: {options.users} users,"
    )
    print(
        f"{options.duration}, {options.rounds} rounds; torch-float32-private answered {rps(runs[REFERENCE.name][0]):.0f}/s.\n"
    )
    print("| form | peak unreclaimable | requests/s, times | p95, times | kills, failures | answers as they must be |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for form in forms:
        print(row(form.name, runs, points[form.name]), flush=True)
    return verdict(runs, points)


def row(name: str, runs: dict[str, list[dict[str, Any]]], points: float) -> str:
    mine = runs[name]
    bad = f"{sum(run['oom_kills'] for run in mine)}, {sum(run['failures'] for run in mine)}"
    return (
        f"| {name} | {peak_mib(mine):.1f} MiB | {ratio(name, runs, 'rps'):.2f} | {ratio(name, runs, 'p95_ms'):.2f} |"
        f" {bad} | {points:.1f} % |"
    )


def verdict(runs: dict[str, list[dict[str, Any]]], points: dict[str, float]) -> int:
    """What is wanted of ONNX int8, of both its forms, and of the answers of all; the exit code."""
    best = [form.name for form in BEST if form.name in runs]
    peaks = [peak_mib(runs[name]) for name in best]
    ratios = [ratio(name, runs, "rps") for name in best]
    apart = max(abs(share - points[REFERENCE.name]) for share in points.values())
    points_row = (f"all answer within {_WITHIN_POINTS:.0f} point", apart <= _WITHIN_POINTS, f"{apart:.2f} points")
    reached = [points_row]
    if best:
        most, least = max(peaks), min(ratios)
        reached += [
            (f"onnx int8 stays under {_WANTED_MIB} MiB", most < _WANTED_MIB, f"{most:.1f} MiB"),
            (
                f"onnx int8 answers at least {_WANTED_RATIO:.0f} times as many",
                least >= _WANTED_RATIO,
                f"{least:.2f} times",
            ),
        ]
    print()
    for what, good, measured in reached:
        print(f"{'✓' if good else '✗'} {what}: {measured}")
    return 0 if all(good for _, good, _ in reached) else 1


def peak_mib(runs: list[dict[str, Any]]) -> float:
    """The highest of all rounds: a limit has to hold for each."""
    return max(int(run["peak_unreclaimable_bytes"]) for run in runs) / MIB


def ratio(name: str, runs: dict[str, list[dict[str, Any]]], metric: str) -> float:
    """To the reference form in the same round; the median of the rounds."""
    pairs = zip(runs[name], runs[REFERENCE.name], strict=True)
    return median(float(mine[metric]) / float(reference[metric]) for mine, reference in pairs)


def rps(run: dict[str, Any]) -> float:
    return float(run["rps"])


def of_variant(runs: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    found = [run for run in runs if run["name"].partition(" #")[0] == name]
    stuck = [run["run_dir"] for run in found if not run["requests"]]
    if stuck:
        raise SystemExit(f"{name} answered nothing: {stuck[0]}")
    return found


def config_text() -> str:
    """The reference backend as a user would write it, with a variant for each form."""
    command = [sys.executable, "-m", "gunicorn", "-c", "backend/gunicorn.conf.py"]
    lines = [
        "[target]",
        "name = 'runtimes'",
        f"command = {json.dumps(command)}",
        f"directory = {json.dumps(str(ROOT))}",
        "ready = '/ready'",
        "startup_timeout = '120s'",
        "memory = '512MiB'",
        "[target.env]",
        "PYTHONDONTWRITEBYTECODE = '1'",
        "[request]",
        "method = 'POST'",
        "path = '/chat'",
        "json = { session_id = '{session}', query = '{query}' }",
    ]
    for form in FORMS:
        lines += [f"[variants.{form.name}.env]", *(f"{key} = '{value}'" for key, value in form.env.items())]
    return "\n".join(lines) + "\n"


def backend(form: Form, module: str, *options: str) -> str:
    """What one of the backend's commands prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"backend.{module}", *options],
        cwd=ROOT,
        env={**os.environ, **form.env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
