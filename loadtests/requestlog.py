"""The request log: one fixed-width little-endian record per request, appended to a file.

It stays readable after `kill -9`: at most the last record is torn, and readers drop it.
Times are ns of CLOCK_MONOTONIC, the clock of `time.monotonic_ns()` and of the memory sampler.
"""

import os
import struct
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Self

FIELDS: Final[list[tuple[str, str]]] = [
    ("intended_ns", "<i8"),
    ("sent_ns", "<i8"),
    ("finished_ns", "<i8"),
    ("response_bytes", "<u4"),
    ("user", "<u4"),
    ("active_users", "<u2"),
    ("status", "<i2"),
    ("outcome", "|u1"),
    ("clock", "|u1"),
    ("reserved", "<u2"),
]
"""Name and NumPy format of every field, in order and without gaps: `numpy.dtype(FIELDS)`."""

_RECORD: Final = struct.Struct("<qqqIIHhBBH")
RECORD_SIZE: Final = _RECORD.size
"""Bytes per record."""

UNKNOWN_USER: Final = 0xFFFF_FFFF
"""`user` of a record that no user of the plan can be named for."""

FLUSH_INTERVAL_S: Final = 0.25


class RequestOutcome(IntEnum):
    """What became of a request. OK alone is an answer as expected."""

    OK = 0
    UNEXPECTED_STATUS = 1
    UNEXPECTED_BODY = 2
    CONNECTION_ERROR = 3
    """Refused, reset or closed before the answer was complete."""
    TIMEOUT = 4
    CUT_AT_END = 5
    """Still in flight when its user had to go, at the end of the load or of a stage."""
    NOT_SENT = 6
    """Open loop only: due by the plan, but no user was free to send it before the end. `sent_ns` and
    `finished_ns` are the end of the load."""


class RequestRecord(NamedTuple):
    """One request.

    intended_ns      when it was due; the same as sent_ns in a closed loop
    sent_ns          when it was sent
    finished_ns      when the answer was complete, or when it failed
    response_bytes   length of the body after decompression
    user             number of the user, from 0; UNKNOWN_USER where it is not known
    active_users     users at the time of the record
    status           HTTP status; 0: there was no HTTP answer
    outcome          what became of it
    clock            whose clock they were read from, and then brought onto this machine's; 0: this machine's own
    """

    intended_ns: int
    sent_ns: int
    finished_ns: int
    response_bytes: int
    user: int
    active_users: int
    status: int
    outcome: RequestOutcome
    clock: int = 0


def pack(record: RequestRecord) -> bytes:
    """The `RECORD_SIZE` bytes of a record. Counts that do not fit their field are clipped to it."""
    return pack_fields(*record)


def pack_fields(
    intended_ns: int,
    sent_ns: int,
    finished_ns: int,
    response_bytes: int,
    user: int,
    active_users: int,
    status: int,
    outcome: int,
    clock: int = 0,
) -> bytes:
    """As `pack`, for each request of a load: to make the record first would cost as much again."""
    return _RECORD.pack(
        intended_ns,
        sent_ns,
        finished_ns,
        response_bytes if response_bytes < 0xFFFF_FFFF else 0xFFFF_FFFF,
        user,
        active_users if active_users < 0xFFFF else 0xFFFF,
        status if -0x8000 <= status <= 0x7FFF else 0,
        outcome,
        clock,
        0,
    )


def unpack(data: bytes) -> RequestRecord:
    """The record in exactly `RECORD_SIZE` bytes. Raises struct.error on another length."""
    values: tuple[int, ...] = _RECORD.unpack(data)
    intended_ns, sent_ns, finished_ns, response_bytes, user, active_users, status, outcome, clock, _ = values
    return RequestRecord(
        intended_ns,
        sent_ns,
        finished_ns,
        response_bytes,
        user,
        active_users,
        status,
        RequestOutcome(outcome),
        clock,
    )


