"""Where a run is made: what a reader needs to make it again."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Protocol

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


def describe(sandbox: Place, packages: Iterable[str]) -> Environment:
    """This machine, the sandbox, and the versions of those of `packages` that are installed beside the tool."""
    versions = {}
    for package in packages if sandbox.image is None else ():  # what an image has in it is its own
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return Environment(
        tool_version=tool_version(),
        python=platform.python_version(),
        kernel=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_total_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        sandbox_reason=sandbox.reason,
        swap=sandbox.swap,
        packages=versions,
        engine=sandbox.engine,
        image=sandbox.image,
    )
