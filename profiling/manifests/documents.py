"""Text to plain data: YAML, TOML and JSON, with every fault of the text as a ManifestError."""

from __future__ import annotations

import re
import tomllib
from typing import Any, NoReturn

import msgspec
import yaml

from profiling.errors import ManifestError
from profiling.manifests.node import Node

_MOST_BYTES = 4 << 20
_MOST_VALUES = 100_000
"""Counted with every alias written out, as whoever walks the data will meet them."""


class _Loader(yaml.SafeLoader):
    """Safe loading with the plain scalars of YAML 1.2, which Go's readers (Compose, Kubernetes) share: `1e9` is a number;
    a date, `yes` and `22:22` are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_PLAIN = {
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _int)


def load_yaml(text: str, file: str) -> list[Node]:
    """The documents of a YAML stream, empty ones left out. Raises ManifestError, also for what is made to exhaust memory
    (aliases within aliases) and for values that hold themselves."""
    _check_size(text, file)
    try:
        loader = _Loader(text.removeprefix("\ufeff"))
        documents = []
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                _check_extent(node, file)
                documents.append(loader.construct_document(node))
    except yaml.YAMLError as error:
        hint = "correct the line that is named"
        if "{{" in text:
            hint = "render the template first (helm template, envsubst) and name what comes out"
        raise ManifestError(f"{file} is no YAML: {_one_line(error)}", hint) from error
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
    ) as error:  # from an explicit tag: !!int x
        raise ManifestError(f"{file} is no YAML: a tag does not fit its value", "remove the !! tags") from error
    except RecursionError:
        _too_deep(file)
    return [Node(document, file) for document in documents if document is not None]


def load_json(text: str, file: str) -> Node:
    """The JSON document. Raises ManifestError."""
    _check_size(text, file)
    try:
        return Node(msgspec.json.decode(text.removeprefix("\ufeff")), file)
    except msgspec.MsgspecError as error:
        raise ManifestError(f"{file} is no JSON: {error}", "correct it") from error
    except UnicodeEncodeError as error:
        raise ManifestError(f"{file} is not UTF-8", "save it as UTF-8") from error
    except RecursionError:
        _too_deep(file)


def load_toml(text: str, file: str) -> Node:
    """The TOML document. Raises ManifestError."""
    _check_size(text, file)
    try:
        return Node(tomllib.loads(text.removeprefix("\ufeff")), file)
    except ValueError as error:  # also a number beyond all bounds
        raise ManifestError(f"{file} is no TOML: {_one_line(error)}", "correct the line that is named") from error
    except RecursionError:
        _too_deep(file)


def _check_size(text: str, file: str) -> None:
    if len(text) > _MOST_BYTES:
        raise ManifestError(f"{file} is larger than a manifest can be (4 MiB)", "name the deploy manifest itself")


def _check_extent(root: yaml.Node, file: str) -> None:
    """Raises ManifestError if the document, with aliases written out, is larger than any manifest."""
    extents: dict[int, int] = {}
    open_nodes: set[int] = set()

    def extent(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            try:
                node.value.encode()
            except UnicodeEncodeError as error:
                raise ManifestError(
                    f"{file} holds text that is no Unicode (half a surrogate pair)", "remove it"
                ) from error
            return 1
        if id(node) in extents:
            return extents[id(node)]
        if id(node) in open_nodes:
            raise ManifestError(
                f"{file}: an alias stands for something that holds itself", "write it out without the alias"
            )
        open_nodes.add(id(node))
        children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        total = 1 + sum(extent(child) for child in children)
        open_nodes.discard(id(node))
        extents[id(node)] = total
        return total

    if extent(root) > _MOST_VALUES:
        raise ManifestError(
            f"{file} has more than {_MOST_VALUES:,} values when its aliases are written out",
            "name the deploy manifest itself",
        )


def _too_deep(file: str) -> NoReturn:
    raise ManifestError(f"{file} is nested too deeply to be a manifest", "name the deploy manifest itself") from None


def _one_line(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.MarkedYAMLError) and mark is not None:
        return f"{' '.join((error.problem or 'not understood').split())} in line {mark.line + 1}"
    return " ".join(str(error).split())
