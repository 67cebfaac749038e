"""The Python files of a directory as syntax trees, with the names that they import."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from profiling.detecting.directory import Directory

_MOST_FILES = 300
_PASSED_OVER = frozenset(
    {"tests", "test", "testing", "migrations", "docs", "examples", "benchmarks", "alembic", "dist"}
)
_SCRIPTS = ("setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py")


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file. `root` is the directory that its dotted `name` counts from, "" for the directory itself."""

    path: str
    root: str
    name: str
    tree: ast.Module
    imports: dict[str, str]
    """What a name of the module stands for elsewhere: `Flask` -> `flask.Flask`."""

    def full(self, node: ast.expr) -> str:
        """The dotted name that an expression such as `fastapi.FastAPI` or `router` means; "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        first = self.imports.get(node.id, f"{self.name}.{node.id}")
        return ".".join([first, *reversed(parts)])

    def where(self, node: ast.stmt | ast.expr) -> str:
        return f"{self.path}:{node.lineno}"


def parse(directory: Directory) -> list[Module]:
    """The modules that could be the service's: no tests, no migrations. What is no Python is a problem of the directory."""
    paths = [path for path in directory.files if path.endswith(".py") and _counts(path)]
    return [module for path in paths[:_MOST_FILES] if (module := _parsed(directory, path))]


def _counts(path: str) -> bool:
    *places, name = path.split("/")
    return not set(places) & _PASSED_OVER and name not in _SCRIPTS and not name.startswith("test_")


def _parsed(directory: Directory, path: str) -> Module | None:
    text = directory.text(path)
    if text is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of somebody else's escape sequences
            tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        directory.problem(path, f"is no Python that can be parsed{line}")
        return None
    except (RecursionError, MemoryError):
        directory.problem(path, "is nested too deeply to be looked at")
        return None
    root, name = _dotted(directory, path)
    return Module(path=path, root=root, name=name, tree=tree, imports=dict(_imports(tree, name, path)))


def _dotted(directory: Directory, path: str) -> tuple[str, str]:
    """(directory that imports start from, dotted name): above the outermost package."""
    *places, file = path.removesuffix(".py").split("/")
    names = [] if file == "__init__" else [file]
    while places and directory.has(f"{'/'.join(places)}/__init__.py"):
        names.insert(0, places.pop())
    return "/".join(places), ".".join(names)


def _imports(tree: ast.Module, module: str, path: str) -> Iterator[tuple[str, str]]:
    package = module.split(".") if path.endswith("__init__.py") else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    alias.asname or alias.name.partition(".")[0],
                    alias.name if alias.asname else alias.name.partition(".")[0],
                )
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, f"{origin}.{alias.name}".lstrip(".")
