"""What a running measurement looks like right now, read from the files that the sampler and the load write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadtests import requestlog
from profiling.measuring import samples
from profiling.measuring.samples import UNMEASURED
from profiling.measuring.store import REQUESTS_FILE, SAMPLES_FILE

REQUEST = np.dtype(requestlog.FIELDS)
_SAMPLE = np.dtype(list(samples.FIELDS))


class Tail:
    """The records that were appended to a file since the last look."""

    def __init__(self, path: Path, dtype: np.dtype[np.void]) -> None:
        self._path = path
        self._dtype = dtype
        self._read = 0

    def new_records(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """A structured array, empty while there is nothing new; a torn record waits for the next look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            data = b""
        whole = len(data) // self._dtype.itemsize
        self._read += whole * self._dtype.itemsize
        return np.frombuffer(data, self._dtype, whole)


class Watch:
    """Running totals of one run: requests, failures, rate, memory, users."""

    def __init__(self, directory: Path, samples: Sequence[Path] = (), kills_before: int | None = 0) -> None:
        """`samples`: the files of the services' samples, whose memory is summed up; one in `directory` where none is named.
        `kills_before`: what the samples' count of kills began with; None: kills are not counted there."""
        self._requests = Tail(directory / REQUESTS_FILE, REQUEST)
        self._samples = samples or [directory / SAMPLES_FILE]
        self._recent_ns: list[int] = []
        self.requests = 0
        self.failures = 0
        self.users = 0
        self.rps = 0.0
        self.unreclaimable_bytes: int | None = None
        self.charged_bytes: int | None = None
        self.oom_kills: int | None = None if kills_before is None else 0
        self._kills_before = kills_before

    def look(self, now_ns: int) -> None:
        """Take in what was written since the last look."""
        fresh = self._requests.new_records()
        if len(fresh):
            good = fresh["outcome"] == requestlog.RequestOutcome.OK
            self.requests += len(fresh)
            self.failures += int(len(fresh) - good.sum())
            self.users = int(fresh["active_users"][-1])
            self._recent_ns += fresh["finished_ns"][good].tolist()
        self._recent_ns = [t for t in self._recent_ns if t > now_ns - 1_000_000_000]
        self.rps = float(len(self._recent_ns))
        self._look_at_memory()

    def _look_at_memory(self) -> None:
        last = [sample for path in self._samples if (sample := _last(path)) is not None]
        if not last:
            return
        self.unreclaimable_bytes = sum(int(sample["unreclaimable"]) for sample in last)
        charged = [int(sample["charged"]) for sample in last]
        self.charged_bytes = sum(charged) if UNMEASURED not in charged else None
        if self._kills_before is not None:
            self.oom_kills = sum(int(sample["oom_kills"]) for sample in last) - self._kills_before


def _last(path: Path) -> np.void | None:
    """The last whole sample of a file; None while there is none."""
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size // _SAMPLE.itemsize
            if not whole:
                return None
            file.seek((whole - 1) * _SAMPLE.itemsize)
            sample: np.void = np.frombuffer(file.read(_SAMPLE.itemsize), _SAMPLE)[0]
            return sample
    except (FileNotFoundError, ValueError):
        return None
