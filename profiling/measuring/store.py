"""A run on disk: `run.json` (a RunResult) with `samples.bin` and `requests.bin` in bulk beside it.

`run.json` is written when the run begins, as interrupted, and replaced when it ends: a run whose tool was killed is
readable up to the last flush. Of a long run the samples are read thinned out (`thinning.py`), and all of them a block at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests import requestlog
from profiling.errors import DataError, OutputError
from profiling.manifests.secrets import redacted, redacted_words
from profiling.measuring import samples as samples_module
from profiling.measuring.blocks import Blocks, Readings
from profiling.measuring.kept import kept
from profiling.measuring.thinning import LONG, thin
from profiling.measuring.totals import Summed, total
from profiling.values import SCHEMA_VERSION, Image, KernelLog, Outcome, RunResult, Service, ServiceResult

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.bin"
REQUESTS_FILE = "requests.bin"
SERVICES_DIRECTORY = "services"
"""Of a system of several: each one's samples and output, by its name."""
_NEEDED_OF_SAMPLES = frozenset(name for name, _ in samples_module.FIELDS) - {"pressure_full_us"}
"""Without what runs of an earlier version do not have."""
_NEEDED_OF_REQUESTS = frozenset(name for name, _ in requestlog.FIELDS) - {"reserved"}
_SLACK_NS = 60 * 10**9
_LONGEST_RUN_NS = 366 * 86_400 * 10**9
_ENDING_NS = 10**9
_REMEMBERED = 8
"""Thinned series that are kept for the next who reads the same run; each is of some MiB at most."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run as read from disk. `samples` and `requests` are structured arrays, read-only; their fields stand in
    `result.sample_fields` and `result.request_fields`. `samples` has all of a short run, and of a long one those that hold
    its lows and highs; `requests` is memory-mapped, so that whoever goes through all of it has all of it in memory: what a
    long run's length shall not matter to asks `every_sample` and `every_request`."""

    directory: Path
    result: RunResult
    samples: NDArray[np.void]
    requests: NDArray[np.void]
    parts: tuple[StoredRun, ...] = ()
    """Where there are several services: the run as each alone had it. Their samples are summed up in `samples`."""
    readings: Readings | None = None
    """All samples; None: `samples` has them."""
    sample_count: int | None = None
    """How many there are; None: as many as in `samples`."""
    log: Blocks | None = None
    """All requests; None: `requests` has them."""

    @property
    def every_sample(self) -> Readings:
        """All samples, a block at a time."""
        return Blocks.of(self.samples) if self.readings is None else self.readings

    @property
    def every_request(self) -> Blocks:
        """All requests, a block at a time."""
        return Blocks.of(self.requests) if self.log is None else self.log

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.samples) if self.sample_count is None else self.sample_count


def make_directory(path: Path) -> Path:
    """Make `path` and prove that it can be written to. Raises OutputError if not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".oomproof-probe"
        try:
            probe.write_bytes(b"0" * 4096)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written to ({(error.strerror or str(error)).lower()})",
            "name another directory with --out, or make room there",
        ) from error
    return path.resolve()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` with `data` as a whole. Raises OutputError if that cannot be done; the old file then stays."""
    temporary = path.with_name(f".oomproof-{path.name}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(
            f"{path} could not be written ({(error.strerror or str(error)).lower()})", "make room on that disk"
        ) from error


def save(directory: Path, result: RunResult) -> None:
    """Write `run.json`, without values that look like secrets: reports are passed around. Raises OutputError."""
    write_atomically(directory / RUN_FILE, msgspec.json.format(msgspec.json.encode(_without_secrets(result)), indent=1))


def _without_secrets(result: RunResult) -> RunResult:
    """The result as it may be shown: environments, build arguments, headers and command lines redacted."""
    target = result.target
    request = msgspec.structs.replace(
        target.request,
        headers=redacted(target.request.headers),
        path=_path_without_secrets(target.request.path),
    )
    services = tuple(_service_without_secrets(service) for service in target.services)
    openapi = target.openapi and msgspec.structs.replace(
        target.openapi, place=redacted_words([target.openapi.place])[0]
    )
    return msgspec.structs.replace(
        result,
        argv=redacted_words(result.argv),
        target=msgspec.structs.replace(target, request=request, openapi=openapi, services=services),
    )


def _path_without_secrets(path: str) -> str:
    """Still a path: what stands for a secret holds no blanks."""
    path, mark, query = path.partition("?")
    return path + mark + redacted_words([query])[0].replace(" ", "-") if query else path + mark


