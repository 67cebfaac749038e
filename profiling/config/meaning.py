"""A config file's tables to values, with what a deploy manifest says where the file itself says nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from loadtests.plan import RequestTemplate, read_queries
from profiling.config.checks import check, check_what_runs, plans, tables
from profiling.config.tables import ByteSize, ConfigFile, LeverTable, RequestTable, TargetTable
from profiling.levers import Lever
from profiling.manifests import catalogue, detect
from profiling.manifests.catalogue import Plan
from profiling.manifests.service import ManifestService
from profiling.values import ApiDocument, Budget, Build, Image, Limits, Service, Target, Variant

Number = TypeVar("Number", int, float)
DEFAULT_READY = "/health"
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a config file means. None: not said there."""

    target: Target
    variants: tuple[Variant, ...]
    budget: Budget
    memory_bytes: int | None
    """Of a single service; those of a system have limits of their own."""
    cpus: float | None
    oom_group: bool = False
    users: int | None
    duration_s: float | None
    rate: float | None
    plans: tuple[Plan, ...] = ()
    """The file's own."""
    levers: tuple[Lever, ...] = ()
    """Likewise."""
    manifests: tuple[ManifestService, ...] = ()
    """What the manifests say, for whoever wants to know more of it: notes, variables that were left out."""


def meaning(file: ConfigFile, base: Path) -> Config:
    """The values. Paths are relative to `base`. Raises ValueError with the key, ManifestError, OSError for the queries."""
    check(file)
    read = {key: _ServiceTable.read(key, table, file, base) for key, table in tables(file).items()}
    found = list(read.values())
    name = (file.target and file.target.name) or _slug((found[0].directory if file.target else base).name)
    if file.target is not None:
        services = [found[0].service(name, "service", None)]
    else:
        services = [
            each.service(f"{name}-{own}", own, each.limits()) for own, each in zip(file.services, found, strict=True)
        ]
        if len({service.image is None for service in services}) > 1:
            raise ValueError("services: some have an image and some a command; all run in containers, or none does")
        front = file.request.service or services[0].name
        services.sort(key=lambda service: service.name != front)
    table = found[0].table
    return Config(
        target=Target(
            name=name,
            services=tuple(services),
            request=_request(file.request, base),
            openapi=_openapi(base, file.request),
            locustfile=_locustfile(base, file.request.locustfile),
            reads=tuple(dict.fromkeys(service.directory for service in services)),
            setup=tuple(command for each in found for command in each.table.setup),
        ),
        variants=tuple(Variant(name=name, env=table.env) for name, table in file.variants.items()),
        budget=Budget(
            max_peak_bytes=_plain(int, file.budget.max_peak),
            min_headroom=_plain(float, file.budget.min_headroom),
            max_p95_ms=None if file.budget.max_p95 is None else float(file.budget.max_p95) * 1000,
            max_failures=float(file.budget.max_failures),
            max_growth_bytes_per_request=float(file.budget.max_growth),
            tolerance=float(file.budget.tolerance),
        ),
        memory_bytes=_plain(int, table.memory) if file.target else None,
        cpus=table.cpus if file.target else None,
        oom_group=table.oom_group if file.target else False,
        users=file.load.users,
        duration_s=_plain(float, file.load.duration),
        rate=file.load.rate,
        plans=plans(file),
        levers=tuple(_lever(name, table) for name, table in file.levers.items()),
        manifests=tuple(each.manifest for each in found if each.manifest is not None),
    )


class _ServiceTable(msgspec.Struct, frozen=True):
    """The table of one service, with what its manifest says."""

    key: str
    written: TargetTable
    table: TargetTable
    """With the manifest's values where it says nothing itself."""
    manifest: ManifestService | None
    base: Path

    @classmethod
    def read(cls, key: str, written: TargetTable, file: ConfigFile, base: Path) -> _ServiceTable:
        manifest = None
        if written.manifest is not None:
            known = catalogue.load().with_plans(plans(file))
            manifest = detect.read(base / written.manifest, written.service, known)
        table = written if manifest is None else _with_manifest(written, manifest)
        check_what_runs(key, table)
        return cls(key, written, table, manifest, base)

    @property
    def directory(self) -> Path:
        return (self.base / self.table.directory).resolve()

    def limits(self) -> Limits:
        """Its own. Raises ValueError if there is none."""
        if self.table.memory is None:
            raise ValueError(f"{self.key}.memory is not set: each service of a system has a limit of its own")
        memory = int(self.table.memory)
        return Limits(memory_bytes=memory - memory % 4096, cpus=self.table.cpus, oom_group=self.table.oom_group)

    def service(self, tag: str, name: str, limits: Limits | None) -> Service:
        """`tag`: what an image that is built for it is called."""
        built = self.manifest if self.written.dockerfile is None else None
        image = _image(self.key, self.table, self.base, tag, built)
        return Service(
            name=name,
            command=() if image else tuple(self.table.command),
            image=image,
            directory=str(self.directory),
            env=self.table.env,
            ready=self.table.ready or DEFAULT_READY,
            startup_timeout_s=float(self.table.startup_timeout),
            limits=limits,
        )


