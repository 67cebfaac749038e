"""The JSON Schemas that `report --schema` prints: of the config file, and of each document that --json prints."""

from __future__ import annotations

from typing import Any

import msgspec

from commands.doctor import Examined
from commands.init import Written
from commands.self_check import SelfChecked
from profiling.config.schema import config_schema
from profiling.import_costs import ImportCosts
from profiling.values import Value
from reports.documents import Capacity, Comparison, Differed, Gated, GridComparison, Profiled, Sized, Verification

CONFIG = "config"


class Problem(Value, frozen=True, kw_only=True):
    """What went wrong, and what to do."""

    kind: str
    message: str
    hint: str


class Failed(Value, frozen=True, kw_only=True):
    """What any command prints with exit code 2 or more."""

    error: Problem


class SeriesFiles(Value, frozen=True, kw_only=True):
    """`report --csv --json`."""

    csv: tuple[str, ...]


DOCUMENTS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "capacity": (Capacity,),
    "compare": (Comparison, GridComparison),
    "diff": (Differed,),
    "doctor": (Examined,),
    "error": (Failed,),
    "gate": (Gated,),
    "init": (Written,),
    "imports": (ImportCosts,),
    "observe": (Comparison,),
    "profile": (Profiled,),
    "self-check": (SelfChecked,),
    "report": (Comparison, GridComparison, Verification, Gated, Capacity, Sized, ImportCosts, Differed, SeriesFiles),
    "size": (Sized,),
    "verify": (Verification,),
}
"""By command, what its --json can be; `error` is every command's."""
NAMES = (CONFIG, *DOCUMENTS)


def schema(name: str | None = None) -> dict[str, Any]:
    """The schema of one thing of NAMES; of all of them where none is named, under `documents`."""
    if name == CONFIG:
        return config_schema()
    if name is not None:
        return {"$schema": _DRAFT, "title": name, **_any_of(DOCUMENTS[name]), "$defs": _parts(DOCUMENTS[name])}
    every = tuple(dict.fromkeys(kind for kinds in DOCUMENTS.values() for kind in kinds))
    return {
        "$schema": _DRAFT,
        "title": "oomproof",
        "documents": {CONFIG: config_schema(), **{key: _any_of(kinds) for key, kinds in DOCUMENTS.items()}},
        "$defs": _parts(every),
    }


_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _any_of(kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    references = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _parts(kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    """The schemas of the documents and of everything in them, by the names of their classes."""
    _, parts = msgspec.json.schema_components(kinds)
    for part in parts.values():
        if "properties" in part:
            # What has a default is left out of an input at will, but is always there in what is printed.
            part["required"] = list(part["properties"])
    return parts
