"""How much a gate's `peak_heap` differs from pass to pass where nothing changed: `python -m benchmarks.gate_heap DIRECTORY`.

Memray passes of the reference backend with the load that a gate gives them, one after the other; `--passes N`, default 6.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

from commands import bench
from commands.gate_runs import pass_load
from commands.job import gate_job
from commands.sandbox import open_sandbox
from profiling import reference
from profiling.measuring import capture
from profiling.measuring.events import Silent
from profiling.measuring.measure import RunPlan
from profiling.measuring.memray_pass import record_pass
from profiling.profiles import Profile
from profiling.stacks import PEAK


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--passes", type=int, default=6)
    asked = parser.parse_args()
    job = gate_job(target=reference.NAME, checkpoint=None, memory=None, cpus=None, port=None)
    peaks = []
    with open_sandbox("cgroup", job.target, Silent()) as sandbox:
        bench.prepare(job.target, sandbox, Silent())
        for number in range(asked.passes):
            plan = RunPlan(name="pass", target=job.target, limits=job.limits, load=pass_load(job.load), cold=None)
            recorded = record_pass(plan, sandbox, asked.directory / str(number + 1), Silent())
            if isinstance(recorded, Profile):
                print(f"there is no pass: {recorded.reason}", file=sys.stderr)
                return 1
            with capture.Folding(capture.captures(recorded.capture), PEAK) as folding:
                peaks.append(folding.result().bytes)
    middle = median(peaks)
    farthest = max(abs(peak - middle) for peak in peaks) / middle
    print(f"peak heap of {len(peaks)} passes, in MB: {', '.join(f'{peak / 1e6:.2f}' for peak in peaks)}")
    print(f"farthest from the median: {farthest:.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
