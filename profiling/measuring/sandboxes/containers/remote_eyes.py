"""Looking at a container's cgroup on another machine, or in a virtual one: a small observer container beside it.

The engines' statistics have no count of kills, so the observer reads the kernel's files there (`sandboxes.observing`).
Its times are those of that machine's CLOCK_MONOTONIC; they are shifted to ours by the offset of the quickest of some
questions and answers before the start, which is good to half of that question's round trip. From then on the two clocks
may drift apart, by some milliseconds a minute where neither machine's is disciplined.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import queue
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docker.errors import APIError

from profiling.errors import ImageError, NoLimitError, SamplerError
from profiling.measuring.own_process import ROOT
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.sandboxes.containers import images, options
from profiling.measuring.sandboxes.containers.arriving import ArrivingSamples
from profiling.measuring.sandboxes.containers.attached import OUTPUT, Attached
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.measuring.sandboxes.containers.eyes import (
    APPEARS_WITHIN_S,
    LAST_WORD_S,
    NothingToSample,
    require_limit,
)
from profiling.values import Image, Limits

DEFAULT_IMAGE = "python:3.11-slim"
_MODULES = (
    "profiling/errors.py",
    "profiling/measuring/cgroup.py",
    "profiling/measuring/own_process.py",
    "profiling/measuring/samples.py",
    "profiling/measuring/sampler.py",
    "profiling/measuring/sandboxes/observing.py",
    "profiling/measuring/sandboxes/witness.py",
)
_BOOT = (
    "import base64,sys;open('/tmp/oomproof.zip','wb').write(base64.b64decode(sys.argv.pop(1)));"
    "sys.path.insert(0,'/tmp/oomproof.zip');"
    "from profiling.measuring.sandboxes.observing import main;main()"
)
_HIERARCHY = {1: "/sys/fs/cgroup/memory", 2: "/sys/fs/cgroup"}
_INSIDE = "/oomproof/cgroup"
_CLOCK_QUESTIONS = 15
_ANSWERS_WITHIN_S = 4 * APPEARS_WITHIN_S


class RemoteEyes:
    """The observer of one container."""

    def __init__(self, engine: Engine, container: str, name: str, tell: Callable[[str], object]) -> None:
        """Start the observer of `container` (an id) as a container called `name`. Raises ImageError, NoLimitError, and
        what the SDK raises when the engine goes away."""
        self._image = os.environ.get("PYTHON_IMAGE") or DEFAULT_IMAGE
        images.ensure(engine, Image(name=self._image), tell)
        self._samples: ArrivingSamples | None = None
        self._told = Counters(oom_kills=0, peak_charged_bytes=None, certain=False)
        self._over = threading.Event()
        """The observed container has ended and the last counters were told, or nothing more will come."""
        self._lost: str | None = "it ended without a word"
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._attached: Attached | None = None
        settings = options.guarded(engine)
        # Not detached: its standard input then ends when we do, and so does it.
        settings["detach"] = False
        self._container = engine.client.containers.create(
            self._image,
            **options.command_line(
                ["python3", "-S", "-c", _BOOT, _program(), _INSIDE, str(engine.cgroup_version), container]
            ),
            name=name,
            stdin_open=True,
            network_mode="none",
            pid_mode="host",
            user="0",
            read_only=True,
            tmpfs={"/tmp": "size=1m"},  # noqa: S108  (the observer's own, in its container)
            environment={"PYTHONDONTWRITEBYTECODE": "1"},
            volumes={_HIERARCHY[engine.cgroup_version]: {"bind": _INSIDE, "mode": "ro"}},
            # Reading another user's smaps_rollup (PSS), going first.
            cap_add=["SYS_PTRACE", "SYS_NICE"],
            mem_limit="64m",
            **settings,
        )
        try:
            self._attached = Attached(self._container)
            self._container.start()
            threading.Thread(target=self._listen, args=(self._attached,), name="oomproof-observer", daemon=True).start()
            if not self._answer("clock"):
                raise self._no_use(self._lost or "")
            self._offset_ns = self._clock_offset()
        except APIError as error:
            self.close()
            raise self._no_use(first_line(error)) from error
        except BaseException:
            self.close()
            raise

    def started(self, limits: Limits, pid: int) -> None:
        if limits.oom_group:
            raise NoLimitError(
                "memory.oom.group cannot be set on an engine that is not on this machine", "leave oom_group out"
            )
        said = self._ask_for_the_limit()
        if said:
            require_limit(limits.memory_bytes, said["limit"])

    def limit_in_force(self) -> int | None:
        """The smallest memory limit on the container and above it, in bytes; None: there is none, or it has ended."""
        return self._ask_for_the_limit().get("limit")

    def sample(self, path: Path, hz: float) -> Sampling:
        if self._over.is_set():
            self._require_observer()
            return NothingToSample()
        self._samples = ArrivingSamples(path, self._offset_ns, lambda: self._say("end"))
        self._say(f"sample {hz:g}")
        if self._over.is_set():  # at this moment
            self._samples.ended(self._lost)
        return self._samples

    def counters(self, *, ended: bool) -> Counters:
        if ended:
            self._over.wait(LAST_WORD_S)
        return self._told

    def blind(self) -> str | None:
        return self._lost if self._over.is_set() else None

    def close(self) -> None:
        with contextlib.suppress(*ENGINE_ERRORS):
            self._container.remove(force=True, v=True)
        self.detach()

    def detach(self) -> None:
        """Let go of an observer that cannot be removed."""
        if self._attached is not None:
            self._attached.close()
        if self._samples is not None:
            self._samples.close()

    def _say(self, word: str) -> None:
        """Nobody listens once the container has ended, and whoever waits for an answer finds that out."""
        assert self._attached is not None
        with contextlib.suppress(OSError):
            self._attached.say(word)

    def _answer(self, key: str) -> dict[str, Any]:
        """The observer's next answer; an empty one if the observed container has ended before it came."""
        deadline = time.monotonic() + _ANSWERS_WITHIN_S
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                said = self._answers.get(timeout=0.05)
                if key in said:
                    return said
            if self._over.is_set() and self._answers.empty():
                return {}
        raise NoLimitError(
            "the observer container does not answer, so that no limit could be seen to be in force",
            f"see whether {self._image} runs there at all, or set PYTHON_IMAGE to another that has python3",
        )

    def _ask_for_the_limit(self) -> dict[str, Any]:
        self._say("started")
        said = self._answer("limit")
        self._require_observer()
        return said

    def _require_observer(self) -> None:
        """Raises SamplerError if the observer has gone before what it observes."""
        if blind := self.blind():
            raise SamplerError(f"the observer container was lost: {blind}", "make the run again")

    def _no_use(self, problem: str) -> ImageError:
        return ImageError(
            f"the observer container does not start from {self._image}: {problem}",
            "set PYTHON_IMAGE to an image that has python3",
        )

    def _clock_offset(self) -> int:
        """What to add to the observer's clock to get ours, in ns: from the quickest question and answer."""
        quickest, offset = 1 << 62, 0
        for _ in range(_CLOCK_QUESTIONS):
            asked = time.monotonic_ns()
            self._say("?")
            said = self._answer("clock")
            answered = time.monotonic_ns()
            self._require_observer()
            if answered - asked < quickest:
                quickest, offset = answered - asked, (asked + answered) // 2 - said["clock"]
        return offset

    def _listen(self, attached: Attached) -> None:
        text = b""
        try:
            for stream, data in attached.frames():
                if stream == OUTPUT:
                    if self._samples is not None:
                        self._samples.add(data)
                    continue
                *lines, text = (text + data).split(b"\n")
                for line in lines:
                    self._hear(line)
        except (OSError, ValueError) as error:  # ValueError: closed while it waits
            if self._lost is not None:
                self._lost = str(error)
        self._over.set()
        if self._samples is not None:
            self._samples.ended(self._lost)

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:  # a traceback's last line says most
            self._lost = line.decode(errors="replace")
            return
        if "oom_kills" in said:
            # All others had left the cgroup before the counters were read: they are the last.
            self._told = Counters(
                oom_kills=said["oom_kills"], peak_charged_bytes=said["peak"], certain=said["over"] and said["held"]
            )
            if said["over"]:
                self._lost = None
                self._over.set()
        elif "samples" in said:
            if self._samples is not None:
                self._samples.account(said)
        else:
            self._answers.put(said)


def _program() -> str:
    """Our light modules as a zip in base64: small enough for a command line, so that no image of ours is needed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _MODULES:
            archive.write(ROOT / name, name)
        for package in sorted({str(parent) for name in _MODULES for parent in Path(name).parents if parent.name}):
            archive.writestr(f"{package}/__init__.py", "")
    return base64.b64encode(packed.getvalue()).decode()
