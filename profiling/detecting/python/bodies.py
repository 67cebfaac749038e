"""The JSON that a handler wants, where its code says so: the fields of a Pydantic model, or the keys that it reads."""

from __future__ import annotations

import ast
import re
from typing import Any

from profiling.detecting.python.modules import Module

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_TEXT = frozenset(
    {"query", "question", "message", "msg", "prompt", "text", "input", "content", "q", "sentence", "utterance"}
)
_SESSION = frozenset(
    {"session", "session_id", "sessionid", "conversation_id", "conversation", "chat_id", "thread_id", "user_id"}
)
_COUNT = frozenset({"n", "k", "top_k", "topk", "count", "limit", "max_tokens", "size", "page", "seed", "number"})
_HARMLESS = frozenset({"description", "title", "example", "examples", "default", "alias_priority", "min_length"})
"""Arguments of a Pydantic Field under which any usual value is right."""
_QUERY_LENGTH, _SESSION_LENGTH = 200, 24
"""What a field must take for our queries and session ids to fit."""
_JSON = re.compile(r"\(?(?:await )?\(?(?:request\.(?:json\b|get_json\(|data\b)|json\.loads\(request\.body\b)")


def of_handler(module: Module, function: _Function, modules: list[Module]) -> dict[str, Any] | None:
    """A body that the handler should take; None where that cannot be said with confidence."""
    models = [model for argument in _arguments(function) if (model := _model(module, argument.annotation, modules))]
    if len(models) == 1:
        return _of_model(*models[0])
    return _of_keys(module, function) if not models else None


def needs_query(module: Module, function: _Function) -> bool:
    """Whether a FastAPI handler wants something in the query string that has no default."""
    required = len(function.args.args) - len(function.args.defaults)
    simple = {"str", "int", "float", "bool"}
    return any(
        isinstance(argument.annotation, ast.Name) and argument.annotation.id in simple
        for argument in function.args.args[:required]
    )


def _arguments(function: _Function) -> list[ast.arg]:
    return [*function.args.args, *function.args.kwonlyargs]


def _model(module: Module, annotation: ast.expr | None, modules: list[Module]) -> tuple[Module, ast.ClassDef] | None:
    """The Pydantic model that an annotation names, if it stands in the project."""
    if annotation is None:
        return None
    full = module.full(annotation)
    for home in modules:
        for node in home.tree.body:
            if isinstance(node, ast.ClassDef) and full == f"{home.name}.{node.name}":
                bases = [home.full(base) for base in node.bases]
                return (home, node) if bases in (["pydantic.BaseModel"], ["pydantic.main.BaseModel"]) else None
    return None


def _of_model(home: Module, model: ast.ClassDef) -> dict[str, Any] | None:
    fields = [node for node in model.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    required = [
        node for node in fields if _is_required(home, node) and not ast.unparse(node.annotation).startswith("ClassVar")
    ]
    texts = [node for node in required if ast.unparse(node.annotation) == "str"]
    body: dict[str, Any] = {}
    for node in required:
        assert isinstance(node.target, ast.Name)
        value = _example(node.target.id, ast.unparse(node.annotation), only_text=len(texts) == 1)
        longest = _SESSION_LENGTH if value == "{session}" else _QUERY_LENGTH
        if value is None or not _any_value_does(node.value, longest):
            return None
        body[node.target.id] = value
    return body or None


def _is_required(home: Module, node: ast.AnnAssign) -> bool:
    if node.value is None:
        return True
    if isinstance(node.value, ast.Call) and home.full(node.value.func) == "pydantic.Field":
        names = {keyword.arg for keyword in node.value.keywords}
        first = node.value.args[0] if node.value.args else None
        has_default = bool(names & {"default", "default_factory"}) or (first is not None and not _is_ellipsis(first))
        return not has_default
    return _is_ellipsis(node.value)


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _any_value_does(value: ast.expr | None, longest: int) -> bool:
    """Whether the Field sets no bounds that a usual value might break."""
    if not isinstance(value, ast.Call):
        return True
    for keyword in value.keywords:
        bound = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg == "max_length" and isinstance(bound, int) and bound >= longest:
            continue
        if keyword.arg in ("ge", "gt") and isinstance(bound, int) and bound <= 0:
            continue
        if keyword.arg in ("le", "lt") and isinstance(bound, int) and bound >= 2:
            continue
        if keyword.arg not in _HARMLESS or (keyword.arg == "min_length" and (not isinstance(bound, int) or bound > 8)):
            return False
    return True


def _example(name: str, annotation: str, *, only_text: bool = False) -> Any:
    """A value for a field; None where none is known to be right."""
    if annotation == "str":
        return _text_for(name) or ("{query}" if only_text else None)
    plain: dict[str, Any] = {"int": 1, "float": 1.0, "bool": True, "list[str]": ["{query}"], "List[str]": ["{query}"]}
    return plain.get(annotation)


def _text_for(name: str) -> str | None:
    lower = name.lower()
    return "{session}" if lower in _SESSION else "{query}" if lower in _TEXT else None


def _of_keys(module: Module, function: _Function) -> dict[str, Any] | None:
    """From `request.get_json()["query"]`, `data["query"]`, `data.get("query")`, by the keys' names. `data` may also come
    from a function of the module that reads the body."""
    readers = {node.name for node in module.tree.body if isinstance(node, _Function) and _reads_json(node)}
    holders = {
        node.targets[0].id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and (_is_json(node.value) or _calls(node.value, readers))
    }
    keys: dict[str, None] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and _holds(node.value, holders):
            key: ast.expr | None = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key = node.args[0] if node.args and _holds(node.func.value, holders) else None
        else:
            continue
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            keys[key.value] = None
    body = {key: 1 if key.lower() in _COUNT else _text_for(key) for key in keys}
    # Without a text there is nothing to ask, and a name that is not known may want anything.
    return body if None not in body.values() and "{query}" in body.values() else None


def _holds(node: ast.expr, holders: set[str]) -> bool:
    return _is_json(node) or (isinstance(node, ast.Name) and node.id in holders)


def _is_json(node: ast.expr) -> bool:
    """`request.json`, `request.get_json(...)`, also awaited or with `or {}` behind it."""
    return bool(_JSON.match(ast.unparse(node)))


def _reads_json(function: _Function) -> bool:
    return any(isinstance(node, ast.Attribute | ast.Call) and _is_json(node) for node in ast.walk(function))


def _calls(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
