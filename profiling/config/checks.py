"""What a config file's types do not say. Each check raises ValueError with the key."""

from __future__ import annotations

import re

from profiling.config.tables import ConfigFile, PlanTable, RequestTable, TargetTable
from profiling.manifests.catalogue import Plan
from profiling.manifests.node import MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES
from profiling.units import parse_bytes

_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,254}")
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"\w[\w .+=,-]{0,79}")


def check(file: ConfigFile) -> None:
    """What the types do not say. Raises ValueError with the key."""
    target = file.target
    if target.service is not None and target.manifest is None:
        raise ValueError("target.service names a service of a manifest; name the file with target.manifest")
    if any("\0" in word for word in target.command):
        raise ValueError("target.command holds a NUL character")
    if target.name is not None:
        check_name("target.name", target.name)
    if target.memory is not None and not MIN_MEMORY_BYTES <= target.memory < 1 << 62:
        raise ValueError("target.memory is no limit that a service can have; it must be 1MiB or more")
    if target.cpus is not None and not MIN_CPUS <= target.cpus <= MAX_CPUS:
        raise ValueError(f"target.cpus is {target.cpus!r}; it must be between {MIN_CPUS:g} and {MAX_CPUS:g}")
    if target.ready is not None and not re.fullmatch(r"/[!-~]*", target.ready):
        raise ValueError(f"target.ready is {target.ready!r}; it must be a path that begins with / and has no blanks")
    _openapi(file.request)
    plans(file)
    environments = {"target.env": target.env}
    for name, variant in file.variants.items():
        check_name("variants", name)
        environments[f"variants.{name}.env"] = variant.env
    for place, env in environments.items():
        for key, value in env.items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(f"{place}: {key!r} = {value!r} cannot be an environment variable")


def _openapi(request: RequestTable) -> None:
    place = request.openapi
    if place is not None and not re.fullmatch(r"/[!-~]*|[^/\0][^\0]*|", place):
        raise ValueError(f"request.openapi is {place!r}; write a path on the service without blanks, or a file's name")
    for method in request.openapi_methods:
        if method not in _METHODS:
            raise ValueError(f"request.openapi_methods holds {method!r}; it may hold {', '.join(_METHODS)}")


def plans(file: ConfigFile) -> tuple[Plan, ...]:
    """The user's own plans. Raises ValueError with the key."""
    return tuple(
        _plan(provider, name, table) for provider, tables in file.plans.items() for name, table in tables.items()
    )


def _plan(provider: str, name: str, table: PlanTable) -> Plan:
    key = f"plans.{provider}.{name}"
    try:
        memory = parse_bytes(table.memory)
    except ValueError as error:
        raise ValueError(f"{key}.memory: {error}") from error
    if not MIN_MEMORY_BYTES <= memory < 1 << 62:
        raise ValueError(f"{key}.memory is no limit that a service can have; it must be 1MiB or more")
    if table.cpus is not None and not MIN_CPUS <= table.cpus <= MAX_CPUS:
        raise ValueError(f"{key}.cpus is {table.cpus!r}; it must be between {MIN_CPUS:g} and {MAX_CPUS:g}")
    if table.usd_per_month is not None and not 0 <= table.usd_per_month < 1e9:
        raise ValueError(f"{key}.usd_per_month is {table.usd_per_month!r}; it must be 0 or more")
    return Plan(provider=provider, name=name, memory_bytes=memory, cpus=table.cpus, usd_per_month=table.usd_per_month)


def check_what_runs(target: TargetTable) -> None:
    """Raises ValueError unless it is a command, an image or a Dockerfile."""
    if target.image is not None and target.dockerfile is not None:
        raise ValueError("target.image and target.dockerfile are both given; keep the one that is deployed")
    if target.image is not None and not _IMAGE.fullmatch(target.image):
        raise ValueError(f"target.image is {target.image!r}; write it like registry.example/team/api:1.2")
    if target.build_args and target.dockerfile is None:
        raise ValueError("target.build_args are for a build; name the file with target.dockerfile")
    if not target.command and target.image is None and target.dockerfile is None:
        nor = "" if target.manifest is None else ", and neither does its manifest"
        raise ValueError(f"target names nothing to run{nor}; give it a command, an image or a dockerfile")
    if target.command and not target.command[0]:
        raise ValueError("target.command begins with an empty word")


def check_name(place: str, name: str) -> None:
    """Raises ValueError unless `name` can be part of a directory's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{place}: {name!r} is no name; use up to 80 letters, digits, blanks and . _ + - = ,")
