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
from profiling.units import parse_bytes, parse_fraction, parse_seconds
from profiling.values import Budget, Build, Image, Service, Target, Variant

FILE_NAME = "oomproof.toml"
Number = TypeVar("Number", int, float)
MIN_MEMORY_BYTES = 1 << 20
MIN_CPUS, MAX_CPUS = 0.01, 1024.0
"""The kernel takes no quota under 1 ms in 100 ms."""
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
    ready: str = "/health"
    startup_timeout: Seconds = Seconds(60)
    memory: ByteSize | None = None
    cpus: float | None = None
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


class ConfigFile(_Table, kw_only=True, frozen=True):
    """The whole file, as written."""

    target: TargetTable
    request: RequestTable = RequestTable()
    load: LoadTable = LoadTable()
    variants: dict[str, VariantTable] = {}
    budget: BudgetTable = BudgetTable()


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
    name = file.target.name or _slug(directory.name)
    image = _image(file.target, base, name)
    service = Service(
        command=() if image else tuple(file.target.command),
        image=image,
        directory=str(directory),
        env=file.target.env,
        ready=file.target.ready,
        startup_timeout_s=float(file.target.startup_timeout),
    )
    _check(file)
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
        memory_bytes=_plain(int, file.target.memory),
        cpus=file.target.cpus,
        oom_group=file.target.oom_group,
        users=file.load.users,
        duration_s=_plain(float, file.load.duration),
        rate=file.load.rate,
    )


def _image(target: TargetTable, base: Path, name: str) -> Image | None:
    """The container image that the table means; None where the command is for this machine."""
    command = tuple(target.command)
    if target.image is not None:
        return Image(name=target.image, command=command)
    if target.dockerfile is None:
        return None
    dockerfile = (base / target.dockerfile).resolve()
    if not dockerfile.is_file():
        raise ValueError(f"target.dockerfile: there is no file {dockerfile}")
    build = Build(context=str((base / target.directory).resolve()), dockerfile=str(dockerfile), args=target.build_args)
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
    _check_what_runs(target)
    if any("\0" in word for word in target.command):
        raise ValueError("target.command holds a NUL character")
    if target.name is not None:
        check_name("target.name", target.name)
    if target.memory is not None and not MIN_MEMORY_BYTES <= target.memory < 1 << 62:
        raise ValueError("target.memory is no limit that a service can have; it must be 1MiB or more")
    if target.cpus is not None and not MIN_CPUS <= target.cpus <= MAX_CPUS:
        raise ValueError(f"target.cpus is {target.cpus!r}; it must be between {MIN_CPUS:g} and {MAX_CPUS:g}")
    if not re.fullmatch(r"/[!-~]*", target.ready):
        raise ValueError(f"target.ready is {target.ready!r}; it must be a path that begins with / and has no blanks")
    environments = {"target.env": target.env}
    for name, variant in file.variants.items():
        check_name("variants", name)
        environments[f"variants.{name}.env"] = variant.env
    for place, env in environments.items():
        for key, value in env.items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(f"{place}: {key!r} = {value!r} cannot be an environment variable")


def _check_what_runs(target: TargetTable) -> None:
    """Raises ValueError unless it is a command, an image or a Dockerfile."""
    if target.image is not None and target.dockerfile is not None:
        raise ValueError("target.image and target.dockerfile are both given; keep the one that is deployed")
    if target.image is not None and not _IMAGE.fullmatch(target.image):
        raise ValueError(f"target.image is {target.image!r}; write it like registry.example/team/api:1.2")
    if target.build_args and target.dockerfile is None:
        raise ValueError("target.build_args are for a build; name the file with target.dockerfile")
    if not target.command and target.image is None and target.dockerfile is None:
        raise ValueError("target names nothing to run; give it a command, an image or a dockerfile")
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
            name = next((key for key, entry in value.items() if _is_wrong(entry, rest, unknown)), "...")
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
    table = VariantTable if place.startswith("variants") else tables.get(place, ConfigFile)
    return set(table.__struct_fields__)


def of_command(command: Sequence[str], directory: Path) -> Config:
    """What a bare command line means: the service of `directory`, with the defaults of a config file."""
    return _meaning(ConfigFile(target=TargetTable(command=list(command))), directory)
