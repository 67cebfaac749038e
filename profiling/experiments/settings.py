"""How a setting of a grid reaches a service: as a flag of the server that its command starts, or as a variable that it reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import msgspec

from profiling.errors import ConfigError
from profiling.grids import PRELOAD, THREADS, WORKERS
from profiling.values import Service, Target

VARIABLES = {WORKERS: "WEB_CONCURRENCY", THREADS: "THREADS", PRELOAD: "PRELOAD"}
"""What the reference backend calls them, and a service that says so in its config file."""
ON, OFF = "on", "off"


@dataclass(frozen=True, slots=True)
class _Server:
    """The names of a server's flags, by what they set."""

    flags: dict[str, tuple[str, ...]]
    joined: bool = False
    """It wants `--flag=value`."""


_SERVERS = {
    "gunicorn": _Server({WORKERS: ("--workers", "-w"), THREADS: ("--threads",), PRELOAD: ("--preload",)}),
    "uvicorn": _Server({WORKERS: ("--workers",)}),
    "hypercorn": _Server({WORKERS: ("--workers", "-w")}),
    "granian": _Server({WORKERS: ("--workers",)}),
    "waitress-serve": _Server({THREADS: ("--threads",)}, joined=True),
}
_BEFORE_A_SERVER = ("-m", "run", "exec", "--")
_WITHOUT_THREADS = ("gevent", "eventlet", "tornado", "uvicorn")
"""Parts of the names of gunicorn's workers that take no notice of --threads."""


def applied(target: Target, key: str, value: str, declared: Collection[str] = ()) -> Target:
    """The target with `workers`, `threads`, `preload` or an environment variable set. `declared`: variables that it is known
    to read. Raises ConfigError where the setting would not reach it."""
    variable = VARIABLES.get(key)
    if variable is None:
        _check_not_overruled(target, key)
        return target.with_env({key: value})
    text = value if key != PRELOAD else str(int(value == ON))
    read = variable in declared or any(_mentions(service, variable) for service in target.services)
    if read:
        return target.with_env({variable: text})
    # The load goes to the first: the others of a system have servers of their own.
    first, *others = target.services
    return msgspec.structs.replace(target, services=(_with_flag(first, key, value), *others))


def _mentions(service: Service, variable: str) -> bool:
    """Whether it is set in the service's environment, or a shell in its command reads it."""
    in_shell = re.compile(rf"\$\{{?{variable}\b")
    return variable in service.env or any(in_shell.search(word) for word in _words(service))


def _words(service: Service) -> tuple[str, ...]:
    return (*service.command, *(service.image.command if service.image else ()))


def _with_flag(service: Service, key: str, value: str) -> Service:
    """The service with the flag in each command that it has."""
    image = service.image
    commands = [words for words in (service.command, image.command if image else ()) if words]
    changed = [_edited(words, key, value, service) for words in commands]
    if not changed:
        raise _cannot(key, "the command is the image's own, and not known")
    if service.command:
        service = msgspec.structs.replace(service, command=changed[0])
    if image and image.command:
        service = msgspec.structs.replace(service, image=msgspec.structs.replace(image, command=changed[-1]))
    return service


def _edited(words: Sequence[str], key: str, value: str, service: Service) -> tuple[str, ...]:
    at = _server_at(words)
    if at is None:
        raise _cannot(key, "its command starts no server whose flags are known")
    name = PurePath(words[at]).name
    server = _SERVERS[name]
    flags = server.flags.get(key)
    if flags is None:
        raise _cannot(key, f"{name} has no such setting")
    if name == "gunicorn":
        _check_gunicorn(words, key, value, service)
    rest = _without(words[at + 1 :], flags, takes_value=key != PRELOAD)
    if key == PRELOAD:
        added: tuple[str, ...] = flags[:1] if value == ON else ()
    else:
        added = (f"{flags[0]}={value}",) if server.joined else (flags[0], value)
    return (*words[: at + 1], *added, *rest)


def _server_at(words: Sequence[str]) -> int | None:
    """Where the server's name stands: first, or behind what starts it (`python -m gunicorn`, `uv run gunicorn`)."""
    for at, word in enumerate(words):
        if PurePath(word).name in _SERVERS and (at == 0 or words[at - 1] in _BEFORE_A_SERVER):
            return at
    return None


def _without(words: Sequence[str], flags: tuple[str, ...], *, takes_value: bool) -> list[str]:
    """`words` without these flags and their values, in each way in which they can be written."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in flags:
            skip = takes_value
        elif not _is_joined(word, flags):
            kept.append(word)
    return kept


def _is_joined(word: str, flags: tuple[str, ...]) -> bool:
    """`--workers=4`, `-w4`."""
    return any(
        word.startswith(f"{flag}=") if flag.startswith("--") else re.fullmatch(rf"{flag}\d+", word) for flag in flags
    )


def _check_gunicorn(words: Sequence[str], key: str, value: str, service: Service) -> None:
    """Raises ConfigError where a flag would change nothing."""
    text = " ".join((*words, service.env.get("GUNICORN_CMD_ARGS", "")))
    kind = re.search(r"(?:--worker-class[= ]|-k ?)(\S+)", text)
    if key == THREADS and kind and any(part in kind[1] for part in _WITHOUT_THREADS):
        raise _cannot(key, f"gunicorn's workers of the kind {kind[1]} take no notice of it")
    by_file = re.search(r"(?:^|\s)(?:-c|--config)", text) or Path(service.directory, "gunicorn.conf.py").is_file()
    if key == PRELOAD and value == OFF and (by_file or "--preload" in service.env.get("GUNICORN_CMD_ARGS", "")):
        raise _cannot(key, "gunicorn's config file or GUNICORN_CMD_ARGS may set it, which no flag takes back")


def _check_not_overruled(target: Target, variable: str) -> None:
    """Raises ConfigError for a variable that a flag in the command goes before."""
    if variable != VARIABLES[WORKERS]:
        return
    words = target.service.command
    at = _server_at(words)
    flags = () if at is None else _SERVERS[PurePath(words[at]).name].flags.get(WORKERS, ())
    given = list(words if at is None else words[at + 1 :])
    if flags and _without(given, flags, takes_value=True) != given:
        raise ConfigError(
            f"--grid {variable}: the command has {flags[0]}, which goes before it", "use workers=1,2 instead"
        )


def _cannot(key: str, why: str) -> ConfigError:
    return ConfigError(
        f"--grid {key}: {why}",
        f"name the environment variable that the service reads for it, such as {VARIABLES[key]}=..., or leave it out",
    )
