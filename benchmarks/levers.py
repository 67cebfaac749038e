"""Whether what `levers` says holds: `python -m benchmarks.levers` plants levers of known size, half an hour or so.

A service holds a ballast of 60 MiB. One lever frees 12 MiB of it, one adds 8 MiB, one changes nothing, and each run's ballast
varies by up to 4 MiB, so that there is noise to be told from. `levers` is run 20 times, and the interval of each saving must cover
the truth in at least 19 of them. With `--table FILE` the reference backend's levers are measured instead, and the table is
written into FILE between its markers: of `--target reference` the generic ones, which may take 15 minutes; of `--target
reference-services`, with two workers and 64 users, those that have to do with model and services.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from profiling import reference
from profiling.units import MIB, format_bytes, format_percent
from reports.levering import interval, saved, times

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ROOT / "tests" / "targets"
RUNS, COVERED_AT_LEAST = 20, 19
HELD_MIB, NOISE_MIB = 60, 4
PLANTED_MIB = {"frees": 12, "adds": -8, "null": 0}
MOST_S = 15 * 60
MODEL = (
    "dtype-bfloat16", "dtype-int8", "runtime-onnx", "onnx-int8", "disable-ocr", "disable-rag", "disable-agents", "lazy-imports",
    "split-services",
)  # fmt: skip
"""Levers that only the reference backend has and that have a table of their own."""
SERVICES = (*MODEL, "checkpoint-mapped")
ARGUMENTS = {
    reference.NAME: tuple(f"--skip={name}" for name in MODEL),
    reference.SERVICES_NAME: ("--users", "64", "--duration", "4s", *(f"--only={name}" for name in SERVICES)),
}
ENVIRONMENT: dict[str, dict[str, str]] = {reference.NAME: {}, reference.SERVICES_NAME: {"WEB_CONCURRENCY": "2"}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--table", type=Path, metavar="FILE")
    parser.add_argument("--target", choices=ARGUMENTS, default=reference.NAME, help="with --table")
    parser.add_argument("--report", type=Path, metavar="RUN", help="with --table: a run that was made already")
    asked = parser.parse_args()
    if asked.table is not None:
        return table(asked.table, asked.target, asked.report)
    return coverage(asked.runs)


def coverage(runs: int) -> int:
    """How many of the intervals cover the truth."""
    covered = dict.fromkeys(PLANTED_MIB, 0)
    widths: list[int] = []
    took_s: list[float] = []
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        (Path(scratch) / "oomproof.toml").write_text(planted())
        for number in range(1, runs + 1):
            started = time.monotonic()
            found = levers(
                Path(scratch), *(f"--only={name}" for name in PLANTED_MIB), "--users", "2", "--duration", "1s"
            )
            took_s.append(time.monotonic() - started)
            rows = {row["lever"]: row for row in found["rows"]}
            for name, truth in PLANTED_MIB.items():
                low, high = rows[name]["saved_low_bytes"], rows[name]["saved_high_bytes"]
                known = low is not None and high is not None
                covered[name] += known and low <= truth * MIB <= high
                widths += [high - low] if known else []
            print(f"{number} of {runs}: {covered}, {took_s[-1]:.0f} s", file=sys.stderr, flush=True)
    wanted = round(runs * COVERED_AT_LEAST / RUNS)
    print("| planted | wanted | intervals that cover it | |\n| --- | --- | ---: | --- |")
    for name, count in covered.items():
        mark = "✓" if count >= wanted else "✗"
        print(
            f"| {name}: {PLANTED_MIB[name]:+d} MiB saved | at least {wanted} of {runs} | {count} of {runs} | {mark} |"
        )
    middle = sorted(widths)[len(widths) // 2] if widths else 0
    print(f"\nMedian width of an interval {format_bytes(middle)}; {sum(took_s) / len(took_s):.0f} s each.")
    return 0 if min(covered.values()) >= wanted else 1


def planted() -> str:
    """The config file of a service with levers of known size."""
    variables = {"frees": ("FREED_MIB", 12), "adds": ("ADDED_MIB", 8), "null": ("NOTHING", 1)}
    noise = NOISE_MIB * MIB // 2**16
    return (
        f"[target]\nname = 'planted'\ncommand = [{json.dumps(sys.executable)}, 'levered.py']\ndirectory = '{TARGETS}'\n"
        f"ready = '/'\nmemory = '256MiB'\n[target.env]\nHELD_MIB = '{HELD_MIB}'\nNOISE_BYTES = '{noise}'\n"
        + "".join(f"[levers.{name}.env]\n{key} = '{value}'\n" for name, (key, value) in variables.items())
    )


def table(page: Path, target: str, made: Path | None) -> int:
    """Measure a target's levers, and write the table into `page` between its markers."""
    begin, end = f"<!-- levers of {target}: made by python -m benchmarks.levers -->", f"<!-- end of {target} -->"
    text = page.read_text()
    if begin not in text or end not in text:
        raise SystemExit(f"{page} has no markers: {begin} and {end}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        if made is not None:
            found = json.loads(command(ROOT, "report", str(made), "--json"))
        else:
            words = ("--target", target, *ARGUMENTS[target])
            found = levers(ROOT, *words, out=scratch, **ENVIRONMENT[target])
    took_s = time.monotonic() - started
    lines = "\n".join(rows_of(found))
    head, tail = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    page.write_text(f"{head}\n\n{found['sentence']}\n\n{lines}\n\n{tail}")
    if made is None:
        print(f"{took_s:.0f} s of {MOST_S}: {'✓' if took_s <= MOST_S else '✗'}")
    return 0 if made is not None or took_s <= MOST_S else 1


def rows_of(found: dict[str, Any]) -> list[str]:
    """The advice one by one, as rows of a Markdown table."""
    lines = [
        "| lever | whose advice | outcome | saves (98 % interval) | requests/s | p95 | quality | |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in found["rows"]:
        if row["lever"] in MODEL and row["outcome"] == "not-tried":
            continue
        ends = interval(row["saved_low_bytes"], row["saved_high_bytes"])
        size = "–" if row["saved_bytes"] is None else saved(row["saved_bytes"]) + (f" ({ends})" if ends else "")
        cells = (
            f"`{row['lever']}`: {row['advice']}", row["guide"], row["outcome"], size, times(row["rps_ratio"]),
            times(row["p95_ratio"]), "–" if row["quality"] is None else format_percent(row["quality"]), row["note"],
        )  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def levers(place: Path, *words: str, out: str | None = None, **env: str) -> dict[str, Any]:
    """The document of one `levers`."""
    document: dict[str, Any] = json.loads(
        command(place, "levers", "--sandbox", "cgroup", "--json", "--out", out or str(place / "runs"), *words, **env)
    )
    if "error" in document:
        raise SystemExit(f"{document['error']['message']}\n{document['error']['hint']}")
    return document


def command(place: Path, *words: str, **env: str) -> str:
    words = (sys.executable, str(ROOT / "cli.py"), *words)
    done = subprocess.run(words, cwd=place, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
