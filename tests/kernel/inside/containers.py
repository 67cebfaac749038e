"""Experiments: our own container sandbox with Podman, whose containers crun and runc start."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from profiling.measuring.cgroup import parse_keyed
from profiling.measuring.readiness import free_port
from profiling.measuring.sandboxes.base import Launch
from profiling.measuring.sandboxes.containers import leftovers
from profiling.measuring.sandboxes.containers.engine import Engine, podman_service
from profiling.measuring.sandboxes.containers.local_eyes import LocalEyes
from profiling.measuring.sandboxes.containers.running import RunningContainer
from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
from profiling.values import Limits, Service
from tests.kernel.inside import image
from tests.kernel.inside.harness import CGROUPS, GO, MIB, WAIT, Curve, Facts, Report, median, processes, wait_until

BALLAST_MIB = 96
_HUNGRY = f"held = bytearray({256 * MIB})"
_PAUSE = "signal.pause()"
# The guest's first file system cannot be pivoted away from, and it has no systemd.
_STORAGE = """[storage]
driver = "overlay"
graphroot = "/data/containers"
runroot = "/run/containers"
"""
_SETTINGS = """[containers]
log_driver = "k8s-file"
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
no_pivot_root = true
"""
_numbers = itertools.count(1)


class Contained:
    """A started container and its cgroup's files."""

    def __init__(self, running: RunningContainer, log: Path) -> None:
        assert isinstance(running._eyes, LocalEyes)
        assert running._eyes.directory is not None
        self.running = running
        self.witness = running._eyes._witness.pid
        self.cgroup = running._eyes.directory
        self._log = log

    def said(self, word: str) -> None:
        wait_until(lambda: word in self._log.read_text())

    def pids(self) -> list[int]:
        return [pid for pid in map(int, self.read("cgroup.procs").split()) if pid != self.witness]

    def go(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGUSR1)

    def end(self) -> int | None:
        wait_until(lambda: self.running.exit_status() is not None)
        return self.running.exit_status()

    def read(self, name: str) -> str:
        return (self.cgroup / name).read_text().strip()


@contextlib.contextmanager
def started(sandbox: ContainerSandbox, code: str, memory_mib: int = 64, **limits: object) -> Iterator[Contained]:
    log = Path(f"/tmp/container-{next(_numbers)}.log")
    running = sandbox.start(
        Launch(
            service=Service(image=image.image("-c", WAIT + code), directory="/"),
            limits=Limits(memory_bytes=memory_mib * MIB, **limits),  # type: ignore[arg-type]
            port=free_port(),
            directory="/tmp",
            log=str(log),
        )
    )
    assert isinstance(running, RunningContainer)
    try:
        yield Contained(running, log)
    finally:
        running.close()


def kill(sandbox: ContainerSandbox) -> Facts:
    """Of the first process, with which the container ends and its cgroup goes."""
    rounds = []
    for _ in range(5):
        with started(sandbox, _HUNGRY, memory_mib=32) as it:
            status = it.end()
            counters = it.running.counters()
        rounds.append([status, counters.oom_kills, counters.certain, counters.peak_charged_bytes])
    return {"rounds": rounds}


