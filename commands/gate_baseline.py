"""A baseline on disk: what a service needed once, and whether what is measured today can be held against it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from commands.job import Job
from profiling.errors import ConfigError, DataError
from profiling.measuring import store
from profiling.measuring.environment import machine
from profiling.regressions import Baseline
from profiling.units import format_bytes, format_seconds

_OF_THE_MACHINE = ("kernel", "machine", "cpu_count", "python")


def load_baseline(path: Path, job: Job) -> Baseline:
    """Raises DataError if it cannot be read, ConfigError if it was made under another limit or load."""
    try:
        raw = path.read_bytes()
        store.check_version(path, raw)
        found = msgspec.json.decode(raw, type=Baseline)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no readable baseline ({error})", f"make one: baseline update {path}") from error
    made, asked = _conditions(found), conditions(job)
    if made != asked:
        raise ConfigError(
            f"{path}: the baseline was made of {made}, and this would be {asked}",
            f"use the same options and config, or make it again: baseline update {path}",
        )
    return found


def conditions(job: Job) -> str:
    """What figures must share to be compared."""
    load = job.load
    return _said(job.target.name, job.limits.memory_bytes, load.peak_users, load.duration_s, load.rate)


def _conditions(found: Baseline) -> str:
    return _said(found.target, found.memory_limit_bytes, found.users, found.duration_s, found.rate)


def _said(target: str, limit: int, users: int, duration_s: float, rate: float | None) -> str:
    due = f", {rate:g} requests/s" if rate is not None else ""
    return f"{target} at {format_bytes(limit)} under {users} users for {format_seconds(duration_s)}{due}"


def doubts(found: Baseline) -> str:
    """Why a difference may be the machine's and not the service's; empty where it is the same one."""
    here = dict(machine())
    differing = [
        f"{name.replace('_', ' ')} {getattr(found.environment, name)} then, {here[name]} now"
        for name in _OF_THE_MACHINE
        if str(getattr(found.environment, name)) != str(here[name])
    ]
    return f"it was made elsewhere ({'; '.join(differing)})" if differing else ""


def described(found: Baseline) -> str:
    return f"baseline of {found.created_at[:10]}{f' ({found.revision[:9]})' if found.revision else ''}"
