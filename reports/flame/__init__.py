"""One renderer for whatever is drawn as a flame graph: a part of a page, its script and its data."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources

import msgspec
from markupsafe import Markup

from profiling.flame import FlameGraph
from reports.words import printable

KINDS = ("all", "process", "own", "package", "python", "smaller")


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a page needs to show a flame graph."""

    sides: int
    """2: before and after, coloured by change; 1: one program, coloured by whose code it is."""
    data: Markup
    """JSON, fit to stand in a script element."""
    script: Markup
    script_hash: str
    """What the page's policy allows to run, and nothing else."""
    pruned: int
    largest_pruned_bytes: int


def drawing(graph: FlameGraph, *, sides: int) -> Drawing:
    script = (resources.files("reports") / "templates" / "flame.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Drawing(
        sides=sides,
        data=Markup(_data(graph)),  # noqa: S704  (no character in it that means anything to HTML)
        script=Markup(script),  # noqa: S704  (a file of ours)
        script_hash=f"sha256-{digest}",
        pruned=graph.pruned,
        largest_pruned_bytes=graph.largest_pruned_bytes,
    )


def _data(graph: FlameGraph) -> str:
    """Columns, with each text once; `<` and its like as JSON's own escapes."""
    strings: dict[str, int] = {}

    def number(text: str) -> int:
        return strings.setdefault(printable(text), len(strings))

    columns = {
        "name": [number(node.name) for node in graph.nodes],
        "file": [number(node.file) for node in graph.nodes],
        "line": [node.line for node in graph.nodes],
        "parent": [node.parent for node in graph.nodes],
        "before": [node.before_bytes for node in graph.nodes],
        "after": [node.after_bytes for node in graph.nodes],
        "kind": [KINDS.index(node.kind) for node in graph.nodes],
    }
    text = msgspec.json.encode({"strings": list(strings), **columns}).decode("utf-8", "replace")
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