def _service_without_secrets(service: Service) -> Service:
    return msgspec.structs.replace(
        service,
        command=redacted_words(service.command),
        env=redacted(service.env),
        image=None if service.image is None else _image_without_secrets(service.image),
    )


def _image_without_secrets(image: Image) -> Image:
    build = image.build and msgspec.structs.replace(image.build, args=redacted(image.build.args))
    return msgspec.structs.replace(image, command=redacted_words(image.command), build=build)


def check_version(path: Path, raw: bytes) -> None:
    """Raises DataError if the JSON object in `raw`, from `path`, is of another schema version."""
    version = msgspec.json.decode(raw, type=dict[str, Any]).get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {version!r}, this tool reads {SCHEMA_VERSION}",
            "read it with the version of oomproof that wrote it",
        )


def load(directory: Path) -> StoredRun:
    """Read a run. A torn last record is dropped. Raises DataError if it is no run, or one of another schema."""
    path = directory / RUN_FILE
    try:
        raw = path.read_bytes()
        check_version(path, raw)
        result = msgspec.json.decode(raw, type=RunResult)
    except OSError as error:
        raise DataError(
            f"{directory} is no run: {path.name} cannot be read ({(error.strerror or str(error)).lower()})",
            "name a directory that a measuring command printed",
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}", "make the run again") from error
    try:
        log = Blocks.of_file(directory / REQUESTS_FILE, np.dtype(list(result.request_fields)))
        _check(REQUESTS_FILE, log, _NEEDED_OF_REQUESTS, "finished_ns", result.start_ns)
        requests = _mapped(directory / REQUESTS_FILE, log)
        parts = tuple(_part(directory, result, own, requests, log) for own in result.services)
        whole = _whole(parts) if parts else _alone(directory, result)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"the data in {directory} is damaged: {error}", "make the run again") from error
    if result.outcome is Outcome.INTERRUPTED:
        broken_off = result.load_end_ns is None
        result = with_what_was_seen(result, whole.samples)
        log = _until(log, result) if broken_off else log
        requests = requests[: len(log)]
        parts = tuple(
            dataclasses.replace(
                part,
                result=with_what_was_seen(part.result, part.samples, result.end_ns),
                requests=requests,
                log=log,
            )
            for part in parts
        )
    return StoredRun(
        directory.resolve(), result, whole.samples, requests, parts, whole.readings, whole.sample_count, log
    )


class _Series(NamedTuple):
    """As in StoredRun."""

    samples: NDArray[np.void]
    readings: Readings
    sample_count: int


def _alone(directory: Path, result: RunResult) -> _Series:
    """The samples of one service."""
    path = directory / SAMPLES_FILE
    blocks = Blocks.of_file(path, np.dtype(list(result.sample_fields)))
    if len(blocks) <= LONG:
        samples = _mapped(path, blocks)
        _check(SAMPLES_FILE, Blocks.of(samples), _NEEDED_OF_SAMPLES, "t_ns", result.start_ns)
        return _Series(samples, Blocks.of(samples), len(samples))
    series = _made(lambda: _thinned(blocks, len(blocks)), ((path, len(blocks), path.stat().st_mtime_ns),))
    # The extremes of each field are in it, those of time as well.
    _check(SAMPLES_FILE, Blocks.of(series.samples), _NEEDED_OF_SAMPLES, "t_ns", result.start_ns)
    return series


def _whole(parts: tuple[StoredRun, ...]) -> _Series:
    """The sum of several services' samples."""
    length = sum(part.count for part in parts)
    if length <= LONG:
        samples = total([part.samples for part in parts])
        return _Series(samples, Blocks.of(samples), len(samples))
    summed = Summed([blocks for part in parts if isinstance(blocks := part.every_sample, Blocks)])
    files = [part.directory / SAMPLES_FILE for part in parts]
    key = tuple(
        (path, part.count, path.stat().st_mtime_ns) for path, part in zip(files, parts, strict=True) if part.count
    )
    return _made(lambda: _thinned(kept(summed, parts[0].directory, length), length), key)


def _thinned(readings: Readings, length: int) -> _Series:
    """A long series with those that stay of it. `length`: how many there are at most."""
    thinned = thin(readings, length)
    return _Series(thinned.samples, readings, thinned.length)


_Key = tuple[tuple[Path, int, int], ...]
"""Of each file its path, how many records it has, and when it was written to."""


def _made(make: Callable[[], _Series], key: _Key) -> _Series:
    """What `make` gives, made once for each state of the files: a report reads a run several times."""
    found = _MADE.get(key)
    if found is None:
        found = make()
        while len(_MADE) >= _REMEMBERED:
            del _MADE[next(iter(_MADE))]
        _MADE[key] = found
    return found