def brought_here(data: bytes, *, ahead_ns: int, more_users: int, clock: int) -> bytes:
    """Whole records of a worker as they belong into the log of the whole load.

    ahead_ns     how far the worker's clock is ahead of this machine's: taken off all times
    more_users   users of the other workers, added to the worker's own
    clock        number of the worker's clock
    """
    shifted = bytearray()
    for record in _RECORD.iter_unpack(data):
        intended_ns, sent_ns, finished_ns, size, user, active_users, status, outcome, _, _ = record
        shifted += _RECORD.pack(
            intended_ns - ahead_ns,
            sent_ns - ahead_ns,
            finished_ns - ahead_ns,
            size,
            user,
            min(active_users + more_users, 0xFFFF),
            status,
            outcome,
            clock,
            0,
        )
    return bytes(shifted)


def sort_by_end(path: Path, block: int = 500_000) -> None:
    """Brings the records of several workers into the order of their end, equal ones as they came. Raises OSError.

    What a worker hands over late is late by seconds, so that a log is all but sorted, whatever its length: it goes through
    two blocks of records in memory, again where one of them stood further off than that.
    """
    while not _sorted_once(path, block):
        pass


def _sorted_once(path: Path, block: int) -> bool:
    """Sort within a window that moves along the log; whether all of it is in order then."""
    import numpy as np  # here, since a load of one process needs no sorting

    dtype = np.dtype(FIELDS)
    is_sorted, moved, latest_ns = True, False, -(2**63)
    fresh = path.with_name(f".oomproof-{path.name}")
    try:
        with path.open("rb") as old, fresh.open("wb") as new:
            held = np.empty(0, dtype)
            left = count_records(path)
            while left or len(held):
                read = np.fromfile(old, dtype, count=min(block, left))
                if left and not len(read):
                    raise OSError(f"{path} grew shorter while it was read")
                left -= len(read)
                window = np.concatenate([held, read])
                order = window["finished_ns"].argsort(kind="stable")
                moved |= bool((order[1:] < order[:-1]).any())
                window = window[order]
                ready = window[: max(0, len(window) - block)] if left else window
                held = window[len(ready) :]
                if len(ready):
                    is_sorted &= int(ready["finished_ns"][0]) >= latest_ns
                    latest_ns = int(ready["finished_ns"][-1])
                    ready.tofile(new)
        if moved or not is_sorted:
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return is_sorted


class RequestLogWriter:
    """Appends records to a file, a whole number of records at a time.

    Records are held back for at most `FLUSH_INTERVAL_S` seconds as long as `flush_if_due` is called at
    least that often (`append` does it too). Not for use by several threads.

    Raises OSError where the file cannot be opened or written. After a failed write the records are
    kept and the next flush goes on where it stopped.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._pending = bytearray()
        self._flushed_at = time.monotonic()
        # A log that a killed writer left torn would shift every record that follows.
        size = os.fstat(self._fd).st_size
        if size % RECORD_SIZE:
            os.ftruncate(self._fd, size - size % RECORD_SIZE)

    def append(self, record: RequestRecord) -> None:
        """Adds one record; it reaches the file with the next flush."""
        self._pending += pack(record)
        self.flush_if_due()

    def append_packed(self, records: bytes) -> None:
        """Adds whole records; they reach the file with the next flush."""
        self._pending += records
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Flushes if the last flush was `FLUSH_INTERVAL_S` or more ago."""
        if time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Hands everything to the kernel, which keeps it even if this process is killed."""
        while self._pending:
            written = os.write(self._fd, self._pending)
            del self._pending[:written]
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Flushes and closes; closing twice is harmless."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def count_records(path: Path) -> int:
    """The number of whole records in a log; 0 if there is no such file."""
    try:
        return path.stat().st_size // RECORD_SIZE
    except FileNotFoundError:
        return 0


def read_records(path: Path) -> Iterator[RequestRecord]:
    """The records of a log in the order of their end; a torn last one is dropped.

    Raises OSError where the file cannot be read, ValueError on an outcome this version does not know.
    """
    with path.open("rb") as log:
        while len(block := log.read(RECORD_SIZE * 1024)) >= RECORD_SIZE:
            for offset in range(0, len(block) - RECORD_SIZE + 1, RECORD_SIZE):
                yield unpack(block[offset : offset + RECORD_SIZE])
