"""Render's `render.yaml`. Source: https://render.com/docs/blueprint-spec"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from profiling.manifests.catalogue import Catalogue
from profiling.manifests.documents import load_yaml
from profiling.manifests.node import Node, environment
from profiling.manifests.service import ManifestService
from profiling.manifests.words import path_of, shell_words

_RUN_A_PROGRAM = ("web", "pserv", "worker", "cron", None)
_DEFAULT_PLAN = "starter"


def read(text: str, file: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """The services that run a program; databases, key-value stores and static sites are left out. Raises ManifestError."""
    documents = load_yaml(text, file)
    root = documents[0] if documents else Node(None, file)
    groups = {name: group for group in root["envVarGroups"].rows() if (name := group["name"].text())}
    return tuple(_service(node, groups, catalogue) for node in _services(root) if _runs_a_program(node))


def _services(root: Node) -> Iterator[Node]:
    yield from root["services"].rows()
    yield from root.at("ungrouped", "services").rows()
    for project in root["projects"].rows():
        for stage in project["environments"].rows():
            yield from stage["services"].rows()


def _runs_a_program(node: Node) -> bool:
    return node["type"].text() in _RUN_A_PROGRAM and _runtime(node) != "static"


def _runtime(node: Node) -> str | None:
    return node["runtime"].text() or node["env"].text()  # `env` is its name in older files


def _service(node: Node, groups: dict[str, Node], catalogue: Catalogue) -> ManifestService:
    name = node["name"].text()
    if name is None:
        node["name"].refuse("is missing; every service needs one")
    plan = catalogue.named("render", node["plan"], _DEFAULT_PLAN)
    assert plan is not None
    env, left_out = _env(node["envVars"], groups)
    docker = _runtime(node) == "docker" or bool(node["dockerfilePath"])
    root = node["rootDir"].text() or "."
    return ManifestService(
        name=name,
        platform="render",
        memory_bytes=plan.memory_bytes,
        cpus=plan.cpus,
        env=env,
        left_out_env=left_out,
        command=shell_words(node["dockerCommand"] if node["dockerCommand"] else node["startCommand"]),
        image=node.at("image", "url").text(),
        dockerfile=_joined(root, node["dockerfilePath"].text() or "Dockerfile") if docker else None,
        context=_joined(root, node["dockerContext"].text() or ".") if docker else None,
        port=int(env["PORT"]) if env.get("PORT", "").isdecimal() and len(env["PORT"]) < 6 else None,
        ready=path_of(node["healthCheckPath"]),
        plan=plan.name,
        where=node["plan"].path,
        notes=() if node["plan"] else (f"{name} names no plan; a new service gets {_DEFAULT_PLAN}",),
    )


def _joined(root: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(root, path))


def _env(entries: Node, groups: dict[str, Node]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values that stand in the file, and the names of those that come from elsewhere: the dashboard (`sync: false`), a
    generated secret, a database, another service."""
    shared: list[tuple[str, Node]] = []
    pairs: list[tuple[str, Node]] = []
    left_out: list[str] = []
    for entry in entries.rows():
        if group := entry["fromGroup"].text():
            if group not in groups:
                left_out.append(f"group {group}")
                continue
            values, others = _env(groups[group]["envVars"], {})
            shared += [(key, Node(value, entry.file, entry.path)) for key, value in values.items()]
            left_out += others
            continue
        key = entry["key"].text()
        if key is None:
            entry["key"].refuse("is missing")
        if entry["value"]:
            pairs.append((key, entry["value"]))
        else:
            left_out.append(key)
    env = environment(iter([*shared, *pairs]))  # the service's own go before a group's
    return env, tuple(dict.fromkeys(name for name in left_out if name not in env))
