"""A Node.js project: how package.json starts it, and the routes that its source names. The source is searched, not parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from profiling.detecting.directory import Directory
from profiling.detecting.findings import Launch, Route
from profiling.detecting.plain import shows_secrets
from profiling.detecting.ports import told_the_port, words_of

_ENDINGS = (".js", ".mjs", ".cjs", ".ts", ".mts")
_COMMENTS = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)
_ROUTE = re.compile(r"\b(?P<owner>\w+)\.(?P<method>get|post)\(\s*[\"'`](?P<path>/[^\"'`\s]{0,200})[\"'`]\s*,")
_COMPARED = re.compile(r"\b(?:url|pathname|path)\s*={2,3}\s*[\"'`](?P<path>/[^\"'`\s]{0,200})[\"'`]")
_NO_APP = frozenset(
    {"axios", "http", "https", "client", "request", "fetch", "agent", "supertest", "cache", "map", "redis"}
)
_MOUNTS = re.compile(r"\.use\(\s*[\"'`]/|\.register\([^)]*prefix")
_READS_PORT = re.compile(r"process\.env(?:\.PORT\b|\[[\"'`]PORT)|\benv\.PORT\b|\bPORT\s*[,}]")
_LISTENS = re.compile(r"\.listen\(|\bserve\(")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_STARTED = tuple(f"{name}.{ending}" for name in ("server", "index", "app", "main") for ending in ("js", "mjs", "cjs"))
_MOST_FILES = 100


@dataclass(frozen=True, slots=True)
class Package:
    """What package.json says, and the code beside it."""

    name: str | None
    launch: Launch | None
    routes: tuple[Route, ...]


def read(directory: Directory) -> Package | None:
    """None where there is neither a package.json that can be read nor a file that Node starts by its name."""
    document = _document(directory)
    sources = list(_sources(directory))
    if document is None and not any(path in _STARTED for path, text in sources if _LISTENS.search(text)):
        return None
    document = document or {}
    name = document.get("name")
    return Package(
        name=name.rpartition("/")[2] if isinstance(name, str) else None,
        launch=_launch(directory, document, sources),
        routes=tuple(_routes(sources)),
    )


def _document(directory: Directory) -> dict[str, Any] | None:
    text = directory.text("package.json")
    if text is None:
        return None
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        directory.problem("package.json", f"is no JSON: {error}")
        return None
    if not isinstance(document, dict):
        directory.problem("package.json", "is no table of keys and values")
        return None
    return document


def _launch(directory: Directory, document: dict[str, Any], sources: list[tuple[str, str]]) -> Launch | None:
    """`scripts.start` itself where it is one program of Node, else by the package manager; else `main`."""
    start = _text(document, "scripts", "start")
    env: dict[str, str] = {}
    if start is not None:
        words, env, source, notes = _script(directory, start)
    else:
        main = _text(document, "main")
        file = next((name for name in (main, *_STARTED) if name and directory.has(name)), None)
        if file is None:
            return None
        words = ("node", file)
        source, notes = f"from package.json: main ({file})" if file == main else f"from {file}", ()
    words, how = told_the_port(words)
    engine = _text(document, "engines", "node")
    if engine:
        notes = (*notes, f"package.json asks for Node {engine} (engines)")
    if not how and "{port}" not in " ".join(words) and _ignores_port(sources):
        notes = (*notes, "nothing in the code reads process.env.PORT: the service must listen there")
    return Launch(source=f"{source}, {how}" if how else source, command=words, env=env, notes=notes)


def _script(directory: Directory, start: str) -> tuple[tuple[str, ...], dict[str, str], str, tuple[str, ...]]:
    """(words, environment, source, notes) of `scripts.start`."""
    lock = {"yarn.lock": "yarn", "pnpm-lock.yaml": "pnpm"}
    manager = next((name for file, name in lock.items() if directory.has(file)), "npm")
    words = list(words_of(start) or ())
    env: dict[str, str] = {}
    if words[:1] == ["cross-env"]:
        del words[0]
    while words and (match := _ASSIGNMENT.fullmatch(words[0])):
        env[match[1]] = match[2]
        del words[0]
    if words[:1] != ["node"] or shows_secrets(words) or shows_secrets(env):
        return (manager, "start"), {}, "from package.json: scripts.start", ()
    note = f"started without {manager}, which stays in memory beside it where a platform runs `{manager} start`"
    return tuple(words), env, "from package.json: scripts.start", (note,)


def _ignores_port(sources: list[tuple[str, str]]) -> bool:
    return any(_LISTENS.search(text) for _, text in sources) and not any(
        _READS_PORT.search(text) for _, text in sources
    )


def _sources(directory: Directory) -> Iterator[tuple[str, str]]:
    """(path, text without its comments) of the source files, tests and built ones left out."""
    paths = [path for path in directory.files if path.endswith(_ENDINGS) and not _is_aside(path)]
    for path in paths[:_MOST_FILES]:
        text = directory.text(path)
        if text is not None:
            # As many lines as before, so that a line's number stays its own.
            yield path, _COMMENTS.sub(lambda match: "\n" * match[0].count("\n"), text)


def _is_aside(path: str) -> bool:
    parts = path.lower().split("/")
    return bool({"test", "tests", "__tests__", "dist", "build", "public", "static", "coverage"} & set(parts)) or bool(
        re.search(r"\.(?:test|spec|min|config|d)\.\w+$", parts[-1])
    )


def _routes(sources: list[tuple[str, str]]) -> Iterator[Route]:
    """`app.get("/path", ...)`, and comparisons with a request's path. Where routers are mounted under prefixes only what is
    declared on an application itself counts."""
    mounted = any(_MOUNTS.search(text) for _, text in sources)
    for path, text in sources:
        for match in _ROUTE.finditer(text):
            owner = match["owner"]
            if owner.lower() in _NO_APP or (mounted and owner not in ("app", "server", "fastify")):
                continue
            yield _route(match["method"].upper(), match["path"], path, text, match.start())
        for match in _COMPARED.finditer(text):
            yield _route("GET", match["path"], path, text, match.start())


def _route(method: str, path: str, file: str, text: str, at: int) -> Route:
    plain = path.isprintable() and not set(path) & set(":*{}$()?")
    return Route(method=method, path=path, where=f"{file}:{text.count(chr(10), 0, at) + 1}", plain=plain)


def _text(document: dict[str, Any], *keys: str) -> str | None:
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value.strip() else None
