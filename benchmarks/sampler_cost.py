"""What a hundred looks a second cost, taken apart: `python -m benchmarks.sampler_cost`, half a minute, in one run.

Each line is the share of one core of a process that wakes a hundred times a second on this machine, while both cores
are busy: doing nothing, reading the two files that a look reads, and being the sampler.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from profiling.measuring.sampler import SamplerProcess
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits

SECONDS = 10
BALLAST = "held = bytearray(100 << 20)\nimport time\ntime.sleep(600)"


def bare(files: list[str]) -> float:
    """Share of a core of a loop that sleeps 10 ms and reads `files`."""
    descriptors = [os.open(path, os.O_RDONLY) for path in files]
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() < began + SECONDS:
        time.sleep(0.01)
        for descriptor in descriptors:
            os.pread(descriptor, 8192, 0)
    return (time.process_time() - cpu) / (time.monotonic() - began)


def sampler(version: int, directory: str) -> float:
    """Share of a core of the sampler, its start included."""
    with tempfile.TemporaryDirectory(prefix="oomproof-cost-") as folder:
        process = SamplerProcess(version, directory, Path(folder) / "samples.bin", 100)
        time.sleep(SECONDS)
        return float(process.stop()["cpu_s"]) / SECONDS


def spin() -> None:
    while True:
        pass


def main() -> None:
    sandbox = CgroupSandbox()
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    running = sandbox.run(
        [sys.executable, "-S", "-c", BALLAST],
        directory=Path("/"),
        env={},
        limits=Limits(memory_bytes=200 << 20),
        log=Path(os.devnull),
    )
    try:
        for process in busy:
            process.start()
        directory = Path(running.source.directory)
        current = "memory.usage_in_bytes" if running.source.version == 1 else "memory.current"
        files = [str(directory / "memory.stat"), str(directory / current)]
        print("| a process that, a hundred times a second, | takes of one core |\n| --- | --- |")
        print(f"| wakes | {bare([]):.2%} |")
        print(f"| wakes and reads the two files | {bare(files):.2%} |")
        print(f"| is the sampler | {sampler(running.source.version, running.source.directory):.2%} |")
    finally:
        for process in busy:
            process.terminate()
        running.close()
        sandbox.close()


if __name__ == "__main__":
    main()
