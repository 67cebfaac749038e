"""What a config file's types do not say. Each check raises ValueError with the key."""

from __future__ import annotations

import difflib
import re

from profiling.config.tables import ConfigFile, PlanTable, RequestTable, TargetTable
from profiling.manifests.catalogue import Plan
from profiling.manifests.node import MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES
from profiling.units import parse_bytes

_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,254}")
_PLACE = re.compile(r"\{(?P<service>[^{}.]+)\.(?:url|host|port)\}")
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"\w[\w .+=,-]{0,79}")


def check(file: ConfigFile) -> None:
    """What the types do not say. Raises ValueError with the key."""
    if file.target is None and not file.services:
        raise ValueError("there is no [target] table, and no [services.NAME] either")
    if file.target is not None and file.services:
        raise ValueError("[target] and [services.NAME] are both given; a system of several services has no [target]")
    if file.request.service is not None and file.request.service not in file.services:
        near = f"name one of {', '.join(file.services)}" if file.services else "there are no [services.NAME] tables"
        raise ValueError(f"request.service: there is no service {file.request.service!r}; {near}")
    environments = {}
    for key, table in tables(file).items():
        _check_table(key, table)
        environments[f"{key}.env"] = table.env
        _check_places(key, table, file)
    for name, table in file.services.items():
        check_name("services", name)
        if "." in name:
            raise ValueError(f"services: {name!r} has a dot, which {{NAME.url}} could not be read with")
        if table.name is not None:
            raise ValueError(f"services.{name}.name: a service has the name of its table")
    _openapi(file.request)
    plans(file)
    for name, variant in file.variants.items():
        check_name("variants", name)
        environments[f"variants.{name}.env"] = variant.env
    environments |= _levers(file)
    for place, env in environments.items():
        for key, value in env.items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(f"{place}: {key!r} = {value!r} cannot be an environment variable")


def _levers(file: ConfigFile) -> dict[str, dict[str, str]]:
    """Their environments, by key."""
    for name, lever in file.levers.items():
        check_name("levers", name)
        if not lever.env and not lever.command:
            raise ValueError(f"levers.{name} changes nothing; give it an env or a command")
        if lever.command and not lever.command[0]:
            raise ValueError(f"levers.{name}.command begins with an empty word")
        if any("\0" in word for word in lever.command):
            raise ValueError(f"levers.{name}.command holds a NUL character")
    return {f"levers.{name}.env": lever.env for name, lever in file.levers.items()}


def tables(file: ConfigFile) -> dict[str, TargetTable]:
    """The tables of all services, by key."""
    own = {} if file.target is None else {"target": file.target}
    return own | {f"services.{name}": table for name, table in file.services.items()}


def _check_table(key: str, table: TargetTable) -> None:
    if table.service is not None and table.manifest is None:
        raise ValueError(f"{key}.service names a service of a manifest; name the file with {key}.manifest")
    if any("\0" in word for word in table.command):
        raise ValueError(f"{key}.command holds a NUL character")
    if table.name is not None:
        check_name(f"{key}.name", table.name)
    if table.memory is not None and not MIN_MEMORY_BYTES <= table.memory < 1 << 62:
        raise ValueError(f"{key}.memory is no limit that a service can have; it must be 1MiB or more")
    if table.cpus is not None and not MIN_CPUS <= table.cpus <= MAX_CPUS:
        raise ValueError(f"{key}.cpus is {table.cpus!r}; it must be between {MIN_CPUS:g} and {MAX_CPUS:g}")
    if table.ready is not None and not re.fullmatch(r"/[!-~]*", table.ready):
        raise ValueError(f"{key}.ready is {table.ready!r}; it must be a path that begins with / and has no blanks")


def _check_places(key: str, table: TargetTable, file: ConfigFile) -> None:
    """Where the other services are can be asked of those that there are."""
    if not file.services:
        return
    for place, words in ((f"{key}.command", table.command), (f"{key}.env", table.env.values())):
        for word in words:
            for match in _PLACE.finditer(word):
                if match["service"] not in file.services:
                    near = difflib.get_close_matches(match["service"], file.services, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(f"{place}: {match[0]}: there is no service {match['service']!r}{hint}")


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


def check_what_runs(key: str, target: TargetTable) -> None:
    """Raises ValueError unless it is a command, an image or a Dockerfile."""
    if target.image is not None and target.dockerfile is not None:
        raise ValueError(f"{key}.image and {key}.dockerfile are both given; keep the one that is deployed")
    if target.image is not None and not _IMAGE.fullmatch(target.image):
        raise ValueError(f"{key}.image is {target.image!r}; write it like registry.example/team/api:1.2")
    if target.build_args and target.dockerfile is None:
        raise ValueError(f"{key}.build_args are for a build; name the file with {key}.dockerfile")
    if not target.command and target.image is None and target.dockerfile is None:
        nor = "" if target.manifest is None else ", and neither does its manifest"
        raise ValueError(f"{key} names nothing to run{nor}; give it a command, an image or a dockerfile")
    if target.command and not target.command[0]:
        raise ValueError(f"{key}.command begins with an empty word")


def check_name(place: str, name: str) -> None:
    """Raises ValueError unless `name` can be part of a directory's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{place}: {name!r} is no name; use up to 80 letters, digits, blanks and . _ + - = ,")
