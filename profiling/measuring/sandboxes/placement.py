"""Where on this machine a cgroup of ours can be made, and why not where it cannot.

v1: below the tool's own memory cgroup. v2: below its own cgroup if that is delegated (or is the root), else below the
mount's root where we may write there; a user without rights gets a delegated scope from systemd (`enter_scope`).
Source for v2's rules (no internal processes, delegation): Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from profiling.errors import NoLimitError
from profiling.measuring.cgroup import parse_limit, parse_procs
from profiling.measuring.sandboxes import tree
from profiling.values import Value

_SCOPE_MARK = "OOMPROOF_IN_SCOPE"
_USEFUL = ("memory", "cpu", "pids")


class Placement(Value, frozen=True, kw_only=True):
    """Parent directories for cgroups of ours, by controller. With v2 all are the same directory."""

    version: int
    parents: dict[str, str]
    reason: str

    def parent(self, controller: str) -> Path | None:
        path = self.parents.get(controller)
        return Path(path) if path else None


def find_placement() -> Placement:
    """The place to make cgroups in, changed so that limits work there. Raises NoLimitError with what to do."""
    v1 = _v1_directories(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"))
    if "memory" in v1:
        if not os.access(v1["memory"], os.W_OK | os.X_OK):
            raise NoLimitError(
                f"no memory limit can be enforced: {v1['memory']} (cgroup v1) is not writable for this user",
                "run it as root (sudo), or on a machine with cgroup v2; `doctor` shows what this machine can do",
            )
        usable = {name: path for name, path in v1.items() if os.access(path, os.W_OK | os.X_OK)}
        return Placement(version=1, parents=usable, reason="cgroup v1, below the tool's own cgroup")
    return _v2_placement()


def memory_mount() -> tuple[int, Path]:
    """The version and the mount point of the hierarchy that limits memory here. Raises NoLimitError without one."""
    mounts = _mounts(_read("/proc/self/mountinfo"))
    for _, point, kind, options in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            return 1, Path(point)
    for _, point, kind, _ in mounts:
        if kind == "cgroup2":
            return 2, Path(point)
    raise NoLimitError(_NOT_MOUNTED, _HOW_TO_MOUNT)


def memory_cgroup_of(pid: int) -> tuple[int, Path]:
    """The version and the directory of the memory cgroup that a process is in. Raises NoLimitError where it is not seen."""
    mountinfo, own = _read("/proc/self/mountinfo"), _read(f"/proc/{pid}/cgroup")
    version, mount = memory_mount()
    if version == 1:
        return 1, Path(_v1_directories(mountinfo, own)["memory"])
    path = next((line.split(":", 2)[2] for line in own.splitlines() if line.startswith("0:")), "/")
    root = next(root for root, point, kind, _ in _mounts(mountinfo) if kind == "cgroup2" and Path(point) == mount)
    return 2, Path(_below(str(mount), root, path))


_NOT_MOUNTED = "no memory limit can be enforced: no cgroup filesystem with a memory controller is mounted"
_HOW_TO_MOUNT = "mount one (mount -t cgroup2 none /sys/fs/cgroup), or run it on a usual Linux system"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise NoLimitError(
            f"no memory limit can be enforced: {path} cannot be read ({error.strerror})",
            "oomproof needs Linux with cgroups; on other systems run it inside a Linux virtual machine",
        ) from error


def _v1_directories(mountinfo: str, own: str) -> dict[str, str]:
    """Our own directory in each v1 hierarchy of interest, by controller."""
    own_path = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        own_path.update(dict.fromkeys(controllers.split(","), path))
    found = {}
    for root, mount_point, kind, options in _mounts(mountinfo):
        if kind == "cgroup":
            for controller in _USEFUL:
                if controller in options.split(",") and controller in own_path:
                    found[controller] = _below(mount_point, root, own_path[controller])
    return found


def _mounts(mountinfo: str) -> list[tuple[str, str, str, str]]:
    """(root within the filesystem, mount point, filesystem, super options) of each mount. See proc_pid_mountinfo(5)."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        mounts.append((fields[3], fields[4], rest[0], rest[2] if len(rest) > 2 else ""))
    return mounts


