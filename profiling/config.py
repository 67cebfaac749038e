"""The config file (`oomproof.toml`, or `[tool.oomproof]` of a pyproject.toml) to values, with errors that name the key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from loadtests.plan import RequestTemplate, read_queries
from profiling.errors import ConfigError
from profiling.manifests import catalogue, detect
from profiling.manifests.catalogue import Plan
from profiling.manifests.node import MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES
from profiling.manifests.service import ManifestService
from profiling.units import parse_bytes, parse_fraction, parse_seconds
from profiling.values import Budget, Build, Image, Service, Target, Variant

FILE_NAME = "oomproof.toml"
Number = TypeVar("Number", int, float)
DEFAULT_READY = "/health"
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class ByteSize(int):
    """Read from text such as "512MiB"."""


class Seconds(float):
    """Read from text such as "20s"."""


class Fraction(float):
    """Read from text such as "10%"."""


class GrowthRate(float):
    """Bytes per request, read from text such as "1KiB/request"."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TargetTable(_Table, kw_only=True, frozen=True):
    command: list[str] = []
    image: str | None = None
    dockerfile: str | None = None
    build_args: dict[str, str] = {}
    name: str | None = None
    directory: str = "."
    ready: str | None = None
    startup_timeout: Seconds = Seconds(60)
    memory: ByteSize | None = None
    cpus: float | None = None
    manifest: str | None = None
    service: str | None = None
    oom_group: bool = False
    env: dict[str, str] = {}


class ExpectTable(_Table, kw_only=True, frozen=True):
    status: int = 200
    json_schema: dict[str, Any] | None = None


class RequestTable(_Table, kw_only=True, frozen=True):
    locustfile: str | None = None
    method: str = "POST"
    path: str = "/chat"
    json: Any = msgspec.UNSET
    headers: dict[str, str] = {}
    queries: str | None = None
    expect: ExpectTable = ExpectTable()


class LoadTable(_Table, kw_only=True, frozen=True):
    users: int | None = None
    duration: Seconds | None = None
    rate: float | None = None


class VariantTable(_Table, kw_only=True, frozen=True):
    env: dict[str, str] = {}


class BudgetTable(_Table, kw_only=True, frozen=True):
    max_peak: ByteSize | None = None
    min_headroom: Fraction | None = None
    max_p95: Seconds | None = None
    max_failures: Fraction = Fraction(0)
    max_growth: GrowthRate = GrowthRate(1024)


class PlanTable(_Table, kw_only=True, frozen=True):
    memory: str
    cpus: float | None = None
    usd_per_month: float | None = None


class ConfigFile(_Table, kw_only=True, frozen=True):
    """The whole file, as written."""

    target: TargetTable
    request: RequestTable = RequestTable()
    load: LoadTable = LoadTable()
    variants: dict[str, VariantTable] = {}
    budget: BudgetTable = BudgetTable()
    plans: dict[str, dict[str, PlanTable]] = {}


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


def find(directory: Path) -> Path | None:
    """The config file of a directory: oomproof.toml, else a pyproject.toml with a [tool.oomproof] table."""
    if (directory / FILE_NAME).is_file():
        return directory / FILE_NAME
    pyproject = directory / "pyproject.toml"
    return pyproject if pyproject.is_file() and "oomproof" in _toml(pyproject).get("tool", {}) else None


def read(path: Path) -> Config:
    """Read a config file. Raises ConfigError with the key's path, what was read and what is allowed."""
    document = _toml(path)
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("oomproof", {})
    try:
        file = msgspec.convert(document, ConfigFile, dec_hook=_decode)
        return _meaning(file, path.resolve().parent)
    except msgspec.ValidationError as error:
        raise _explained(path, document, str(error)) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: request.queries: {error.filename} cannot be read ({error.strerror})",
            "name a text file, one query a line",
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", "correct it; docs/config.md lists every key") from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path} cannot be read ({reason})", "name a readable config file with --target") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}", "correct the line that is named") from error


def _decode(kind: type, value: Any) -> Any:
    if kind is GrowthRate and isinstance(value, str):
        size, slash, per = value.partition("/")
        if not slash or per.strip() != "request":
            raise ValueError(f'{value!r} is no growth; write it like "1KiB/request"')
        return GrowthRate(parse_bytes(size))
    for wanted, parse in ((ByteSize, parse_bytes), (Seconds, parse_seconds), (Fraction, parse_fraction)):
        if kind is wanted:
            if not isinstance(value, str):
                raise ValueError(f"{value!r} has no unit; write it as text with one")
            return wanted(parse(value))
    raise ValueError(f"{value!r} is not allowed here")


