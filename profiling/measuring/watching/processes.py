"""A process that runs already, with its descendants: by its cgroup where that is its own, else by /proc."""

from __future__ import annotations

from pathlib import Path

from profiling.errors import CannotRunError
from profiling.measuring.process_tree import ProcessTreeReader
from profiling.measuring.sampler import PROCESSES, SamplerProcess
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.base import Sampling
from profiling.measuring.sandboxes.placement import memory_cgroup_of, memory_mount
from profiling.measuring.watching.cgroups import CgroupSubject, describe
from profiling.measuring.watching.subject import Nature, Subject, swap_of


class ProcessSubject:
    """A process and its descendants, in a cgroup that others are in as well: nothing limits them, or counts for them, by
    themselves."""

    def __init__(self, pid: int, nature: Nature) -> None:
        self.nature = nature
        self._pid = pid
        self._started = tree.process_start_ticks(pid)
        self.exit_status: int | None = None

    def sample(self, path: Path, hz: float) -> Sampling:
        return SamplerProcess(PROCESSES, str(self._pid), path, hz)

    def counters(self) -> None:
        return None

    def gone(self) -> str | None:
        return None if tree.process_start_ticks(self._pid) == self._started else f"process {self._pid} ended"

    def close(self) -> None: ...


def open_process(pid: int) -> Subject:
    """The process `pid`. Raises CannotRunError if there is none, or its memory may not be read."""
    try:
        ProcessTreeReader(pid)
    except FileNotFoundError:
        raise CannotRunError(f"--pid {pid}: there is no such process", "see `ps` for those that there are") from None
    except PermissionError:
        raise CannotRunError(
            f"--pid {pid}: its memory may not be read", "run it as its user, or as root (sudo)"
        ) from None
    name = _name(pid)
    version, directory = memory_cgroup_of(pid)
    _, mount = memory_mount()
    what = f"process {pid} ({name})"
    mine = {pid} | tree.descendants(pid, tree.parents())
    others = set(tree.pids_in(directory)) - mine if directory != mount else None
    if others is not None and not others:
        nature = describe(directory, version, name=name, what=what, kind="process")
        return CgroupSubject(nature, version, directory)
    shared = "the root cgroup" if others is None else f"a cgroup that {len(others)} other processes are in as well"
    return ProcessSubject(
        pid,
        Nature(
            name=name,
            what=what,
            kind="process",
            sandbox="processes",
            reason=f"from /proc: it runs in {shared}",
            limit_bytes=None,
            swap=swap_of(version, directory),
            notes=(
                "no limit is its own, and nothing counts its kills: --memory SIZE gives it a limit to be held against",
            ),
        ),
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip() or str(pid)
    except OSError:
        return str(pid)