def _below(mount_point: str, root: str, path: str) -> str:
    relative = os.path.relpath(path, root)
    return mount_point if relative == "." or relative.startswith("..") else f"{mount_point}/{relative}"


def _v2_placement() -> Placement:
    mounts = [(root, point) for root, point, kind, _ in _mounts(_read("/proc/self/mountinfo")) if kind == "cgroup2"]
    own = [line.split(":", 2)[2] for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0:")]
    if not mounts or not own:
        raise NoLimitError(_NOT_MOUNTED, _HOW_TO_MOUNT)
    root, mount_point = mounts[0]
    own_directory = Path(_below(mount_point, root, own[0]))
    problems = []
    for directory in dict.fromkeys((own_directory, Path(mount_point))):
        problem = _enable_controllers(directory)
        if problem is None:
            enabled = (directory / "cgroup.subtree_control").read_text().split()
            return Placement(
                version=2,
                parents={name: str(directory) for name in _USEFUL if name in enabled},
                reason=f"cgroup v2, below {'the tool’s own cgroup' if directory == own_directory else 'the root'}",
            )
        problems.append(f"{directory}: {problem}")
    raise NoLimitError(
        f"no memory limit can be enforced: {'; '.join(problems)}",
        "run it as root, or in a session where `systemd-run --user --scope -p Delegate=yes true` works",
    )


def _enable_controllers(directory: Path) -> str | None:
    """Make children of `directory` limitable; None when they are, else why they cannot be."""
    try:
        available = (directory / "cgroup.controllers").read_text().split()
        if "memory" not in available:
            return "the memory controller is not delegated to it"
        if not os.access(directory, os.W_OK) or not os.access(directory / "cgroup.procs", os.W_OK):
            return "not writable for this user"
        control = directory / "cgroup.subtree_control"
        for controller in _USEFUL:
            if controller in available and controller not in control.read_text().split():
                problem = _enable(control, controller)
                if problem and controller == "memory":
                    return problem
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _enable(control: Path, controller: str) -> str | None:
    try:
        control.write_text(f"+{controller}")
    except OSError as error:
        if error.errno != errno.EBUSY:
            return (error.strerror or str(error)).lower()
        if not _move_into_leaf(control.parent):
            return "other processes are in it, so that its children cannot be limited"
        control.write_text(f"+{controller}")
    return None


def _move_into_leaf(directory: Path) -> bool:
    """v2 allows limits only below a cgroup without processes: move ourselves one down, if we are alone in it.

    "We" are this process and its ancestors and descendants: in a scope of ours there is nobody else.
    """
    inside = parse_procs((directory / "cgroup.procs").read_bytes())
    if not set(inside) <= _family(os.getpid()):
        return False
    leaf = directory / tree.owned_name("self")
    leaf.mkdir(exist_ok=True)
    for pid in inside:
        with contextlib.suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(str(pid))
    return True


def _family(pid: int) -> set[int]:
    """`pid`, its ancestors and its descendants."""
    parents = tree.parents()
    return {pid} | tree.ancestors(pid, parents) | tree.descendants(pid, parents)


def effective_limit(version: int, directory: Path) -> int | None:
    """The smallest memory limit on `directory` and its visible ancestors, in bytes; None: unlimited."""
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    limits = []
    while (directory / "cgroup.procs").exists():
        with contextlib.suppress(OSError):
            limit = parse_limit((directory / name).read_bytes())
            if limit is not None:
                limits.append(limit)
        directory = directory.parent
    return min(limits, default=None)


def enter_scope(argv: Sequence[str]) -> None:
    """Run `argv` in place of this process in a delegated scope of the user's own systemd; returns where that is not
    to be had, or where we are in such a scope already: one try is enough.
    """
    if os.environ.get(_SCOPE_MARK) or not shutil.which("systemd-run"):
        return
    scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes"]
    try:
        subprocess.run([*scope, "true"], check=True, capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return
    os.execvpe(scope[0], [*scope, *argv], {**os.environ, _SCOPE_MARK: "1"})
