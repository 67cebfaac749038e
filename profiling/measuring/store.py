"""A run on disk: `run.json` (a RunResult) with `samples.bin` and `requests.bin` in bulk beside it.

`run.json` is written when the run begins, as interrupted, and replaced when it ends: a run whose tool was killed is
readable up to the last flush.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests import requestlog
from profiling.errors import DataError, OutputError
from profiling.manifests.secrets import redacted, redacted_words
from profiling.measuring import samples as samples_module
from profiling.measuring.totals import total
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
_LONGEST_RUN_NS = 8 * 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run as read from disk. `samples` and `requests` are structured arrays, memory-mapped and read-only; their
    fields stand in `result.sample_fields` and `result.request_fields`."""

    directory: Path
    result: RunResult
    samples: NDArray[np.void]
    requests: NDArray[np.void]
    parts: tuple[StoredRun, ...] = ()
    """Where there are several services: the run as each alone had it. Their samples are summed up in `samples`."""


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
        requests = _records(directory / REQUESTS_FILE, result.request_fields)
        _check(REQUESTS_FILE, requests, _NEEDED_OF_REQUESTS, "finished_ns", result.start_ns)
        parts = tuple(_part(directory, result, own, requests) for own in result.services)
        samples = total([part.samples for part in parts]) if parts else _samples(directory, result)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"the data in {directory} is damaged: {error}", "make the run again") from error
    return StoredRun(directory.resolve(), result, samples, requests, parts)


def _samples(directory: Path, result: RunResult) -> NDArray[np.void]:
    samples = _records(directory / SAMPLES_FILE, result.sample_fields)
    _check(SAMPLES_FILE, samples, _NEEDED_OF_SAMPLES, "t_ns", result.start_ns)
    return samples


def _part(directory: Path, result: RunResult, own: ServiceResult, requests: NDArray[np.void]) -> StoredRun:
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
    return StoredRun(place.resolve(), alone, _samples(place, result), requests)


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


def _check(name: str, records: NDArray[np.void], needed: frozenset[str], time: str, start_ns: int) -> None:
    """Raises ValueError if fields are missing or times lie outside any run: nobody should judge by noise."""
    if not len(records):
        return
    if missing := needed - set(records.dtype.names or ()):
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    times = records[time]
    if int(times.min()) < start_ns - _SLACK_NS or int(times.max()) > start_ns + _LONGEST_RUN_NS:
        raise ValueError(f"{name} holds times that lie outside the run")


def _records(path: Path, fields: tuple[tuple[str, str], ...]) -> NDArray[np.void]:
    dtype = np.dtype(list(fields))
    size = path.stat().st_size if path.exists() else 0
    if not dtype.itemsize or size < dtype.itemsize:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(size // dtype.itemsize,))
