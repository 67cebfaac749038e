"""The routes that an application declares, through routers and blueprints as far as their prefixes can be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.detecting.findings import Route
from profiling.detecting.python import bodies
from profiling.detecting.python.apps import App
from profiling.detecting.python.modules import Module

_ROUTERS = {"fastapi.APIRouter": "prefix", "fastapi.routing.APIRouter": "prefix", "flask.Blueprint": "url_prefix"}
_INCLUDES = {"include_router": "prefix", "register_blueprint": "url_prefix"}
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_GUARDS = ("login", "auth", "permission", "jwt", "token", "admin")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class _Declared:
    owner: str
    method: str
    path: str
    module: Module
    line: int
    call: ast.Call
    function: _Function | None


def of_app(app: App, modules: list[Module]) -> list[Route]:
    """The routes of `app`, in the order of the files. A router whose place cannot be told has none."""
    prefixes = _prefixes(app, modules)
    routes = []
    for module in modules:
        for declared in _declared(module):
            for prefix in prefixes.get(declared.owner, ()):
                routes.append(_route(declared, prefix, modules))
    return routes


def _prefixes(app: App, modules: list[Module]) -> dict[str, tuple[str, ...]]:
    """Under which prefixes the routes of each owner (application or router) can be asked for."""
    own = {name: prefix for module in modules for name, prefix in _routers(module)}
    included = [include for module in modules for include in _includes(module)]
    reached: dict[str, tuple[str, ...]] = dict.fromkeys(app.owners, ("",))
    for _ in range(5):  # routers within routers
        for owner, router, prefix in included:
            for before in reached.get(owner, ()):
                # A blueprint's own prefix gives way to the one that it is registered with; a router's is added to it.
                name, replaces = own.get(router, ("", False))
                full = before + ((prefix or name) if replaces else prefix + name)
                if router != owner and full not in reached.get(router, ()):
                    reached[router] = (*reached.get(router, ()), full)
    return reached


def _routers(module: Module) -> Iterator[tuple[str, tuple[str, bool]]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            kind = module.full(node.value.func)
            if kind in _ROUTERS:
                prefix = _keyword_text(node.value, _ROUTERS[kind])
                yield f"{module.name}.{node.targets[0].id}", (prefix or "", kind == "flask.Blueprint")


def _includes(module: Module) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _INCLUDES
            and node.args
        ):
            word = _INCLUDES[node.func.attr]
            prefix = _keyword_text(node, word)
            if prefix is not None:
                yield module.full(node.func.value), module.full(node.args[0]), prefix


def _keyword_text(call: ast.Call, name: str) -> str | None:
    """The text of a keyword argument, "" where it is not given; None where it is no plain text."""
    found = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    if found is None:
        return ""
    return _text(found)


def _declared(module: Module) -> Iterator[_Declared]:
    functions: dict[str, _Function] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, _Function):
            functions.setdefault(node.name, node)
    for node in ast.walk(module.tree):
        if isinstance(node, _Function):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call):
                    yield from _of_call(module, decorator, node)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("add_url_rule", "add_api_route"):
            view = _view(node)
            function = functions.get(view.id) if isinstance(view, ast.Name) else None
            yield from _of_call(module, node, function)


def _view(call: ast.Call) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg in ("view_func", "endpoint")), None)
    return named or (call.args[-1] if len(call.args) > 1 else None)


def _of_call(module: Module, call: ast.Call, function: _Function | None) -> Iterator[_Declared]:
    """`@app.get("/path")`, `@app.route("/path", methods=[...])`, `app.add_url_rule("/path", ...)`."""
    path = _text(call.args[0]) if call.args else None
    if not isinstance(call.func, ast.Attribute) or path is None:
        return
    verb = call.func.attr
    if verb in _METHODS:
        methods = [verb.upper()]
    elif verb in ("route", "api_route", "add_url_rule", "add_api_route"):
        methods = _methods(call)
    else:
        return
    owner = module.full(call.func.value)
    for method in methods:
        yield _Declared(owner, method, path, module, call.lineno, call, function)


def _methods(call: ast.Call) -> list[str]:
    listed = next((keyword.value for keyword in call.keywords if keyword.arg == "methods"), None)
    if listed is None:
        return ["GET"]
    if not isinstance(listed, ast.List | ast.Tuple | ast.Set):
        return []
    return [text.upper() for element in listed.elts if (text := _text(element))]


def _route(declared: _Declared, prefix: str, modules: list[Module]) -> Route:
    path = prefix.rstrip("/") + declared.path if declared.path.startswith("/") or not prefix else prefix + declared.path
    function = declared.function
    body = None
    plain = path.startswith("/") and not set(path) & set("{}<>*:") and path.isprintable() and " " not in path
    if function is not None and plain:
        plain = not _guarded(declared.call, function) and not bodies.needs_query(declared.module, function)
        if plain and declared.method in ("POST", "PUT"):
            body = bodies.of_handler(declared.module, function, modules)
    return Route(
        method=declared.method,
        path=path,
        where=f"{declared.module.path}:{declared.line}",
        plain=plain,
        status=_status(declared.call),
        json=body,
    )


def _guarded(call: ast.Call, function: _Function) -> bool:
    """Whether somebody must be logged in, or something else must be given, by what stands at the function."""
    names = [
        ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        for decorator in function.decorator_list
    ]
    if any(guard in name.lower() for name in names for guard in _GUARDS):
        return True
    if any(keyword.arg == "dependencies" for keyword in call.keywords):
        return True
    arguments = [*function.args.args, *function.args.kwonlyargs]
    asked = [*function.args.defaults, *function.args.kw_defaults, *(argument.annotation for argument in arguments)]
    return any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in ("Depends", "Security", "Header", "Cookie")
        for default in asked
        if default is not None
        for node in ast.walk(default)
    )


def _status(call: ast.Call) -> int | None:
    """`status_code=201`, `status_code=status.HTTP_201_CREATED`."""
    node = next((keyword.value for keyword in call.keywords if keyword.arg == "status_code"), None)
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and 100 <= node.value <= 599:
        return node.value
    if isinstance(node, ast.Attribute) and node.attr.startswith("HTTP_") and node.attr[5:8].isdecimal():
        return int(node.attr[5:8])
    return None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
