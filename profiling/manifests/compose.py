"""Compose files. Source: https://docs.docker.com/reference/compose-file/services/, .../deploy/"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from profiling.manifests.catalogue import Catalogue
from profiling.manifests.dialects import compose_cpus, docker_bytes
from profiling.manifests.documents import load_yaml
from profiling.manifests.interpolation import Unresolved, filled_in
from profiling.manifests.node import Node, environment, shown
from profiling.manifests.service import ManifestService
from profiling.manifests.words import asked_path, words_of

Number = TypeVar("Number", int, float)
_UNLIMITED = (0, -1, "0", "-1")


def read(text: str, file: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """The services of one file. Raises ManifestError."""
    documents = load_yaml(text, file)
    services = dict((documents[0] if documents else Node(None, file))["services"].items())
    return tuple(_service(name, _extended(node, services, (name,))) for name, node in services.items())


def _extended(node: Node, services: dict[str, Node], seen: tuple[str, ...]) -> Node:
    """The service over the one that it extends, if that stands in the same file."""
    extends = node["extends"]
    if not extends:
        return Node(filled_in(node.value), node.file, node.path)
    base = extends.text() if isinstance(extends.value, str) else extends["service"].text()
    if isinstance(extends.value, dict) and extends["file"]:
        extends["file"].refuse("is another file, which is not read", hint="name what `docker compose config` prints")
    if base not in services:
        extends.refuse(f"names no service of this file; they are {', '.join(map(shown, services))}")
    if base in seen:
        extends.refuse("leads back to the service itself")
    under = _extended(services[base], services, (*seen, base))
    return Node(_merged(under.value, filled_in(node.value)), node.file, node.path)


def _merged(under: Any, over: Any) -> Any:
    """Tables key by key, and of everything else what lies on top."""
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **{key: _merged(under.get(key), value) for key, value in over.items()}}
    return under if over is None else over


def _service(name: str, node: Node) -> ManifestService:
    memory, where = _limit(node, "mem_limit", "memory", lambda at: at.memory(docker_bytes))
    cpus, _ = _limit(node, "cpus", "cpus", lambda at: at.cpus(compose_cpus))
    env, left_out = _env(node)
    command, entrypoint = _words(node["command"]), _words(node["entrypoint"])
    notes = []
    if command and not entrypoint:
        notes.append(f"{name} has a command without entrypoint; it is taken for the whole command line")
    image, build = node["image"], node["build"]
    if isinstance(image.value, Unresolved):
        notes.append(f"{name}'s image {image.value.text} depends on a variable and is not known here")
        image = Node(None, node.file, image.path)
    context, dockerfile, arguments = _build(build)
    return ManifestService(
        name=name,
        platform="compose",
        memory_bytes=memory,
        cpus=cpus,
        env=env,
        left_out_env=left_out,
        command=(*entrypoint, *command) or None,
        image=None if build else image.text(),
        dockerfile=dockerfile,
        context=context,
        build_args=arguments,
        port=_port(node),
        ready=_ready(node),
        where=where,
        notes=tuple(notes),
    )


def _limit(node: Node, short: str, key: str, read: Callable[[Node], Number | None]) -> tuple[Number | None, str]:
    """A limit and its place: `deploy.resources.limits`, or its older short form. Compose wants them to agree."""
    long = node.at("deploy", "resources", "limits", key)
    said = [at for at in (long, node[short]) if at and at.value not in _UNLIMITED]
    limits = [(read(at), at.path) for at in said]
    if len({limit for limit, _ in limits}) > 1:
        said[1].refuse(f"is not what {said[0].path} says; Compose wants both to agree, so keep one")
    return limits[0] if limits else (None, long.path)


def _words(node: Node) -> tuple[str, ...]:
    return words_of(node) or ()


def _build(node: Node) -> tuple[str | None, str | None, dict[str, str]]:
    """(context, Dockerfile, arguments); the Dockerfile is relative to the context there, and to the manifest here."""
    if not node:
        return None, None, {}
    if isinstance(node.value, str):
        return node.value, _joined(node.value, "Dockerfile"), {}
    context = node["context"].text() or "."
    arguments, _ = _pairs(node["args"])
    return context, _joined(context, node["dockerfile"].text() or "Dockerfile"), environment(iter(arguments))


def _joined(context: str, dockerfile: str) -> str:
    return posixpath.normpath(posixpath.join(context, dockerfile))


def _env(node: Node) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values that stand in the file, and the names of those that a shell or an env_file fills in."""
    pairs, left_out = _pairs(node["environment"])
    files = node["env_file"]
    for file in files.rows() if isinstance(files.value, list) else [files] if files else []:
        path = file["path"] if isinstance(file.value, dict) else file
        left_out.append(f"env_file {path.text() or '?'}")
    return environment(iter(pairs)), tuple(left_out)


def _pairs(node: Node) -> tuple[list[tuple[str, Node]], list[str]]:
    """`NAME: value` or `- NAME=value`. A name without value comes from the shell."""
    pairs: list[tuple[str, Node]] = []
    left_out = []
    for name, value in _entries(node):
        if not value or isinstance(value.value, Unresolved):
            left_out.append(name)
        else:
            pairs.append((name, value))
    return pairs, left_out


def _entries(node: Node) -> Iterator[tuple[str, Node]]:
    if not isinstance(node.value, list):
        yield from node.items()
        return
    for row in node.rows():
        text = row.value.text if isinstance(row.value, Unresolved) else row.scalar()
        name, equals, value = text.partition("=")
        known = equals and not isinstance(row.value, Unresolved)
        yield name, Node(value if known else None, row.file, row.path)


def _port(node: Node) -> int | None:
    """The container's side of the first port."""
    for key in ("ports", "expose"):
        for row in node[key].rows()[:1]:
            if isinstance(row.value, dict):
                return row["target"].port()
            match = re.search(r"(?:^|:)(\d{1,5})(?:/\w+)?$", str(row.value), re.ASCII)
            return int(match[1]) if match and 0 < int(match[1]) < 65_536 else None
    return None


def _ready(node: Node) -> str | None:
    test = node.at("healthcheck", "test")
    return None if isinstance(test.value, Unresolved) else asked_path(test)
