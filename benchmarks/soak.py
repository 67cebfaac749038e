"""What a run of a day costs to analyse and to render: `python -m benchmarks.soak`, about a minute.

The run is simulated, in the format that sampler and request log write: 100 samples and 100 requests a second, for as long as
`--hours` says. `report` then reads it in a process of its own, as it reads any run, and again. A peak of a single sample lies
in the middle, and is to be found in the figures. With `--services 2` it is a system of two, each sampled at moments of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from loadtests import requestlog
from loadtests.plan import LoadPlan, RequestTemplate
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.measuring import samples, store
from profiling.units import MIB, format_bytes
from profiling.values import Budget, Limits, Outcome, PageCache, Phase, RunResult, Service, ServiceResult, Target

ROOT = Path(__file__).resolve().parents[1]
HZ = 100
SPIKE_BYTES = 480 * MIB
_START_NS = 10**12
_BLOCK = 1_000_000
_APART_NS = 3_000_000
"""Each service has a sampler of its own: no two look at the same moment."""
_REPORT = """
import atexit, pathlib, re, sys
def note():
    text = pathlib.Path("/proc/self/status").read_text()
    pathlib.Path({place!r}).write_text(re.search(r"VmHWM:\\s+(\\d+)", text)[1])
atexit.register(note)
sys.argv = ["oomproof", "report", {run!r}, "--json"]
import cli
cli.entry()
"""


class Cost(NamedTuple):
    """What one `report` took."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    """VmHWM of its process."""
    document: dict[str, Any]


def simulate(directory: Path, hours: float, rate: int, services: int = 1) -> Path:
    """A stored experiment with one run of that length; answers with its directory."""
    seconds = round(hours * 3600)
    run = store.make_directory(directory / "1-soak")
    result = _result(seconds, rate)
    store.save(run, result if services == 1 else _system(result, services))
    random = np.random.default_rng(1)
    for number in range(services):
        place = run if services == 1 else store.make_directory(run / store.SERVICES_DIRECTORY / f"service-{number}")
        with (place / store.SAMPLES_FILE).open("wb") as file:
            for first in range(0, HZ * seconds, _BLOCK):
                rows = _samples(first, min(HZ * seconds, first + _BLOCK), HZ * seconds, random)
                rows["t_ns"] += number * _APART_NS
                file.write(rows.tobytes())
    with (run / store.REQUESTS_FILE).open("wb") as file:
        for first in range(0, rate * seconds, _BLOCK):
            file.write(_requests(first, min(rate * seconds, first + _BLOCK), rate, random).tobytes())
    experiment = Experiment(
        command="compare", argv=("cli.py", "compare"), candidate="soak", budget=Budget(),
        created_at="2026-01-01T00:00:00+00:00", runs=(run.name,),
    )  # fmt: skip
    record.save(directory, experiment)
    return directory


def _result(seconds: int, rate: int) -> RunResult:
    end_ns = _START_NS + seconds * 10**9
    return RunResult(
        name="soak",
        variant="soak",
        target=Target(
            name="soak", services=(Service(command=("serve",), directory="/srv"),), request=RequestTemplate()
        ),
        limits=Limits(memory_bytes=512 * MIB),
        load=LoadPlan.constant(8, float(seconds), rate=float(rate)),
        sandbox="cgroup-v2",
        argv=("cli.py", "compare"),
        started_at="2026-01-01T00:00:00+00:00",
        outcome=Outcome.COMPLETED,
        start_ns=_START_NS,
        ready_ns=_START_NS + 10**9,
        load_start_ns=_START_NS + 10**9,
        load_end_ns=end_ns - 10**9,
        end_ns=end_ns,
        phases=(Phase(name="load", start_ns=_START_NS + 10**9, end_ns=end_ns - 10**9),),
        clean_end=True,
        page_cache=PageCache.COLD,
        sample_fields=samples.FIELDS,
        request_fields=tuple(requestlog.FIELDS),
    )


def _system(result: RunResult, count: int) -> RunResult:
    """The same run of several services, each with a limit of its own."""
    limits = result.limits
    assert limits is not None
    alone = result.target.service
    services = tuple(msgspec.structs.replace(alone, name=f"service-{number}", limits=limits) for number in range(count))
    own = tuple(
        ServiceResult(
            name=service.name, limits=limits, oom_kills=0, kills_certain=True, engine_oom_flag=None, exit_status=None,
            ready_ns=result.ready_ns, listening_ns=None, kernel_peak_charged_bytes=None, clean_end=True,
        )
        for service in services
    )  # fmt: skip
    return msgspec.structs.replace(
        result,
        target=msgspec.structs.replace(result.target, services=services),
        limits=Limits(memory_bytes=count * limits.memory_bytes),
        services=own,
    )


def _samples(first: int, last: int, count: int, random: np.random.Generator) -> np.ndarray:
    """A leak of 64 MiB over the run, noise, and one sample that is far above."""
    number = np.arange(first, last)
    rows = np.zeros(len(number), list(samples.FIELDS))
    rows["t_ns"] = _START_NS + number * (10**9 // HZ)
    held = 300 * MIB + (64 * MIB * (number / count)).astype(np.int64) + random.integers(0, MIB, len(number))
    held[number == count // 2] = SPIKE_BYTES
    for share, name in enumerate(("anon", "unreclaimable", "working_set", "charged", "rss", "pss")):
        rows[name] = held + share * random.integers(0, MIB, len(number))
    rows["unreclaimable"] = held
    for name in ("file", "kernel", "shmem"):
        rows[name] = random.integers(0, 32 * MIB, len(number))
    rows["processes"] = rows["births"] = 2
    rows["refault_file"] = rows["pressure_full_us"] = number // 1000
    return rows


def _requests(first: int, last: int, rate: int, random: np.random.Generator) -> np.ndarray:
    rows = np.zeros(last - first, requestlog.FIELDS)
    rows["intended_ns"] = rows["sent_ns"] = _START_NS + 10**9 + np.arange(first, last) * (10**9 // rate)
    rows["finished_ns"] = rows["sent_ns"] + (random.lognormal(3, 1, len(rows)) * 1e6).astype(np.int64)
    rows["status"], rows["active_users"] = 200, 8
    return rows


def report(directory: Path) -> Cost:
    """`report` of it, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="oomproof-soak-") as folder:
        place = Path(folder) / "peak"
        began, cpu = time.monotonic(), _children_cpu_s()
        done = subprocess.run(
            [sys.executable, "-c", _REPORT.format(place=str(place), run=str(directory))],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not done.stdout:
            sys.exit(done.stderr)
        used = _children_cpu_s() - cpu
        return Cost(time.monotonic() - began, used, int(place.read_text()) * 1024, json.loads(done.stdout))


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def on_disk(directory: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--services", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="make the run here and leave it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oomproof-soak-", dir=ROOT) as folder:
        directory = simulate(
            store.make_directory(options.keep or Path(folder)), options.hours, options.rate, options.services
        )
        measured = on_disk(directory)
        costs = [report(directory) for _ in range(2)]
        run = costs[0].document["runs"][0]
        what = f", {options.services} services" if options.services > 1 else ""
        print(f"| a run of {options.hours:g} h, {options.rate} requests/s{what} | |\n| --- | --- |")
        print(f"| samples, requests | {run['samples']:,}, {run['requests']:,} |")
        print(f"| on disk, as measured | {format_bytes(measured)} |")
        print(f"| on disk, with its report | {format_bytes(on_disk(directory))} |")
        for name, cost in zip(("report", "report, again"), costs, strict=True):
            print(f"| {name} | {cost.seconds:.1f} s, {cost.cpu_s:.1f} s of a core, {format_bytes(cost.peak_bytes)} |")
        peaks = [service["peak_unreclaimable_bytes"] for service in run["services"]] or [
            run["peak_unreclaimable_bytes"]
        ]
        found = peaks == [SPIKE_BYTES] * options.services
        print(f"| the peak of a single sample | {'found' if found else 'LOST'} |")


if __name__ == "__main__":
    main()
