"""A Django project: its WSGI or ASGI module, the routes in its `urlpatterns`, and whom its settings let in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.detecting.directory import Directory
from profiling.detecting.findings import Route
from profiling.detecting.python.modules import Module

_SETTINGS = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)[\"']")
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Django:
    """`place`: the directory of manage.py, "" for the root. `wsgi`, `asgi`: dotted names of modules that are there."""

    place: str
    settings: str
    wsgi: str | None
    asgi: str | None
    routes: tuple[Route, ...]
    closed: bool
    """The settings refuse requests for 127.0.0.1."""


def find(directory: Directory, modules: list[Module]) -> Django | None:
    """The project whose manage.py lies nearest to the top."""
    for path in (path for path in directory.files if path.rpartition("/")[2] == "manage.py"):
        match = _SETTINGS.search(directory.text(path) or "")
        if match is None:
            continue
        place = path.rpartition("/")[0]
        by_name = {
            _from(place, module): module for module in modules if module.path.startswith(f"{place}/" if place else "")
        }
        package = match[1].partition(".")[0]
        settings = by_name.get(match[1])
        urls = by_name.get(str(_constant(settings, "ROOT_URLCONF") or f"{package}.urls"))
        return Django(
            place=place,
            settings=match[1],
            wsgi=f"{package}.wsgi" if f"{package}.wsgi" in by_name else None,
            asgi=f"{package}.asgi" if f"{package}.asgi" in by_name else None,
            routes=tuple(_routes(urls, by_name, "/")) if urls else (),
            closed=_is_closed(settings),
        )
    return None


def _from(place: str, module: Module) -> str:
    """The module's dotted name as it is imported from `place`, with or without `__init__.py` in its packages."""
    relative = module.path.removeprefix(f"{place}/" if place else "").removesuffix(".py").removesuffix("/__init__")
    return relative.replace("/", ".")


def _routes(urls: Module, by_name: dict[str, Module], prefix: str, depth: int = 0) -> Iterator[Route]:
    for call in _patterns(urls):
        name = ast.unparse(call.func)
        path = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        if name.rpartition(".")[2] != "path" or not isinstance(path, str) or len(call.args) < 2:
            continue
        full, view = prefix + path, call.args[1]
        if isinstance(view, ast.Call) and ast.unparse(view.func).rpartition(".")[2] == "include":
            target = view.args[0].value if view.args and isinstance(view.args[0], ast.Constant) else None
            included = by_name.get(target) if isinstance(target, str) else None
            if included and depth < _DEEPEST:
                yield from _routes(included, by_name, full, depth + 1)
        elif "admin" not in ast.unparse(view):
            plain = "<" not in full and full.isprintable() and " " not in full
            yield Route(method="GET", path=full, where=urls.where(call), plain=plain)


def _patterns(urls: Module) -> Iterator[ast.Call]:
    for node in urls.tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(value, ast.List) and any(isinstance(t, ast.Name) and t.id == "urlpatterns" for t in targets):
            yield from (element for element in value.elts if isinstance(element, ast.Call))


def _is_closed(settings: Module | None) -> bool:
    """DEBUG is off, and ALLOWED_HOSTS is a list without this machine's address."""
    if settings is None or _constant(settings, "DEBUG") is not False:
        return False
    hosts = _value(settings, "ALLOWED_HOSTS")
    if not isinstance(hosts, ast.List | ast.Tuple) or not all(isinstance(host, ast.Constant) for host in hosts.elts):
        return False
    return not {host.value for host in hosts.elts if isinstance(host, ast.Constant)} & {"*", "127.0.0.1"}


def _constant(module: Module | None, name: str) -> object:
    node = _value(module, name) if module else None
    return node.value if isinstance(node, ast.Constant) else None


def _value(module: Module, name: str) -> ast.expr | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
    return None
