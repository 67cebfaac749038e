"""Fly's `fly.toml`. Source: https://fly.io/docs/reference/configuration/"""

from __future__ import annotations

from collections.abc import Iterator

from profiling.manifests.catalogue import Catalogue
from profiling.manifests.dialects import fly_bytes, fly_cpus
from profiling.manifests.documents import load_toml
from profiling.manifests.node import Node, environment
from profiling.manifests.service import ManifestService
from profiling.manifests.words import path_of, shell_words

_DEFAULT_SIZE = "shared-cpu-1x"
_DEFAULT_GROUP = "app"


def read(text: str, file: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """One service per process group; without `[processes]` the app itself. Raises ManifestError."""
    root = load_toml(text, file)
    app = root["app"].text() or _DEFAULT_GROUP
    groups = dict(root["processes"].items())
    if not groups:
        return (_service(app, _DEFAULT_GROUP, None, root, catalogue),)
    return tuple(_service(group, group, command, root, catalogue) for group, command in groups.items())


def _service(name: str, group: str, command: Node | None, root: Node, catalogue: Catalogue) -> ManifestService:
    vm = _vm(root, group)
    plan = catalogue.named("fly", vm["size"], _DEFAULT_SIZE)
    assert plan is not None
    said = next((vm[key] for key in ("memory", "memory_mb") if vm[key]), None)
    memory = said.memory(fly_bytes) if said else plan.memory_bytes
    cpus = vm["cpus"].cpus(fly_cpus)
    kind = vm["cpu_kind"].text()
    if kind not in (None, "shared", "performance"):
        vm["cpu_kind"].refuse("is no kind of CPU; it is shared or performance")
    port, ready = _http(root, group)
    build = root["build"]
    image = build["image"].text()
    dockerfile = build["dockerfile"].text()
    if not (image or dockerfile or build["builder"] or build["buildpacks"]):
        dockerfile = "Dockerfile"  # what flyctl looks for
    return ManifestService(
        name=name,
        platform="fly",
        memory_bytes=memory,
        cpus=plan.cpus if cpus is None else cpus,
        env=environment(root["env"].items()),
        command=shell_words(command) if command else None,
        image=image,
        dockerfile=None if image else dockerfile,
        context=None if image or dockerfile is None else ".",
        build_args=environment(build["args"].items()),
        port=port,
        ready=ready,
        plan=plan.name if vm["size"] or not said else None,
        where=(said or vm["size"]).path,
        notes=tuple(_notes(name, root, vm, said)),
    )


def _notes(name: str, root: Node, vm: Node, said: Node | None) -> Iterator[str]:
    if not vm["size"] and said is None:
        yield f"{name} has no [[vm]] size; a new machine is {_DEFAULT_SIZE}"
    if root["swap_size_mb"]:
        yield "swap_size_mb gives the machine swap, which is not counted here: with it, more fits there than here"


def _vm(root: Node, group: str) -> Node:
    """The `[[vm]]` table for a process group: its own, else the one for all. A single `[vm]` is one for all, too."""
    tables = root["vm"].rows() if isinstance(root["vm"].value, list) else [root["vm"]]
    own = [table for table in tables if group in _groups(table)]
    shared = [table for table in tables if not _groups(table)]
    return next(iter([*own, *shared]), Node(None, root.file, "vm"))


def _groups(table: Node) -> tuple[str, ...]:
    return table["processes"].words()


def _http(root: Node, group: str) -> tuple[int | None, str | None]:
    """Port and health check path of a process group: of `[http_service]`, else of the first of `[[services]]`, else of the
    top-level `[checks]`."""
    services = [root["http_service"]] if root["http_service"] else []
    services += root["services"].rows() if isinstance(root["services"].value, list) else []
    mine = [service for service in services if not _groups(service) or group in _groups(service)]
    port = next((service["internal_port"].port() for service in mine if service["internal_port"]), None)
    checks = [check for service in mine for key in ("checks", "http_checks") for check in service[key].rows()]
    checks += [check for _, check in root["checks"].items() if not _groups(check) or group in _groups(check)]
    ready = next((path_of(check["path"]) for check in checks if check["path"]), None)
    return port, ready
