"""A process tree under a hard limit of this machine's own cgroups, v1 or v2, with swap off.

Kernel files: Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from profiling.errors import CommandNotFoundError, NoLimitError
from profiling.measuring.capture import CannotTrackError, python_program
from profiling.measuring.cgroup import parse_keyed, parse_limit
from profiling.measuring.interior import Interior, ThisMachine
from profiling.measuring.page_cache import interpreter_files
from profiling.measuring.readiness import LOOPBACK
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.base import Counters, Launch, Running, SampleSource, Sampling, fill
from profiling.measuring.sandboxes.keeper import Keeper
from profiling.measuring.sandboxes.placement import Placement, effective_limit, find_placement
from profiling.measuring.snapshots import sample
from profiling.units import format_bytes
from profiling.values import Limits, Service, Target

_CPU_PERIOD_US = 100_000
_ENTER_TIMEOUT_S = 10.0
_numbers = itertools.count(1)  # of this process, not of one sandbox: names must differ between sandboxes, too
_PAGE = os.sysconf("SC_PAGE_SIZE")

# The shell writes its own pid into each cgroup and then becomes the command: nothing of the command's life, not even
# its exec, is outside the limit. A shell, since it is there everywhere and small.
_ENTER = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; n=$((n-1)); done; exec "$@"'


class CgroupSandbox:
    """Runs services in cgroups of our own; see `placement` for where these are made."""

    engine = None
    image = None

    def __init__(self, placement: Placement | None = None, why: str = "", host: str = LOOPBACK) -> None:
        """`why`: why this sandbox was chosen, before where its cgroups are made. `host`: where the services listen."""
        self.host = host
        self._placement = placement or find_placement()
        self._why = why
        for parent in {Path(p) for p in self._placement.parents.values()}:
            tree.clear_orphans(parent)
        self._keeper = Keeper()
        self.swap = "unknown"

    @property
    def name(self) -> str:
        return f"cgroup-v{self._placement.version}"

    @property
    def reason(self) -> str:
        return f"{self._why}; {self._placement.reason}" if self._why else self._placement.reason

    def reads(self, target: Target) -> list[str]:
        files = list(target.reads)
        for service in target.services:
            with contextlib.suppress(CannotTrackError):
                files += interpreter_files(python_program(self.interior(service, Path())).interpreter)
        return list(dict.fromkeys(files))

    def interior(self, service: Service, shared: Path) -> Interior:
        return ThisMachine(service.command, {**os.environ, **service.env}, service.directory)

    def start(self, launch: Launch) -> Running:
        service = launch.service
        if not service.command:
            raise CommandNotFoundError(
                "the target runs in a container only: it names no command for this machine",
                "leave --sandbox cgroup out, or give the target a command",
            )
        values = {"host": self.host, "port": str(launch.port), "run_dir": launch.directory, **launch.places}
        env = {name: value for name, value in os.environ.items() if not name.startswith("OOMPROOF_")}
        env |= {"PORT": str(launch.port)} | {name: fill(value, **values) for name, value in service.env.items()}
        return self.run(
            [fill(word, **values) for word in service.command],
            directory=Path(service.directory),
            env=env,
            limits=launch.limits,
            log=Path(launch.log) if launch.log else None,
            traced=launch.traced,
        )

    def run(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        env: Mapping[str, str],
        limits: Limits,
        log: Path | None,
        traced: bool = False,
    ) -> RunningTree:
        """Start `command` in `directory` with exactly `env`; output goes to `log`, or to ours where it is None.

        Raises as `start` does.
        """
        executable = _find_executable(command[0], directory, env)
        groups = self._make_groups(limits)
        try:
            memory = groups["memory"]
            self.swap = _limit_memory(self._placement.version, memory, limits.memory_bytes)
            if limits.oom_group:
                kill_as_one(self._placement.version, memory)
            if limits.cpus is not None:
                _limit_cpu(self._placement.version, groups["cpu"], limits.cpus)
            if limits.pids is not None:
                (groups["pids"] / "pids.max").write_text(str(limits.pids))
            process = _enter_and_exec(
                [executable, *command[1:]], list(dict.fromkeys(groups.values())), directory, env, log
            )
            _wait_until_inside(process, memory)
        except BaseException:
            self._remove(groups)
            raise
        return RunningTree(self, process, groups, self._placement.version, traced=traced)

    def close(self) -> None:
        self._keeper.close()

    def _make_groups(self, limits: Limits) -> dict[str, Path]:
        """A fresh cgroup in each hierarchy that `limits` needs, guarded by the keeper, by controller."""
        wanted = ["memory"]
        wanted += ["cpu"] if limits.cpus is not None else []
        wanted += ["pids"] if limits.pids is not None else []
        name = tree.owned_name(str(next(_numbers)))
        groups: dict[str, Path] = {}
        for controller in wanted:
            parent = self._placement.parent(controller)
            if parent is None:
                self._remove(groups)
                raise NoLimitError(
                    f"no {controller} limit can be enforced: the {controller} controller is not to be had here",
                    f"leave the {controller} limit out, or run it as root",
                )
            path = parent / name
            self._keeper.guard(path)
            try:
                if path not in groups.values():  # v2 has one directory for all controllers
                    path.mkdir()
            except OSError as error:
                self._remove(groups)
                raise NoLimitError(
                    f"no {controller} limit can be enforced: {path} cannot be made ({error.strerror})",
                    "run it as root, or see what `doctor` says",
                ) from error
            groups[controller] = path
        return groups

    def _remove(self, groups: Mapping[str, Path]) -> None:
        for path in set(groups.values()):
            tree.kill_all(path)
            if tree.remove(path):
                self._keeper.release(path)


class RunningTree:
    """A process tree in cgroups of ours."""

    def __init__(
        self,
        sandbox: CgroupSandbox,
        process: subprocess.Popen[bytes],
        groups: dict[str, Path],
        version: int,
        *,
        traced: bool,
    ) -> None:
        self._sandbox = sandbox
        self._traced = traced
        self._process = process
        self._groups = groups
        self._memory = groups["memory"]
        self._version = version
        self._last = Counters(oom_kills=0, peak_charged_bytes=None)
        self.source = SampleSource(version=version, directory=str(self._memory))

    @property
    def cgroup(self) -> str:
        return self._memory.name

    def sample(self, path: Path, hz: float) -> Sampling:
        return sample(self.source.version, self.source.directory, path, hz, traced=self._traced)

    def exit_status(self) -> int | None:
        return self._process.poll()

    def counters(self) -> Counters:
        with contextlib.suppress(FileNotFoundError, OSError):
            self._last = read_counters(self._version, self._memory)
        return self._last

    def stop(self, grace_s: float) -> bool:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while tree.pids_in(self._memory):
            self._process.poll()  # reap, or the main process stays in the cgroup's list as a zombie
            if time.monotonic() > deadline:
                tree.kill_all(self._memory)
                self._process.wait()
                return False
            time.sleep(0.02)
        self._process.wait()
        return True

    def close(self) -> None:
        self.counters()
        if self._process.poll() is None:
            self._process.kill()
        tree.kill_all(self._memory)
        self._process.wait()
        self._sandbox._remove(self._groups)


def read_counters(version: int, memory: Path) -> Counters:
    """The counters of a memory cgroup. Raises OSError once it is gone.

    v1: memory.oom_control, memory.max_usage_in_bytes. v2: memory.events, memory.peak (Linux 5.19)."""
    if version == 1:
        return Counters(
            oom_kills=parse_keyed((memory / "memory.oom_control").read_bytes())[b"oom_kill"],
            peak_charged_bytes=int((memory / "memory.max_usage_in_bytes").read_bytes()),
        )
    events = parse_keyed((memory / "memory.events").read_bytes())
    peak = memory / "memory.peak"
    return Counters(
        oom_kills=events[b"oom_kill"],
        peak_charged_bytes=int(peak.read_bytes()) if peak.exists() else None,
    )


def _limit_memory(version: int, memory: Path, limit_bytes: int) -> str:
    """Set the limit and switch swap off; answers with what keeps it off. Raises NoLimitError unless both are in force."""
    limit_file = memory / ("memory.max" if version == 2 else "memory.limit_in_bytes")
    limit_file.write_text(str(limit_bytes))
    in_force = parse_limit(limit_file.read_bytes())
    if in_force is None or not limit_bytes - _PAGE < in_force <= limit_bytes:
        raise NoLimitError(
            f"the kernel did not take the memory limit of {format_bytes(limit_bytes)}",
            "try one that is a multiple of 4 KiB",
        )
    outer = effective_limit(version, memory.parent)
    if outer is not None and outer < limit_bytes:
        raise NoLimitError(
            f"a limit of {format_bytes(limit_bytes)} cannot be measured here: this session itself has only {format_bytes(outer)}",
            f"ask for less than {format_bytes(outer)} (--memory), or run it outside that limit",
        )
    return _switch_swap_off(version, memory, limit_bytes)


def _switch_swap_off(version: int, memory: Path, limit_bytes: int) -> str:
    swap_file, value = ("memory.swap.max", "0") if version == 2 else ("memory.memsw.limit_in_bytes", str(limit_bytes))
    if (memory / swap_file).exists():
        (memory / swap_file).write_text(value)
        return f"off ({swap_file} = {value})"
    if len(Path("/proc/swaps").read_text().splitlines()) <= 1:
        return "off (this machine has none)"
    raise NoLimitError(
        "swap cannot be switched off for the service, so that a memory limit would prove nothing",
        "switch it off (swapoff -a), or boot with swapaccount=1",
    )


def kill_as_one(version: int, memory: Path) -> None:
    """An OOM kill takes everything in the cgroup. Raises NoLimitError unless that is in force."""
    if version == 1:
        raise NoLimitError(
            "cgroup v1 has no memory.oom.group: a kill cannot take the whole service",
            "leave oom_group out, or run it on a machine with cgroup v2",
        )
    try:
        (memory / "memory.oom.group").write_text("1")
        in_force = (memory / "memory.oom.group").read_text().strip() == "1"
    except OSError:
        in_force = False
    if not in_force:
        raise NoLimitError(
            "the kernel did not take memory.oom.group: a kill cannot take the whole service",
            "leave oom_group out, or run it on Linux 4.19 or later",
        )


def _limit_cpu(version: int, cpu: Path, cpus: float) -> None:
    quota = max(1000, round(cpus * _CPU_PERIOD_US))  # the kernel takes no quota under 1 ms
    if version == 2:
        (cpu / "cpu.max").write_text(f"{quota} {_CPU_PERIOD_US}")
    else:
        (cpu / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
        (cpu / "cpu.cfs_quota_us").write_text(str(quota))


def _find_executable(name: str, directory: Path, env: Mapping[str, str]) -> str:
    """The command's file: as exec would find it from `directory` with `env`'s PATH."""
    found = (
        shutil.which(str(directory / name)) if os.sep in name else shutil.which(name, path=env.get("PATH", os.defpath))
    )
    if not directory.is_dir():
        raise CommandNotFoundError(
            f"the service's directory {directory} does not exist", "correct `directory` in the config file"
        )
    if found is None:
        ours = Path(sys.executable).parent
        hint = "check its spelling, or install it where PATH finds it"
        if os.sep not in name and (ours / name).is_file():
            hint = f"it is in {ours}, which PATH does not name: activate that environment first"
        raise CommandNotFoundError(f"the service's command {name!r} was not found", hint)
    return found


def _wait_until_inside(process: subprocess.Popen[bytes], memory: Path) -> None:
    """Until the process is in its cgroup or has ended: before that, ending what is in the cgroup would miss it."""
    deadline = time.monotonic() + _ENTER_TIMEOUT_S
    while process.poll() is None and process.pid not in tree.pids_in(memory):
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise NoLimitError(
                f"the service did not enter its cgroup {memory} within {_ENTER_TIMEOUT_S:g} s", "see what `doctor` says"
            )
        time.sleep(0.001)


def _enter_and_exec(
    command: list[str], groups: list[Path], directory: Path, env: Mapping[str, str], log: Path | None
) -> subprocess.Popen[bytes]:
    procs = [str(group / "cgroup.procs") for group in groups]
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else None
        return subprocess.Popen(
            ["/bin/sh", "-c", _ENTER, "oomproof", str(len(procs)), *procs, *command],
            cwd=directory,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
