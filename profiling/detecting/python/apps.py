"""Where a Python project makes its application: `app = Flask(...)`, a factory such as `create_app()`, or a call of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.detecting.python.modules import Module

FRAMEWORKS: dict[str, tuple[str, str]] = {
    "flask.Flask": ("flask", "wsgi"),
    "bottle.Bottle": ("bottle", "wsgi"),
    "falcon.App": ("falcon", "wsgi"),
    "fastapi.FastAPI": ("fastapi", "asgi"),
    "fastapi.applications.FastAPI": ("fastapi", "asgi"),
    "starlette.applications.Starlette": ("starlette", "asgi"),
    "litestar.Litestar": ("litestar", "asgi"),
    "quart.Quart": ("quart", "asgi"),
    "falcon.asgi.App": ("falcon", "asgi"),
}
"""Constructors of applications: (framework, interface)."""
_FACTORIES = (
    "create_app",
    "make_app",
    "build_app",
    "get_app",
    "create_application",
    "make_application",
    "get_application",
)
_FILES = ("app", "main", "wsgi", "asgi", "server", "api", "application", "run", "__init__")
_NAMES = ("app", "application", "api", "create_app")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class App:
    """One application. `owners`: the full names of the variables that hold it, on which routes are declared."""

    framework: str
    interface: str
    module: Module
    attribute: str
    line: int
    owners: tuple[str, ...]
    is_factory: bool = False
    has_openapi: bool = False

    @property
    def where(self) -> str:
        return f"{self.module.path}:{self.line}"


def find(modules: list[Module]) -> list[App]:
    """The applications, the likeliest first: near the top, in a file and under a name that are usual."""
    factories = {f"{module.name}.{app.attribute}": app for module in modules for app in _factories(module)}
    held = [app for module in modules for app in _variables(module, factories)]
    called = {owner for app in held for owner in app.owners}
    alone = [app for app in factories.values() if not set(app.owners) & called]
    return sorted([*held, *alone], key=_order)


def _order(app: App) -> tuple[int, int, int, int, str]:
    file = app.module.path.rpartition("/")[2].removesuffix(".py")
    return (
        app.module.path.count("/"),
        _FILES.index(file) if file in _FILES else len(_FILES),
        app.is_factory,
        _NAMES.index(app.attribute) if app.attribute in _NAMES else len(_NAMES),
        app.module.path,
    )


def _variables(module: Module, factories: dict[str, App]) -> Iterator[App]:
    """Module-level `NAME = Flask(...)` and `NAME = create_app(...)`."""
    for name, call in _assigned_calls(module.tree.body):
        full = module.full(call.func)
        owner = f"{module.name}.{name}"
        if full in FRAMEWORKS:
            yield _app(module, full, name, call, (owner,))
        elif made := factories.get(full):
            yield App(
                framework=made.framework,
                interface=made.interface,
                module=module,
                attribute=name,
                line=call.lineno,
                owners=(owner, *made.owners),
                has_openapi=made.has_openapi,
            )


def _factories(module: Module) -> Iterator[App]:
    """Functions with a usual name that can be called without arguments and build an application."""
    for function in module.tree.body:
        if not isinstance(function, _Function) or function.name not in _FACTORIES or _needs_arguments(function):
            continue
        for name, call in _assigned_calls(list(ast.walk(function))):
            full = module.full(call.func)
            if full in FRAMEWORKS:
                yield _app(module, full, function.name, function, (f"{module.name}.{name}",), call)
                break


def _app(
    module: Module,
    full: str,
    attribute: str,
    at: ast.stmt | ast.expr,
    owners: tuple[str, ...],
    made: ast.Call | None = None,
) -> App:
    framework, interface = FRAMEWORKS[full]
    call = made or at
    assert isinstance(call, ast.Call)
    switched_off = {"openapi_url"} & {keyword.arg for keyword in call.keywords}
    return App(
        framework=framework,
        interface=interface,
        module=module,
        attribute=attribute,
        line=at.lineno,
        owners=owners,
        is_factory=made is not None,
        has_openapi=framework == "fastapi" and not switched_off,
    )


def _assigned_calls(nodes: list[ast.stmt] | list[ast.AST]) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target: ast.expr = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
            yield target.id, node.value


def _needs_arguments(function: _Function) -> bool:
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional > 0 or any(default is None for default in arguments.kw_defaults)
