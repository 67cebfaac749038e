"""Where a run is made: what a reader needs to make it again."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Protocol, TypedDict

from profiling.values import Environment


class Place(Protocol):
    """Where something runs: a sandbox, or what is only watched."""

    @property
    def reason(self) -> str: ...
    @property
    def swap(self) -> str: ...
    @property
    def engine(self) -> str | None: ...
    @property
    def image(self) -> str | None: ...


def tool_version() -> str:
    """The installed version of oomproof; `unknown` in a checkout that was never installed."""
    try:
        return metadata.version("oomproof")
    except metadata.PackageNotFoundError:
        return "unknown"


class Machine(TypedDict):
    """What of a machine its figures depend on."""

    python: str
    kernel: str
    machine: str
    cpu_count: int


def machine() -> Machine:
    """This machine."""
    return Machine(
        python=platform.python_version(),
        kernel=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_count=len(os.sched_getaffinity(0)),
    )


@functools.cache
def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Looked up once: it takes milliseconds, which beside a load would be the load's."""
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def describe(sandbox: Place, packages: Iterable[str]) -> Environment:
    """This machine, the sandbox, and the versions of those of `packages` that are installed beside the tool."""
    # What an image has in it is its own.
    versions = _versions(tuple(packages)) if sandbox.image is None else {}
    return Environment(
        tool_version=tool_version(),
        **machine(),
        memory_total_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        sandbox_reason=sandbox.reason,
        swap=sandbox.swap,
        packages=versions,
        engine=sandbox.engine,
        image=sandbox.image,
    )
