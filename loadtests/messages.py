"""What master and workers say to each other, by Locust's custom messages. No Locust in here."""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

HELLO: Final = "oomproof-hello"
"""Worker to master, once: who it is."""
PROBE: Final = "oomproof-probe"
"""Master to worker, and back with the worker's time."""
BEGIN: Final = "oomproof-begin"
"""Master to worker: the plan starts, and what its share is."""
RECORDS: Final = "oomproof-records"
"""Worker to master, a few times a second: packed request records."""
FINISH: Final = "oomproof-finish"
"""Master to worker: send nothing more, let what is in flight finish, report."""
BEGUN: Final = "the load begins"
"""A worker logs it, for whoever has started it."""
DONE: Final = "oomproof-done"
"""Worker to master, after its last records."""


class Hello(msgspec.Struct, frozen=True):
    """protocol: see `workers.PROTOCOL`; clock: names the clock that its times are on."""

    protocol: int
    locust: str
    host: str
    pid: int
    clock: str


class Probe(msgspec.Struct, frozen=True):
    """asked_ns: by the master's clock; theirs_ns: by the worker's, 0 on the way there."""

    asked_ns: int
    theirs_ns: int = 0


class Begin(msgspec.Struct, frozen=True):
    """start_ns: the plan's first moment by the worker's clock; rank, of: which share is its own, from 0."""

    start_ns: int
    rank: int
    of: int


class Records(msgspec.Struct, frozen=True):
    """data: whole records; users: users of this worker as it was sent."""

    data: bytes
    users: int


class Done(msgspec.Struct, frozen=True):
    """records: how many it sent in all."""

    records: int
    cpu_share: float | None
    task_errors: int
    message: str | None


Kind = TypeVar("Kind")


def packed(message: msgspec.Struct) -> dict[str, Any]:
    """The message as Locust sends it."""
    data: dict[str, Any] = msgspec.structs.asdict(message)
    return data


def parsed(data: Any, kind: type[Kind]) -> Kind:
    """The message as it arrived. Raises msgspec.ValidationError where it is none of that kind."""
    return msgspec.convert(data, kind)


def clock_name() -> str:
    """Names this process's CLOCK_MONOTONIC: the same name means the very same clock.

    A machine has one per boot, except where a time namespace shifts it.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    space = Path("/proc/self/ns/time")
    return f"{boot} {space.readlink() if space.is_symlink() else ''}".strip()
