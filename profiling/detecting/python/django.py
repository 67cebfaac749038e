"""A Django project: its WSGI or ASGI module, the routes in its `urlpatterns`, and whom its settings let in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.detecting.directory import Directory
from profiling.detecting.findings import Route
from profiling.detecting.python import bodies
from profiling.detecting.python.modules import Module

_SETTINGS = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)[\"']")
_DEEPEST = 4
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_View = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


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
            home, function = _view(urls, view, by_name)
            posted = function is not None and _takes_post_alone(function)
            body = bodies.of_handler(home, function, []) if posted and isinstance(function, _Function) else None
            yield Route(
                method="POST" if posted else "GET",
                path=full,
                where=urls.where(call),
                plain=plain and not (function and _guarded(function)),
                json=body,
            )


def _view(urls: Module, view: ast.expr, by_name: dict[str, Module]) -> tuple[Module, _View | None]:
    """The function or class that a route names, with its module; None where it is not in the project."""
    if isinstance(view, ast.Call) and isinstance(view.func, ast.Attribute) and view.func.attr == "as_view":
        view = view.func.value
    place, _, name = urls.full(view).rpartition(".")
    home = by_name.get(place)
    found = [node for node in home.tree.body if isinstance(node, _View) and node.name == name] if home else []
    return (home, found[0]) if home and found else (urls, None)


def _takes_post_alone(view: _View) -> bool:
    """By a decorator, by a comparison of the request's method, or by what a class has."""
    if isinstance(view, ast.ClassDef):
        methods = {node.name for node in view.body if isinstance(node, _Function)}
        return "post" in methods and "get" not in methods
    said = " ".join(map(ast.unparse, view.decorator_list))
    if "require_POST" in said or re.search(r"(?:require_http_methods|api_view)\(\[['\"]POST['\"]\]\)", said):
        return True
    return any(
        isinstance(node, ast.Compare) and re.fullmatch(r"request\.method != ['\"]POST['\"]", ast.unparse(node))
        for node in ast.walk(view)
    )


def _guarded(view: _View) -> bool:
    said = " ".join(map(ast.unparse, [*view.decorator_list, *(view.bases if isinstance(view, ast.ClassDef) else [])]))
    return bool(re.search(r"login|permission|staff|auth", said, re.IGNORECASE))


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
