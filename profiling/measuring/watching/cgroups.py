"""A memory cgroup that is there already, and the one that a process is in."""

from __future__ import annotations

from pathlib import Path

from profiling.errors import CannotRunError
from profiling.measuring.sampler import SamplerProcess
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.sandboxes.cgroup import read_counters
from profiling.measuring.sandboxes.placement import effective_limit, memory_mount
from profiling.measuring.watching.subject import Nature, swap_of

_HINT = "name its directory below {mount}, or its path as /proc/PID/cgroup shows it"


class CgroupSubject:
    """All that is in one memory cgroup and those below it."""

    def __init__(self, nature: Nature, version: int, directory: Path) -> None:
        """Raises CannotRunError if it cannot be read."""
        self.nature = nature
        self._version = version
        self._directory = directory
        self.exit_status: int | None = None
        try:
            self._last = read_counters(version, directory)
        except FileNotFoundError:
            raise CannotRunError(
                f"{directory} counts neither memory nor kills, as v2's root cgroup", "name a cgroup below it"
            ) from None
        except OSError as error:
            raise CannotRunError(
                f"{directory} cannot be read ({(error.strerror or str(error)).lower()})", "run it as root (sudo)"
            ) from error

    def sample(self, path: Path, hz: float) -> Sampling:
        return SamplerProcess(self._version, str(self._directory), path, hz)

    def counters(self) -> Counters:
        try:
            self._last = read_counters(self._version, self._directory)
        except OSError:
            # What was counted in its last milliseconds went with it.
            self._last = Counters(
                oom_kills=self._last.oom_kills, peak_charged_bytes=self._last.peak_charged_bytes, certain=False
            )
        return self._last

    def gone(self) -> str | None:
        """An empty one counts as gone only once it is removed: whatever is restarted in it comes back."""
        return None if self._directory.is_dir() else "its cgroup was removed"

    def close(self) -> None: ...


def open_cgroup(path: str) -> CgroupSubject:
    """The cgroup at `path`: a directory of the memory hierarchy, or a path within it. Raises CannotRunError."""
    version, mount = memory_mount()
    directory = _directory(path, mount)
    what = f"cgroup {_within(directory, mount)}"
    return CgroupSubject(describe(directory, version, name=directory.name or "root", what=what), version, directory)


def describe(directory: Path, version: int, *, name: str, what: str, kind: str = "cgroup") -> Nature:
    """What there is to say of a cgroup of this machine."""
    return Nature(
        name=name,
        what=what,
        kind=kind,
        sandbox=f"cgroup-v{version}",
        reason="the kernel's files of a cgroup that was there already",
        limit_bytes=effective_limit(version, directory),
        swap=swap_of(version, directory),
        notes=_below(directory, version),
    )


def _directory(path: str, mount: Path) -> Path:
    given = Path(path)
    candidates = [given] if given.is_relative_to(mount) else [mount / path.lstrip("/"), given]
    for directory in candidates:
        if (directory / "memory.stat").is_file() and directory.resolve().is_relative_to(mount.resolve()):
            return directory.resolve()
    raise CannotRunError(f"--cgroup {path}: there is no such memory cgroup", _HINT.format(mount=mount))


def _within(directory: Path, mount: Path) -> str:
    relative = directory.relative_to(mount.resolve())
    return f"/{relative}" if str(relative) != "." else "/"


def _below(directory: Path, version: int) -> tuple[str, ...]:
    """v1 counts a kill in the cgroup where it happened, and nowhere above."""
    below = [entry.name for entry in directory.iterdir() if entry.is_dir()]
    if version == 1 and below:
        return (
            f"cgroup v1 counts kills in each cgroup alone: those in the {len(below)} below {directory.name or '/'} are"
            " not counted here",
        )
    return ()
