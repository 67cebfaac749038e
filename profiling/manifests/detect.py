"""Which platform a manifest is for, and one service of it."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable
from pathlib import Path

from profiling.errors import ManifestError
from profiling.manifests import compose, ecs, fly, heroku, kubernetes, render
from profiling.manifests.catalogue import Catalogue, load
from profiling.manifests.documents import load_json, load_toml, load_yaml
from profiling.manifests.node import Node, shown
from profiling.manifests.service import ManifestService

Reader = Callable[[str, str, Catalogue], tuple[ManifestService, ...]]

_BY_NAME: tuple[tuple[str, str], ...] = (
    ("render*.y*ml", "render"),
    ("fly*.toml", "fly"),
    ("*compose*.y*ml", "compose"),
    ("app*.json", "heroku"),
    ("procfile*", "heroku"),
    ("task*def*.json", "ecs"),
)
_READERS: dict[str, Reader] = {
    "render": render.read,
    "fly": fly.read,
    "compose": compose.read,
    "kubernetes": kubernetes.read,
    "heroku": heroku.read,
    "ecs": ecs.read,
}
UNDERSTOOD = (
    "render.yaml, fly.toml, a Compose file, Kubernetes objects, Cloud Run's service.yaml, app.json, a Procfile,"
    " an ECS task definition"
)


def platform_of(name: str, text: str) -> str:
    """`render`, `fly`, `compose`, `kubernetes` (also Cloud Run), `heroku` or `ecs`: by what the file holds, and where that
    says nothing by its name. Raises ManifestError for text that is not what its ending says, and for anything else."""
    lower = Path(name).name.lower()
    by_name = next((platform for pattern, platform in _BY_NAME if fnmatch.fnmatch(lower, pattern)), None)
    if lower.startswith("procfile"):
        return "heroku"
    found = _by_content(lower, text, name) or by_name
    if found is None:
        raise ManifestError(f"{name} is no deploy manifest that is understood here", f"understood are: {UNDERSTOOD}")
    return found


def _by_content(lower: str, text: str, name: str) -> str | None:
    if lower.endswith(".toml"):
        return "fly" if _keys(load_toml(text, name)) & {"app", "vm", "http_service", "primary_region"} else None
    if lower.endswith(".json"):
        return _of_json(_keys(load_json(text, name)))
    return _of_yaml(load_yaml(text, name)) if lower.endswith((".yaml", ".yml")) else None


def _of_json(keys: set[str]) -> str | None:
    if keys & {"containerDefinitions", "taskDefinition"}:
        return "ecs"
    if {"kind", "apiVersion"} <= keys:
        return "kubernetes"
    return "heroku" if keys & {"formation", "env", "buildpacks", "addons"} else None


def _of_yaml(documents: list[Node]) -> str | None:
    if any({"kind", "apiVersion"} <= _keys(document) for document in documents):
        return "kubernetes"
    if not documents:
        return None
    first = documents[0]
    if not isinstance(first.value, dict):
        first.refuse("must be a table of keys and values at the top", hint=f"understood are: {UNDERSTOOD}")
    if isinstance(first.value.get("services"), dict):
        return "compose"
    renders = isinstance(first.value.get("services"), list) or _keys(first) & {"envVarGroups", "projects", "ungrouped"}
    return "render" if renders else None


def _keys(node: Node) -> set[str]:
    return {str(key) for key in node.value} if isinstance(node.value, dict) else set()


def read_text(text: str, name: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """All services of a manifest whose file is called `name`. Raises ManifestError."""
    platform = platform_of(name, text)
    if platform == "heroku" and Path(name).name.lower().startswith("procfile"):
        return heroku.read("", name, catalogue, procfile=text, procfile_name=name)
    try:
        return _READERS[platform](text, name, catalogue)
    except RecursionError:
        raise ManifestError(
            f"{name} is nested too deeply to be a manifest", "name the deploy manifest itself"
        ) from None


def read(path: Path, service: str | None = None, catalogue: Catalogue | None = None) -> ManifestService:
    """The service called `service` of the manifest at `path`, or its only one. Beside Heroku's app.json the Procfile is
    read, and the other way round. Raises ManifestError; where several could be meant, with their names."""
    return _chosen(path, read_all(path, load() if catalogue is None else catalogue), service)


def read_all(path: Path, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """All services of the manifest at `path`; Heroku's two files are read together. Raises ManifestError."""
    text = _text(path)
    heroku_too = platform_of(str(path), text) == "heroku"
    return _heroku(path, text, catalogue) if heroku_too else read_text(text, str(path), catalogue)


def _heroku(path: Path, text: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    is_procfile = path.name.lower().startswith("procfile")
    other = path.with_name("app.json" if is_procfile else "Procfile")
    beside = _text(other) if other.is_file() else ""
    app, procfile = ((other, beside), (path, text)) if is_procfile else ((path, text), (other, beside))
    return heroku.read(app[1], str(app[0]), catalogue, procfile=procfile[1], procfile_name=str(procfile[0]))


def _chosen(path: Path, services: tuple[ManifestService, ...], wanted: str | None) -> ManifestService:
    names = [service.name for service in services]
    if not services:
        raise ManifestError(f"{path} describes no service that runs a program", f"understood are: {UNDERSTOOD}")
    listed = ", ".join(map(shown, dict.fromkeys(names)))
    if wanted is None:
        if len(services) > 1:
            raise ManifestError(
                f"{path} describes {len(services)} services", f"say which one: service = one of {listed}"
            )
        return services[0]
    found = [service for service in services if service.name == wanted]
    if not found:
        near = difflib.get_close_matches(wanted, names, 1)
        hint = f"did you mean {shown(near[0])!r}? " if near else ""
        raise ManifestError(f"{path} describes no service {wanted!r}", f"{hint}There: {listed}")
    if len(found) > 1:
        raise ManifestError(f"{path} describes {len(found)} services called {wanted!r}", "give each a name of its own")
    return found[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not UTF-8"
        raise ManifestError(f"the manifest {path} cannot be read ({reason})", "name a readable file") from error