def _lever(name: str, table: LeverTable) -> Lever:
    return Lever(
        name=name,
        advice="a setting of the config file",
        guide="your own",
        env=table.env,
        command=tuple(table.command),
    )


def _request(table: RequestTable, base: Path) -> RequestTemplate:
    body = None if table.json is msgspec.UNSET else table.json
    return RequestTemplate(
        method=table.method,
        path=table.path,
        headers=table.headers,
        queries=read_queries(base / table.queries) if table.queries else (),
        expect_status=table.expect.status,
        expect_json_schema=table.expect.json_schema,
        **({} if table.json is msgspec.UNSET and table.method not in _WITHOUT_BODY else {"json": body}),
    )


def _with_manifest(target: TargetTable, manifest: ManifestService) -> TargetTable:
    """The table with what the manifest says wherever the table itself says nothing."""
    # The port is the tool's to choose; the service learns it from PORT.
    env = {name: value for name, value in manifest.env.items() if name != "PORT"}
    said: dict[str, Any] = {"env": {**env, **target.env}, "ready": target.ready or manifest.ready}
    if target.memory is None and manifest.memory_bytes is not None:
        said["memory"] = ByteSize(manifest.memory_bytes)
    if target.cpus is None:
        said["cpus"] = manifest.cpus
    if not target.command and target.image is None and target.dockerfile is None:
        said["command"] = list(manifest.command or ())
        said["dockerfile"] = manifest.dockerfile
        if manifest.dockerfile is None:
            said["image"] = manifest.image
        else:
            said["build_args"] = {**manifest.build_args, **target.build_args}
    return msgspec.structs.replace(target, **said)


def _image(key: str, target: TargetTable, base: Path, name: str, manifest: ManifestService | None) -> Image | None:
    """The container image that the table means; None where the command is for this machine. `manifest`: where the
    Dockerfile comes from, if not from the table itself."""
    command = tuple(target.command)
    if target.image is not None:
        return Image(name=target.image, command=command)
    if target.dockerfile is None:
        return None
    directory = base / target.directory
    if manifest is not None:
        assert target.manifest is not None
        base = (base / target.manifest).parent
        directory = base / (manifest.context or ".")
    dockerfile = (base / target.dockerfile).resolve()
    if not dockerfile.is_file():
        where = f"{key}.dockerfile" if manifest is None else f"{key}.manifest: the Dockerfile of {manifest.name}"
        raise ValueError(f"{where}: there is no file {dockerfile}")
    build = Build(context=str(directory.resolve()), dockerfile=str(dockerfile), args=target.build_args)
    tag = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "service"
    return Image(name=f"oomproof/{tag}", build=build, command=command)


def _openapi(base: Path, request: RequestTable) -> ApiDocument | None:
    """Where the service's OpenAPI document is. A text that begins with a slash is a path on the service."""
    place, methods = request.openapi, request.openapi_methods
    if place is None:
        return ApiDocument(methods=methods)
    if not place:
        return None
    if place.startswith("/"):
        return ApiDocument(place=place, named=True, methods=methods)
    path = (base / place).resolve()
    if not path.is_file():
        raise ValueError(f"request.openapi: there is no file {path}")
    return ApiDocument(place=str(path), local=True, named=True, methods=methods)


def _locustfile(base: Path, name: str | None) -> str | None:
    if name is None:
        return None
    if not (base / name).is_file():
        raise ValueError(f"request.locustfile: there is no file {base / name}")
    return str(base / name)


def _slug(text: str) -> str:
    return re.sub(r"[^\w .+-]", "-", text)[:80].lstrip(" .+-") or "service"


def _plain(kind: type[Number], value: Number | None) -> Number | None:
    """The built-in number: msgspec encodes no subclass of one."""
    return None if value is None else kind(value)
