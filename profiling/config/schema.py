"""The JSON Schema of the config file, made from its tables.

It is of draft 4, which is what Taplo (also VS Code's "Even Better TOML") reads, and writes every table out where it stands:
Taplo shows no description beside a `$ref`. Source: https://taplo.tamasfe.dev/configuration/developing-schemas.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from profiling.config.descriptions import BOUNDS, DEFAULTS, DESCRIPTIONS, SHAPES
from profiling.config.tables import ByteSize, ConfigFile, Fraction, GrowthRate, PlanTable, Seconds

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-04/schema#"
_REFERENCE = "#/$defs/"
_NUMBER = r"\s*\d+(\.\d+)?\s*"
_SIZE = rf"{_NUMBER}([bB]|[kKmMgGtT]([bB]|[iI][bB]?))?\s*"
_TEXTS: dict[type, Schema] = {
    ByteSize: {"pattern": f"^{_SIZE}$", "examples": ["512MiB", "1.5GiB", "300MB"]},
    Seconds: {"pattern": rf"^{_NUMBER}(ms|s|m|min|h)?\s*$", "examples": ["20s", "500ms", "2m"]},
    Fraction: {"pattern": rf"^{_NUMBER}%\s*$", "examples": ["10%", "0.5%"]},
    GrowthRate: {"pattern": rf"^{_SIZE}/\s*request\s*$", "examples": ["1KiB/request"]},
}
"""What `units.py` parses. A bare M or K is refused there and here."""
_ALSO: dict[type[msgspec.Struct], dict[str, Schema]] = {PlanTable: {"memory": _TEXTS[ByteSize]}}


def config_schema() -> Schema:
    """The schema of `oomproof.toml`."""
    (root,), tables = msgspec.json.schema_components((ConfigFile,), schema_hook=_with_unit)
    by_name = {table.__name__: table for table in DESCRIPTIONS}
    for name, schema in tables.items():
        _explain(by_name.get(name), schema)
    whole = _written_out(root, tables)
    return {
        "$schema": DRAFT,
        "title": "oomproof.toml",
        "description": "The config file of oomproof: which service is measured, under which limits and which load.",
        **{key: value for key, value in whole.items() if key not in ("title", "description")},
    }


def _with_unit(kind: type) -> Schema:
    """The schema of a value that is text with a unit. Raises NotImplementedError for any other class."""
    if kind not in _TEXTS:
        raise NotImplementedError
    return {"type": "string", **_TEXTS[kind]}


def _explain(table: type[msgspec.Struct] | None, schema: Schema) -> None:
    """Add to a table's schema what `descriptions.py` says of its keys."""
    # A class's docstring and name are for its reader, not for whoever writes a config file.
    schema.pop("description", None)
    schema.pop("title", None)
    if not schema.get("required"):
        schema.pop("required", None)  # draft 4 wants one at least
    if table is None:
        return
    schema.update(SHAPES.get(table, {}))
    for key, said in schema["properties"].items():
        bounds = {**BOUNDS.get(table, {}).get(key, {}), **_ALSO.get(table, {}).get(key, {})}
        default = DEFAULTS.get(table, {}).get(key)
        said.update(bounds)
        if default is not None:
            said["default"] = default
        if key in DESCRIPTIONS[table]:
            said["description"] = DESCRIPTIONS[table][key]


def _written_out(schema: Any, tables: dict[str, Schema]) -> Any:
    """The schema with every table in place of the reference to it, and without null, which TOML has not."""
    if isinstance(schema, (list, tuple)):  # a default may be a tuple, which JSON has not
        return [_written_out(entry, tables) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    schema = dict(schema)
    if "anyOf" in schema:
        options = [option for option in schema.pop("anyOf") if option != {"type": "null"}]
        schema = {**options[0], **schema} if len(options) == 1 else {"anyOf": options, **schema}
    if "$ref" in schema:
        name = schema.pop("$ref").removeprefix(_REFERENCE)
        schema = {**tables[name], **schema}
    if schema.get("default", "") in (None, [], {}) or isinstance(schema.get("default"), dict):
        del schema["default"]
    return {key: _written_out(value, tables) for key, value in schema.items()}