def _meaning(file: ConfigFile, base: Path) -> Config:
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
    _check(file)
    name = file.target.name or _slug(directory.name)
    manifest = _manifest(file, base)
    table = file.target if manifest is None else _with_manifest(file.target, manifest)
    _check_what_runs(table)
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
    return detect.read(base / file.target.manifest, file.target.service, catalogue.load().with_plans(_plans(file)))


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


def _locustfile(base: Path, name: str | None) -> str | None:
    if name is None:
        return None
    if not (base / name).is_file():
        raise ValueError(f"request.locustfile: there is no file {base / name}")
    return str(base / name)


def _slug(text: str) -> str:
    return re.sub(r"[^\w .+-]", "-", text)[:80].lstrip(" .+-") or "service"


_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,254}")
_NAME = re.compile(r"\w[\w .+=,-]{0,79}")


def _check(file: ConfigFile) -> None:
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
    _plans(file)
    environments = {"target.env": target.env}
    for name, variant in file.variants.items():
        check_name("variants", name)
        environments[f"variants.{name}.env"] = variant.env
    for place, env in environments.items():
        for key, value in env.items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(f"{place}: {key!r} = {value!r} cannot be an environment variable")


def _plans(file: ConfigFile) -> tuple[Plan, ...]:
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


def _check_what_runs(target: TargetTable) -> None:
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


def _plain(kind: type[Number], value: Number | None) -> Number | None:
    """The built-in number: msgspec encodes no subclass of one."""
    return None if value is None else kind(value)


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `\$(?P<place>[^`]*)`)?")
_STEP = re.compile(r"\.[^.\[]+|\[[^\]]*\]")
_AT = re.compile(r"(?P<what>.*) - at `\$(?P<place>[^`]*)`", re.DOTALL)


def _explained(path: Path, document: dict[str, Any], message: str) -> ConfigError:
    """msgspec's message with the key's path, what stands there, and the nearest known name."""
    if match := _UNKNOWN.fullmatch(message):
        place, _ = _locate(document, match["place"] or "", unknown=match["key"])
        key = f"{place}.{match['key']}".lstrip(".")
        known = sorted(_known_keys(place))
        near = difflib.get_close_matches(match["key"], known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return ConfigError(f"{path}: unknown key {key!r}", f"{hint}Allowed there: {', '.join(known)}")
    if match := _AT.fullmatch(message):
        place, read = _locate(document, match["place"])
        shown = "" if read is None else f" (read: {read!r})"
        return ConfigError(
            f"{path}: {place}: {match['what']}{shown}", "correct that key; docs/config.md lists every one"
        )
    return ConfigError(f"{path}: {message}", "correct it; docs/config.md lists every key")


def _locate(document: dict[str, Any], place: str, unknown: str | None = None) -> tuple[str, Any]:
    """The full path behind msgspec's, and what stands there. msgspec writes `[...]` for a key of a free-form table:
    the first key is meant whose value cannot be right there, which is what it stopped at as well."""
    path: list[str] = []
    value: Any = document
    steps = _STEP.findall(place)
    for number, step in enumerate(steps):
        name = step.lstrip(".")
        if step == "[...]" and isinstance(value, dict):
            rest = steps[number + 1 :]
            only = next(iter(value)) if len(value) == 1 else "..."
            name = next((key for key, entry in value.items() if _is_wrong(entry, rest, unknown)), only)
        elif step.startswith("["):
            name = step[1:-1]
        path.append(name)
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            value = None
    return "".join(f"[{name}]" if name.isdecimal() else f".{name}" for name in path).lstrip("."), value


def _is_wrong(value: Any, rest: list[str], unknown: str | None) -> bool:
    """Whether the walk that stopped further on could have gone through `value`."""
    for step in rest:
        name = step.lstrip(".")
        if not isinstance(value, dict):
            return False
        if step == "[...]":
            return any(_is_wrong(entry, rest[rest.index(step) + 1 :], unknown) for entry in value.values())
        value = value.get(name)
    if unknown is not None:
        return isinstance(value, dict) and unknown in value
    return value is not None and not isinstance(value, str) and (not isinstance(value, dict) or not rest)


def _known_keys(place: str) -> set[str]:
    tables: dict[str, type[msgspec.Struct]] = {
        "": ConfigFile,
        "target": TargetTable,
        "request": RequestTable,
        "request.expect": ExpectTable,
        "load": LoadTable,
        "budget": BudgetTable,
    }
    in_free_form = {"variants": VariantTable, "plans": PlanTable}
    table = in_free_form.get(place.partition(".")[0]) or tables.get(place, ConfigFile)
    return set(table.__struct_fields__)


def of_command(command: Sequence[str], directory: Path) -> Config:
    """What a bare command line means: the service of `directory`, with the defaults of a config file."""
    return _meaning(ConfigFile(target=TargetTable(command=list(command))), directory)