_MADE: dict[_Key, _Series] = {}


def _part(directory: Path, result: RunResult, own: ServiceResult, requests: NDArray[np.void], log: Blocks) -> StoredRun:
    """The run as one of its services had it: its own limits and counts, the whole run's load."""
    place = directory / SERVICES_DIRECTORY / own.name
    service = next((service for service in result.target.services if service.name == own.name), None)
    if service is None:
        raise ValueError(f"there is no service {own.name!r} in its target")
    alone = msgspec.structs.replace(
        result,
        name=own.name,
        target=msgspec.structs.replace(result.target, services=(service,)),
        services=(),
        outcome=_outcome(result, own),
        stop_reason=(result.stop_reason or "").removeprefix(f"{own.name}: ") or None,
        kernel_log=result.kernel_log and _own_lines(result.kernel_log, own.cgroup),
        **{key: getattr(own, key) for key in ServiceResult.__struct_fields__ if key not in ("name", "cgroup")},
    )
    series = _alone(place, result)
    return StoredRun(place.resolve(), alone, series.samples, requests, (), series.readings, series.sample_count, log)


def with_what_was_seen(result: RunResult, samples: NDArray[np.void], end_ns: int = 0) -> RunResult:
    """The result of a run that was broken off, as far as its samples tell: what was killed with its tool had no time to write
    down when it ended and what the kernel had counted by then. `end_ns`: it was on at least until then."""
    last_ns = max(end_ns, int(samples["t_ns"][-1]) if len(samples) else 0)
    kills = result.oom_kills
    if kills is not None and len(samples):
        before = (result.watched.kills_before or 0) if result.watched else 0
        kills = max(kills, int(samples["oom_kills"][-1]) - before)
    phases, now_ns = result.phases, max(last_ns, result.end_ns)
    load = next((phase for phase in phases if phase.name == "load"), None)
    load_end_ns = result.load_end_ns or (load.end_ns if load and result.load_start_ns else None)
    if phases and phases[-1].end_ns == result.end_ns:  # written while that phase was on
        phases = (*phases[:-1], msgspec.structs.replace(phases[-1], end_ns=now_ns))
        if load_end_ns == result.end_ns:
            # In the last second whatever guards the run ended it: that is no part of the load.
            load_end_ns = max(result.load_start_ns or 0, now_ns - _ENDING_NS)
    return msgspec.structs.replace(result, oom_kills=kills, end_ns=now_ns, phases=phases, load_end_ns=load_end_ns)


def _until(log: Blocks, result: RunResult) -> Blocks:
    """The requests that ended within the load. Those after it, of a run that was broken off, met a service that was being
    ended: that is nobody's failure."""
    if result.load_end_ns is None or not log.count:
        return log
    last = log.block(log.count - 1)
    late = np.flatnonzero(last["finished_ns"] > result.load_end_ns)
    return log.first(len(log) - len(last) + int(late[0])) if len(late) else log


def _own_lines(log: KernelLog, cgroup: str) -> KernelLog:
    return msgspec.structs.replace(log, kills=tuple(kill for kill in log.kills if kill.cgroup == cgroup))


def _outcome(result: RunResult, own: ServiceResult) -> Outcome:
    """How one service of several ended, when the whole ended as `result` says: what one does ends the run for all."""
    if own.oom_kills:
        return Outcome.OOM_KILLED
    if result.outcome is Outcome.INTERRUPTED:
        return result.outcome
    if own.exit_status is not None:
        return Outcome.CRASHED
    if result.stop_reason is None or result.outcome is Outcome.TIMED_OUT:
        return Outcome.COMPLETED
    its_doing = result.stop_reason.startswith(f"{own.name}: ")
    return Outcome.NEVER_READY if its_doing else Outcome.STOPPED_EARLY


def _check(name: str, blocks: Blocks, needed: frozenset[str], time: str, start_ns: int) -> None:
    """Raises ValueError if fields are missing or times lie outside any run: nobody should judge by noise."""
    if not len(blocks):
        return
    if missing := needed - set(blocks.dtype.names or ()):
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    for block in blocks:
        times = block[time]
        if int(times.min()) < start_ns - _SLACK_NS or int(times.max()) > start_ns + _LONGEST_RUN_NS:
            raise ValueError(f"{name} holds times that lie outside the run")


def _mapped(path: Path, blocks: Blocks) -> NDArray[np.void]:
    """The records of a file as one array."""
    if not len(blocks):
        return np.empty(0, blocks.dtype)
    return np.memmap(path, blocks.dtype, mode="r", shape=(len(blocks),))
