"""A report of a large capture: how long it takes, and how much memory; and that recording ends at its limit.

    python -m benchmarks.big_capture [--size 2GiB] [--keep DIR]

A service allocates until its capture has the size, then until the kernel kills it. What is made of the capture afterwards runs in
a cgroup of its own: `peak` is the unreclaimable memory of all processes that make the report, sampled 100 times a second.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from commands import results
from loadtests.plan import LoadPlan, RequestTemplate
from profiling.errors import DataError
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.measuring import samples, store
from profiling.measuring.events import Event
from profiling.measuring.measure import RunPlan
from profiling.measuring.memray_pass import CAPTURE_FILE, RecordedPass, explain, record_pass
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.profiles import Profile
from profiling.units import format_bytes, parse_bytes
from profiling.values import Budget, Limits, Service, Target

ROOT = Path(__file__).parents[1]
NAME = "1-memray-churn"
_SERVICE_BYTES = 512 * 2**20
_REPORT_BYTES = 4 * 2**30
"""Far above what is allowed, so that a breach would show and not be killed."""
_LONGEST_S = 3600.0


class Silent:
    def notify(self, event: Event, /) -> None:
        """Nobody looks."""


def service(size: int) -> Target:
    env = {"CHURN_FILE": "{run_dir}/" + CAPTURE_FILE, "CHURN_UNTIL": str(size)}
    command = (sys.executable, "churn.py")
    own = Service(command=command, directory=str(ROOT / "tests" / "targets"), env=env, ready="/")
    return Target(name="churn", services=(own,), request=RequestTemplate())


def record_it(directory: Path, size: int) -> None:
    """The pass, with a limit that is a tenth above the size: memray asks for a tenth more each time."""
    plan = RunPlan(
        name="churn",
        target=service(size),
        limits=Limits(memory_bytes=_SERVICE_BYTES),
        load=LoadPlan.constant(2, _LONGEST_S),
        cold=False,
    )
    sandbox = CgroupSandbox()
    try:
        recorded = record_pass(plan, sandbox, directory / NAME, Silent(), size * 5 // 4)
    finally:
        sandbox.close()
    if isinstance(recorded, Profile):
        raise SystemExit(recorded.reason)


def make_report(directory: Path) -> None:
    """What `profile` does after the pass."""
    started = time.monotonic()
    place = directory / NAME
    result = store.load(place).result
    found = explain(RecordedPass(result, place, place / CAPTURE_FILE), source_lines=False)
    experiment = Experiment(
        command="profile",
        argv=("benchmarks.big_capture",),
        candidate="churn",
        budget=Budget(),
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        runs=(NAME,),
        profiles=(found,),
    )
    record.save(directory, experiment)
    page = record.report(directory, experiment)
    results.write_files(page)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(one.ru_utime + one.ru_stime for one in used)
    print(f"CPU time: {cpu_s:.0f} s, in {time.monotonic() - started:.0f} s")
    print(f"left out: {found.reason or 'nothing'}")
    print(page.autopsies[0].sentence if page.autopsies else "no autopsy")


def measure_report(directory: Path) -> tuple[int, float, str]:
    """Peak of the unreclaimable memory in bytes, seconds, and what it printed."""
    sandbox = CgroupSandbox()
    log, path = directory / "report.log", directory / "report-samples.bin"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    running = sandbox.run(
        [sys.executable, "-m", "benchmarks.big_capture", "--report", str(directory)],
        directory=ROOT,
        env=dict(os.environ),
        limits=Limits(memory_bytes=_REPORT_BYTES),
        log=log,
    )
    try:
        sampling = running.sample(path, 100.0)
        while running.exit_status() is None:
            time.sleep(0.05)
        seconds = time.monotonic() - started
        sampling.stop()
    finally:
        running.close()
        sandbox.close()
    if running.exit_status():
        raise DataError(log.read_text(), "see what it says")
    rows = np.fromfile(path, np.dtype(list(samples.FIELDS)))
    return int(rows["unreclaimable"].max()), seconds, log.read_text()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=parse_bytes, default=2 * 2**30)
    options.add_argument("--keep", type=Path, help="a directory that stays; a capture that is there already is used")
    options.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.report:
        make_report(given.report)
        return
    directory = given.keep or Path(tempfile.mkdtemp(prefix="oomproof-big-capture-"))
    try:
        if not (directory / NAME / "run.json").exists():
            record_it(directory, given.size)
        capture = directory / NAME / CAPTURE_FILE
        peak, seconds, said = measure_report(directory)
        page = directory / results.REPORT_FILE
        print("| capture | report made in | peak of all processes | report.html |")
        print("| --- | --- | --- | --- |")
        sizes = format_bytes(capture.stat().st_size), format_bytes(peak), format_bytes(page.stat().st_size)
        print(f"| {sizes[0]} | {seconds:.0f} s | {sizes[1]} | {sizes[2]} |")
        print(said)
    finally:
        if not given.keep:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
