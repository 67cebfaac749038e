"""Looking at a container's cgroup on another machine, or in a virtual one: a small observer container beside it.

The engines' statistics have no count of kills, so the observer reads the kernel's files there (`sandboxes.observing`).
Its times are those of that machine's CLOCK_MONOTONIC; they are shifted to ours by the offset of the quickest of some
questions and answers, which is good to half of that question's round trip.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import queue
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from docker.utils.socket import frames_iter

from profiling.errors import NoLimitError, SamplerError
from profiling.measuring import samples
from profiling.measuring.own_process import ROOT
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.sandboxes.containers import images, options
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.measuring.sandboxes.containers.eyes import APPEARS_WITHIN_S, LAST_WORD_S, require_limit
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
_SAMPLE = np.dtype(list(samples.FIELDS))
_OUTPUT, _ERROR = 1, 2


class RemoteEyes:
    """The observer of one container."""

    def __init__(self, engine: Engine, container: str, name: str, tell: Callable[[str], object]) -> None:
        """Start the observer of `container` (an id) as a container called `name`. Raises ImageError, NoLimitError."""
        image = os.environ.get("PYTHON_IMAGE") or DEFAULT_IMAGE
        images.ensure(engine, Image(name=image), tell)
        self._samples: _Samples | None = None
        self._told = Counters(oom_kills=0, peak_charged_bytes=None, certain=False)
        self._over = threading.Event()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._complaint = ""
        self._container = engine.client.containers.create(
            image,
            **options.command_line(
                ["python3", "-S", "-c", _BOOT, _program(), _INSIDE, str(engine.cgroup_version), container]
            ),
            name=name,
            stdin_open=True,
            network_mode="none",
            pid_mode="host",
            read_only=True,
            tmpfs={"/tmp": "size=1m"},  # noqa: S108  (the observer's own, in its container)
            environment={"PYTHONDONTWRITEBYTECODE": "1"},
            volumes={_HIERARCHY[engine.cgroup_version]: {"bind": _INSIDE, "mode": "ro"}},
            # Reading another user's smaps_rollup (PSS), going first.
            cap_add=["SYS_PTRACE", "SYS_NICE"],
            mem_limit="64m",
            **{**options.guarded(engine), "detach": True},
        )
        try:
            self._stream = self._container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            self._socket: socket.socket = getattr(self._stream, "_sock", self._stream)
            self._container.start()
            threading.Thread(target=self._listen, name="oomproof-observer", daemon=True).start()
            self._answer("clock")
            self._offset_ns = self._clock_offset()
        except BaseException:
            self.close()
            raise

    def started(self, limits: Limits) -> None:
        if limits.oom_group:
            raise NoLimitError(
                "memory.oom.group cannot be set on an engine that is not on this machine", "leave oom_group out"
            )
        self._say("started")
        said = self._answer("limit")
        if not self._over.is_set():
            require_limit(limits.memory_bytes, said.get("limit"))

    def sample(self, path: Path, hz: float) -> Sampling:
        self._samples = _Samples(path, self._offset_ns, self._finish)
        self._say(f"sample {hz:g}")
        return self._samples

    def counters(self, *, ended: bool) -> Counters:
        if ended:
            self._over.wait(LAST_WORD_S)
        return self._told

    def close(self) -> None:
        with contextlib.suppress(*ENGINE_ERRORS):
            self._container.remove(force=True, v=True)
        with contextlib.suppress(OSError, AttributeError):
            self._socket.close()

    def _say(self, word: str) -> None:
        try:
            self._socket.sendall(word.encode() + b"\n")
        except OSError as error:
            raise SamplerError(f"the observer container is gone: {error}", "make the run again") from error

    def _answer(self, key: str) -> dict[str, Any]:
        """The observer's next answer; an empty one if the observed container has ended before it came."""
        deadline = time.monotonic() + 4 * APPEARS_WITHIN_S
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                said = self._answers.get(timeout=0.1)
                if key in said:
                    return said
            if self._over.is_set():
                return {}
        raise NoLimitError(
            f"the observer container does not answer: {self._complaint or first_line(TimeoutError('timed out'))}",
            "it needs python3 in the image that PYTHON_IMAGE names, and the host's /sys/fs/cgroup",
        )

    def _clock_offset(self) -> int:
        """What to add to the observer's clock to get ours, in ns: from the quickest question and answer."""
        quickest, offset = 1 << 62, 0
        for _ in range(_CLOCK_QUESTIONS):
            asked = time.monotonic_ns()
            self._say("?")
            there = self._answer("clock").get("clock", 0)
            answered = time.monotonic_ns()
            if answered - asked < quickest:
                quickest, offset = answered - asked, (asked + answered) // 2 - there
        return offset

    def _listen(self) -> None:
        text = b""
        with contextlib.suppress(OSError, ValueError, *ENGINE_ERRORS):
            for stream, data in frames_iter(self._stream, tty=False):
                if stream == _OUTPUT and self._samples is not None:
                    self._samples.add(data)
                elif stream == _ERROR:
                    text += data
                    *lines, text = text.split(b"\n")
                    for line in lines:
                        self._hear(line)
        self._over.set()
        if self._samples is not None:
            self._samples.done.set()

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            self._complaint = line.decode(errors="replace")
            return
        if "oom_kills" in said:
            self._told = Counters(oom_kills=said["oom_kills"], peak_charged_bytes=said["peak"], certain=False)
            if said["over"]:
                self._over.set()
        elif "samples" in said and self._samples is not None:
            self._samples.account = said
            self._samples.done.set()
        else:
            self._answers.put(said)

    def _finish(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


class _Samples:
    """Records as they come in, on our clock, into a file."""

    def __init__(self, path: Path, offset_ns: int, finish: Callable[[], object]) -> None:
        self._file = path.open("ab", buffering=0)
        self._offset_ns = offset_ns
        self._finish = finish
        self._rest = b""
        self.account: dict[str, Any] | None = None
        self.done = threading.Event()

    def add(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // _SAMPLE.itemsize * _SAMPLE.itemsize
        self._rest = data[whole:]
        records = np.frombuffer(data[:whole], _SAMPLE).copy()
        records["t_ns"] += self._offset_ns
        self._file.write(records.tobytes())

    def stop(self, timeout_s: float = 5.0) -> dict[str, Any]:
        self._finish()
        self.done.wait(timeout_s)
        self._file.close()
        if self.account is None:
            raise SamplerError("the observer container ended without a word", "make the run again")
        return self.account


def _program() -> str:
    """Our light modules as a zip in base64: small enough for a command line, so that no image of ours is needed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _MODULES:
            archive.write(ROOT / name, name)
        for package in sorted({str(parent) for name in _MODULES for parent in Path(name).parents if parent.name}):
            archive.writestr(f"{package}/__init__.py", "")
    return base64.b64encode(packed.getvalue()).decode()