def kill_of_a_child(sandbox: ContainerSandbox) -> Facts:
    """And every limit that can be asked for, in one container: a start takes seconds here."""
    code = f"import os\nif os.fork() == 0:\n    {_HUNGRY}\nos.wait(); print('bereaved', flush=True)\n{_PAUSE}"
    with started(sandbox, code, cpus=1.5, pids=16) as it:
        it.said("bereaved")
        counters = it.running.counters()
        return {
            "kills": counters.oom_kills,
            "parent": it.running.exit_status(),
            "left": len(it.pids()),
            **{name: it.read(name) for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")},
        }


def ballast(sandbox: ContainerSandbox) -> Facts:
    """Anonymous memory of a known size, and what our sampler reads of it while the witness is in the cgroup."""
    path = Path(f"/tmp/samples-{next(_numbers)}.bin")
    with started(sandbox, f"{GO}held = bytearray(b'x') * {BALLAST_MIB * MIB}\n{GO}", memory_mib=160) as it:
        it.said("up")
        wait_until(lambda: str(it.witness) in it.read("cgroup.procs").split())
        sampling = it.running.sample(path, 100.0)
        curve = Curve(path)
        wait_until(curve.records)
        before = curve.grows_by(40)
        it.go()
        it.said("up\nup")
        curve.grows_by(40)
        after = curve.grows_by(40)
        counters = it.running.counters()
        sampling.stop(30.0)
    names = ("unreclaimable", "charged", "rss", "processes")
    return {
        "ballast": BALLAST_MIB * MIB,
        "before": {name: median([record[name] for record in before]) for name in names},
        "after": {name: median([record[name] for record in after]) for name in names},
        "kernel_peak": counters.peak_charged_bytes,
        "kills": counters.oom_kills,
    }


def oom_group(sandbox: ContainerSandbox) -> Facts:
    """A first process with two children, of which one takes too much."""
    code = f"""import os
{GO}
if os.fork() == 0: {_PAUSE}
if os.fork() == 0: {_HUNGRY}
os.wait(); print('bereaved', flush=True); {_PAUSE}"""
    with started(sandbox, code, oom_group=True) as it:
        it.said("up")
        asked = it.read("memory.oom.group")
        it.go()
        status = it.end()
        counters = it.running.counters()
    return {"asked": asked, "status": status, "kills": counters.oom_kills, "certain": counters.certain}


def waiting(sandbox: ContainerSandbox) -> Facts:
    """What the witness takes of the processor while the limit is reached again and again: each change of memory.events
    wakes it, and none may keep it awake."""
    code = f"""{GO}
block = bytes({MIB})
while True:
    with open('/tmp/written', 'wb', buffering=0) as file:
        for _ in range(64): file.write(block)"""
    with started(sandbox, code, memory_mib=24) as it:
        it.said("up")
        before = _reached(it)
        it.go()
        wait_until(lambda: _reached(it) > before)
        before, began, used = _reached(it), time.monotonic(), _used_s(it.witness)
        wait_until(lambda: _reached(it) > before + 200)
        return {
            "used_s": _used_s(it.witness) - used,
            "span_s": time.monotonic() - began,
            "kills": it.running.counters().oom_kills,
        }


def _reached(it: Contained) -> int:
    return parse_keyed((it.cgroup / "memory.events").read_bytes())[b"max"]


def _used_s(pid: int) -> float:
    """proc(5), stat: fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def nothing_left(engine: Engine) -> Facts:
    """Of containers, cgroups and processes, once the sandbox is closed; Podman's service still runs."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not _others(), 10.0)  # podman clears up after each container in a process of its own
    return {
        "containers": [leftovers.name(container) for container, _ in leftovers.labelled(engine)],
        "cgroups": [str(path.relative_to(CGROUPS)) for path in CGROUPS.rglob("*") if path.is_dir()],
        "processes": _others(),
    }


def _others() -> list[str]:
    """But for Podman's service and the keeper that would end it."""
    of_the_service = ("podman system service", "containers.keeper unix:///tmp/oomproof-podman-")
    kept = [command for command in processes().values() if not any(words in command for words in of_the_service)]
    keepers = [command for command in processes().values() if of_the_service[1] in command]
    return kept + keepers[1:]


_OF_EACH = (kill, kill_of_a_child, oom_group)
_OF_THE_KERNEL = (ballast, waiting)
"""Whatever the runtime, since it does nothing while a container runs."""
EXPERIMENTS: dict[str, tuple[Callable[[ContainerSandbox], Facts], ...]] = {
    "crun": (*_OF_EACH, *_OF_THE_KERNEL),
    "runc": _OF_EACH,
}


def _of(report: Report, runtime: str) -> None:
    settings = Path(f"/tmp/containers-{runtime}.conf")
    settings.write_text(_SETTINGS.format(runtime=runtime))
    os.environ["CONTAINERS_CONF"] = str(settings)
    with podman_service() as engine:
        image.make(engine.client)
        with contextlib.closing(ContainerSandbox(engine, [image.image()], "a test", print)) as sandbox:
            for experiment in EXPERIMENTS[runtime]:
                report.add(f"{runtime}_{experiment.__name__}", partial(experiment, sandbox))
        report.add(f"{runtime}_nothing_left", partial(nothing_left, engine))


def main() -> None:
    Path("/etc/containers/storage.conf").write_text(_STORAGE)
    report = Report()
    for runtime in EXPERIMENTS:
        _of(report, runtime)
    report.write()


if __name__ == "__main__":
    main()
