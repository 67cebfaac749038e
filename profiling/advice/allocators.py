"""Levers of the C library's allocator and of those that can take its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from profiling.advice.settings import Setting
from profiling.levers import Lever

_GROUP = "malloc"
_PLACES = ("usr/lib/*", "usr/lib", "usr/lib64", "usr/local/lib", "opt/*/lib")
_TRIM_BYTES = 131_072
"""The C library's own default, which no longer grows once it is said: https://man7.org/linux/man-pages/man3/mallopt.3.html"""
_INSTALL = "RUN apt-get update && apt-get install -y --no-install-recommends {} && rm -rf /var/lib/apt/lists/*"


def levers(setting: Setting) -> tuple[Lever, ...]:
    """Those for a service of this setting."""
    return (
        Lever(
            name="malloc-arena-2",
            advice="at most two arenas of malloc",
            guide="Heroku's and many container guides: threads share two pools of freed memory instead of eight per core",
            group=_GROUP,
            env={"MALLOC_ARENA_MAX": "2"},
        ),
        Lever(
            name="malloc-arena-1",
            advice="one arena of malloc",
            guide="the same advice taken to its end: one pool, for which all threads wait",
            group=_GROUP,
            env={"MALLOC_ARENA_MAX": "1"},
        ),
        Lever(
            name="malloc-trim",
            advice="malloc gives back from 128 KiB on",
            guide="tuning guides for malloc: a fixed threshold, so that freed memory goes back to the kernel sooner",
            group="trim",
            env={"MALLOC_TRIM_THRESHOLD_": str(_TRIM_BYTES)},
        ),
        _preloaded("jemalloc", ("libjemalloc.so.2", "libjemalloc.so"), "libjemalloc2", setting),
        _preloaded("mimalloc", ("libmimalloc.so.2", "libmimalloc.so.3", "libmimalloc.so"), "libmimalloc2.0", setting),
    )


def _preloaded(name: str, libraries: Sequence[str], package: str, setting: Setting) -> Lever:
    path = None if setting.contained else _find(libraries)
    others = setting.value("LD_PRELOAD")
    why = f"the library {libraries[0]} is not on this machine: apt-get install {package}"
    if setting.contained:
        why = "it runs in an image, and whether that has the library is not known here"
    return Lever(
        name=name,
        advice=f"{name} in place of the C library's malloc",
        guide=f"guides against fragmentation: {name} packs small objects more tightly and returns pages",
        group=_GROUP,
        env={"LD_PRELOAD": f"{path}:{others}" if others else path} if path else {},
        dockerfile=(_INSTALL.format(package),),
        left_out="" if path else why,
    )


def _find(libraries: Sequence[str]) -> str | None:
    """The first of these shared libraries that is installed."""
    for library in libraries:
        for place in _PLACES:
            found = sorted(Path("/").glob(f"{place}/{library}"))
            if found:
                return str(found[0])
    return None
