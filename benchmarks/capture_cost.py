"""What the memray pass costs the service: `python -m benchmarks.capture_cost` prints a Markdown table, two minutes, in one run.

The same work alone, under `memray run` and under our launcher with its limit, in turns. CPU is the process's own with its
children's, memory its anonymous pages when the work is done, beyond those of the work alone; both as medians over the rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from profiling.measuring.capture import LAUNCHER, MAX_CAPTURE_BYTES
from profiling.units import format_bytes

ROUNDS = 7
_TELL = """
for line in open("/proc/self/smaps_rollup"):
    if line.startswith("Anonymous:"):
        print(int(line.split()[1]) * 1024)
"""
WORKS = {
    "a Flask service: 3,000 requests with JSON": """
import flask
app = flask.Flask("shop")
@app.post("/chat")
def chat():
    query = flask.request.get_json()["query"]
    return {"response": query.upper(), "words": [word * 20 for word in query.split()]}
client = app.test_client()
for number in range(3000):
    assert client.post("/chat", json={"query": f"how much is {number} " * 20}).status_code == 200
""",
    "allocation by allocation: 3 million pieces": """
def piece(size):
    return bytearray(size)
for number in range(3_000_000):
    piece(600 + number % 7 * 16)
""",
    "numbers: 4 threads of NumPy": """
import os, threading
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
def work():
    for _ in range(60):
        (np.random.default_rng(1).normal(size=(300, 300)) @ np.ones((300, 300))).sum()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
}


class Cost(NamedTuple):
    """Of one process."""

    cpu_s: float
    anon_bytes: int


def run(command: list[str], log: Path) -> Cost:
    """Run it to its end; its last line of output is what it holds."""
    with log.open("wb") as output:
        pid = os.posix_spawn(
            command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
        )  # fmt: skip
        _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {os.waitstatus_to_exitcode(status)}")
    return Cost(used.ru_utime + used.ru_stime, int(log.read_text().split()[-1]))


def main() -> None:
    python = sys.executable
    print(
        "| work | CPU alone | `memray run` | our launcher | launcher ÷ `memray run` | memory: `memray run` | our launcher |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="oomproof-cost-") as folder:
        place = Path(folder)
        for name, work in WORKS.items():
            script, capture = place / "work.py", place / "capture.bin"
            script.write_text(work + _TELL)
            limit = ["--limit", str(MAX_CAPTURE_BYTES)]
            commands = {
                "alone": [python, str(script)],
                "memray run": [python, "-m", "memray", "run", "-qf", "--follow-fork", "-o", str(capture), str(script)],
                "launcher": [python, str(LAUNCHER), "--output", str(capture), *limit, "--", str(script)],
            }
            found: dict[str, list[Cost]] = {kind: [] for kind in commands}
            for _ in range(ROUNDS):
                for kind, command in commands.items():
                    found[kind].append(run(command, place / "log"))
            cpu = {kind: statistics.median(cost.cpu_s for cost in costs) for kind, costs in found.items()}
            held = {kind: int(statistics.median(cost.anon_bytes for cost in costs)) for kind, costs in found.items()}
            more = {kind: format_bytes(held[kind] - held["alone"]) for kind in ("memray run", "launcher")}
            ratios = [
                ours.cpu_s / theirs.cpu_s for ours, theirs in zip(found["launcher"], found["memray run"], strict=True)
            ]
            print(
                f"| {name} | {cpu['alone']:.2f} s | {cpu['memray run']:.2f} s | {cpu['launcher']:.2f} s |"
                f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
                f" +{more['memray run']} | +{more['launcher']} |"
            )


if __name__ == "__main__":
    main()
