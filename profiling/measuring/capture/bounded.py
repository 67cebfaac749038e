"""Looking into captures within bounds of memory and time, whatever their size: by `look.py`, in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from profiling.measuring import own_process
from profiling.profiles import CaptureEnd, HeldMemory
from profiling.units import format_bytes
from profiling.values import Value


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a look may take."""

    memory_bytes: int = 1024 * 2**20
    """memray's reader holds some 100 bytes for each allocation that is alive at once: here ten million of them."""
    cpu_s: int = 900
    """memray reads some 10 MB of capture a second, and has to do it twice: enough for 4 GB."""
    deadline_s: float = 1800.0
    """Wall clock, on a machine that has other things to do as well."""
    others_s: float = 30.0
    """After the first killed process further ones are looked at for so long."""


BOUNDS = Bounds()
_LOOK_S = 0.2
_TAIL_BYTES = 4096


class Request(Value, frozen=True, kw_only=True):
    """What is looked for."""

    captures: tuple[str, ...]
    killed: bool
    """The kernel killed in this pass: the processes that did not end by themselves are looked at, at their end."""
    victims: tuple[int, ...] = ()
    """Whom it killed, by the pids that are in the captures' names; empty: not known."""
    directory: str
    """The service's, see `reading.held`."""
    memory_bytes: int
    """What this process may use."""
    cpu_s: int
    others_s: float
    """After so long no further process is looked at."""


class Answer(Value, frozen=True, kw_only=True):
    """One of these: the capture that answers for the pass, what it held, one that did not end by itself, a problem."""

    chosen: str | None = None
    at: str = "peak"
    """`kill`, `cut` or `peak`: when `held` was alive, see `Profile.held_at`."""
    held: tuple[HeldMemory, ...] | None = None
    end: CaptureEnd | None = None
    problem: str | None = None


@dataclass(slots=True)
class Found:
    """What was found so far."""

    chosen: Path | None = None
    at: str = "peak"
    held: tuple[HeldMemory, ...] = ()
    ends: list[CaptureEnd] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Looking:
    """A look that is under way."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, bounds: Bounds, stop: threading.Event) -> None:
        self._process = process
        self._errors = errors
        self._bounds = bounds
        self._stop = stop
        self._over = threading.Event()
        self._problem = ""
        self._found = Found()
        threading.Thread(target=self._watch, name="oomproof-look", daemon=True).start()

    def chosen(self) -> Path | None:
        """The capture that answers for the pass, as soon as that is known."""
        while self._found.chosen is None and self._read():
            pass
        return self._found.chosen

    @property
    def at(self) -> str:
        """When the memory of interest was alive, see `Profile.held_at`."""
        return self._found.at

    def found(self) -> Found:
        """Everything, when the look has ended or its time is up."""
        while self._read():
            pass
        return self._found

    def _read(self) -> bool:
        """Take in one answer; False: there are no more."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            self._close()
            return False
        answer, found = msgspec.json.decode(line, type=Answer), self._found
        if answer.chosen is not None:
            found.chosen, found.at = Path(answer.chosen), answer.at
        if answer.held is not None:
            found.held = answer.held
        if answer.end is not None:
            found.ends.append(answer.end)
        if answer.problem is not None:
            found.problems.append(answer.problem)
        return True

    def _close(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        if self._process.wait() == 0:
            return
        said = self._errors.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
        spent = self._process.returncode == -signal.SIGXCPU
        why = (
            self._problem
            or (f"within {self._bounds.cpu_s} s of CPU time" if spent else "")
            or (
                f"with {format_bytes(self._bounds.memory_bytes)} of memory: "
                + (said[-1] if said else f"it ended with status {self._process.returncode}")
            )
        )
        self._found.problems.append(
            f"the captures were not read to their end {why}; what is missing here was not looked at"
        )

    def _watch(self) -> None:
        deadline = time.monotonic() + self._bounds.deadline_s
        while not self._stop.is_set() and time.monotonic() < deadline:
            if self._over.wait(_LOOK_S):
                return
        late = f"within {self._bounds.deadline_s:g} s"
        self._problem = "as it was interrupted" if self._stop.is_set() else late
        self._process.kill()

    def end(self) -> None:
        """Whatever happened: no process stays behind."""
        self._over.set()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def look(
    captures: Sequence[Path],
    *,
    killed: bool,
    victims: Sequence[int] = (),
    directory: Path,
    bounds: Bounds = BOUNDS,
    stop: threading.Event | None = None,
) -> Iterator[Looking]:
    """Start to look into the captures of one pass; see `look.Request`. No capture is too large for it: what it has no time
    or memory for it says. `stop` ends it early.
    """
    request = Request(
        captures=tuple(map(str, captures)),
        killed=killed,
        victims=tuple(victims),
        directory=str(directory),
        memory_bytes=bounds.memory_bytes,
        cpu_s=bounds.cpu_s,
        others_s=bounds.others_s,
    )
    with tempfile.TemporaryDirectory(prefix="oomproof-look-") as place:
        errors = Path(place) / "errors"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                own_process.full_command("profiling.measuring.capture.look"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=own_process.environment(),
                start_new_session=True,
            )
        looking = Looking(process, errors, bounds, stop or threading.Event())
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it ended at once; why is read with its answers
                process.stdin.write(msgspec.json.encode(request))
                process.stdin.close()
            yield looking
        finally:
            looking.end()
