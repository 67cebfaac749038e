"""The deploy manifest of a directory, and which of its services is the one that answers requests."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.detecting.directory import Directory
from profiling.errors import ManifestError
from profiling.manifests import detect
from profiling.manifests.catalogue import load
from profiling.manifests.service import ManifestService

_PLACES = ("", "deploy", "deployment", "k8s", "kubernetes", "manifests", "infra", "ops")
_BY_NAME = ("render*.y*ml", "fly*.toml", "*compose*.y*ml", "app.json", "task*def*.json", "service.y*ml")
_BY_CONTENT = re.compile(r"^\s*\"?(?:apiVersion|containerDefinitions)\"?\s*:", re.MULTILINE)
_NO_MANIFEST = ("package.json", "package-lock.json", "tsconfig.json", "pyproject.toml")
_MOST_BYTES = 128 * 1024
_MOST = 20
_ORDER = ("render", "fly", "cloud-run", "kubernetes", "ecs", "heroku", "compose")
"""Compose last: where there is another, it is for the developer's own machine."""
_HELPERS = re.compile(
    r"(?:^|/)(?:postgres|postgis|mysql|mariadb|mongo|redis|valkey|memcached|rabbitmq|nats|kafka|zookeeper|elasticsearch|"
    r"opensearch|minio|nginx|traefik|caddy|haproxy|adminer|mailhog|mailpit|localstack|prometheus|grafana)\b"
)
_WEB = re.compile(r"web|api|app|backend|server|service|http|site|chat|bot")


@dataclass(frozen=True, slots=True)
class Deploy:
    """One service of one manifest."""

    path: str
    service: ManifestService
    others: tuple[str, ...]
    """Names of the manifest's other services."""


def find(directory: Directory) -> list[Deploy]:
    """The service of each manifest that is understood, the likeliest first. What is not understood becomes one of the
    directory's problems."""
    found = [deploy for path in _candidates(directory) if (deploy := _read(directory, path))]
    return sorted(found, key=lambda deploy: _ORDER.index(deploy.service.platform))


def procfile(directory: Directory) -> ManifestService | None:
    """The `web` process of the Procfile, or its only one."""
    if directory.text("Procfile", _MOST_BYTES) is None:
        return None
    services = _services(directory, "Procfile")
    return next((service for service in services if service.name == "web"), services[0] if len(services) == 1 else None)


def _candidates(directory: Directory) -> list[str]:
    return [path for path in directory.files if _may_be(directory, path)][:_MOST]


def _may_be(directory: Directory, path: str) -> bool:
    place, _, name = path.rpartition("/")
    lower = name.lower()
    if place not in _PLACES or lower in _NO_MANIFEST or "lock" in lower:
        return False
    if any(fnmatch.fnmatch(lower, pattern) for pattern in _BY_NAME):
        return directory.text(path, _MOST_BYTES) is not None
    if not lower.endswith((".yaml", ".yml", ".json")):
        return False
    return bool(_BY_CONTENT.search(directory.text(path, _MOST_BYTES) or ""))


def _read(directory: Directory, path: str) -> Deploy | None:
    services = _services(directory, path)
    web = sorted(services, key=_likelihood, reverse=True)  # stable: the first of equals stays first
    if not web or _likelihood(web[0]) < 0:
        return None
    others = [service.name for service in services if service is not web[0]]
    if web[0].name in others:
        directory.problem(path, f"describes several services called {web[0].name!r}, so none of them can be named")
        return None
    return Deploy(path=path, service=web[0], others=tuple(others))


def _services(directory: Directory, path: str) -> tuple[ManifestService, ...]:
    # Beside app.json the Procfile is read as well: only if it can be.
    if path == "app.json" and directory.has("Procfile") and directory.text("Procfile", _MOST_BYTES) is None:
        return ()
    try:
        return detect.read_all(directory.root / path, load())
    except ManifestError as error:
        directory.problem(path, f"is not used: {error.message.removeprefix(str(directory.root / path)).lstrip(': ')}")
        return ()


def _likelihood(service: ManifestService) -> int:
    """How likely it is the one that answers requests and is made here; below 0: something else's."""
    if service.image and service.dockerfile is None and _HELPERS.search(service.image):
        return -1
    return sum(_reasons(service))


def _reasons(service: ManifestService) -> Iterator[int]:
    yield 4 if service.ready else 0
    yield 3 if service.dockerfile or (service.command and not service.image) else 0
    yield 2 if _WEB.search(service.name.lower()) else 0
    yield 1 if service.port else 0
