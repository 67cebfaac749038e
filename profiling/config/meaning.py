"""A config file's tables to values, with what a deploy manifest says where the file itself says nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from loadtests.plan import RequestTemplate, read_queries
from profiling.config.checks import check, check_what_runs, plans
from profiling.config.tables import ByteSize, ConfigFile, RequestTable, TargetTable
from profiling.manifests import catalogue, detect
from profiling.manifests.service import ManifestService
from profiling.values import ApiDocument, Budget, Build, Image, Service, Target, Variant

Number = TypeVar("Number", int, float)
DEFAULT_READY = "/health"
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a config file means. None: not said there."""

    target: Target
    variants: tuple[Variant, ...]
    budget: Budget
    memory_bytes: int | None
    cpus: float | None
    oom_group: bool = False
    users: int | None
    duration_s: float | None
    rate: float | None
    manifest: ManifestService | None = None
    """What the manifest says, for whoever wants to know more of it: notes, variables that were left out."""


def meaning(file: ConfigFile, base: Path) -> Config:
    directory = (base / file.target.directory).resolve()
    request = file.request
    body = None if request.json is msgspec.UNSET else request.json
    template = RequestTemplate(
        method=request.method,
        path=request.path,
        headers=request.headers,
        queries=read_queries(base / request.queries) if request.queries else (),
        expect_status=request.expect.status,
        expect_json_schema=request.expect.json_schema,
        **({} if request.json is msgspec.UNSET and request.method not in _WITHOUT_BODY else {"json": body}),
    )
    check(file)
    name = file.target.name or _slug(directory.name)
    manifest = _manifest(file, base)
    table = file.target if manifest is None else _with_manifest(file.target, manifest)
    check_what_runs(table)
    built = manifest if file.target.dockerfile is None else None
    image = _image(table, base, name, built)
    service = Service(
        command=() if image else tuple(table.command),
        image=image,
        directory=str(directory),
        env=table.env,
        ready=table.ready or DEFAULT_READY,
        startup_timeout_s=float(table.startup_timeout),
    )
    return Config(
        target=Target(
            name=name,
            services=(service,),
            request=template,
            openapi=_openapi(base, request),
            locustfile=_locustfile(base, request.locustfile),
            reads=(str(directory),),
        ),
        variants=tuple(Variant(name=name, env=table.env) for name, table in file.variants.items()),
        budget=Budget(
            max_peak_bytes=_plain(int, file.budget.max_peak),
            min_headroom=_plain(float, file.budget.min_headroom),
            max_p95_ms=None if file.budget.max_p95 is None else float(file.budget.max_p95) * 1000,
            max_failures=float(file.budget.max_failures),
            max_growth_bytes_per_request=float(file.budget.max_growth),
        ),
        memory_bytes=_plain(int, table.memory),
        cpus=table.cpus,
        oom_group=file.target.oom_group,
        users=file.load.users,
        duration_s=_plain(float, file.load.duration),
        rate=file.load.rate,
        manifest=manifest,
    )


def _manifest(file: ConfigFile, base: Path) -> ManifestService | None:
    """The service of the manifest that the file names. Raises ManifestError."""
    if file.target.manifest is None:
        return None
    return detect.read(base / file.target.manifest, file.target.service, catalogue.load().with_plans(plans(file)))


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


def _image(target: TargetTable, base: Path, name: str, manifest: ManifestService | None) -> Image | None:
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
        key = "target.dockerfile" if manifest is None else f"target.manifest: the Dockerfile of {manifest.name}"
        raise ValueError(f"{key}: there is no file {dockerfile}")
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
