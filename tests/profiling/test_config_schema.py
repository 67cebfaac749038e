"""The published schema of the config file: what the reader accepts it accepts, and what is wrong in structure it refuses."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from profiling import config
from profiling.config.descriptions import BOUNDS, DEFAULTS, DESCRIPTIONS, SHAPES
from profiling.config.schema import config_schema
from profiling.config.tables import ConfigFile
from profiling.detecting.look import look
from profiling.detecting.plain import toml, toml_key
from profiling.detecting.text import config_text
from profiling.errors import ConfigError
from tests.helpers import ROOT
from tests.profiling.detecting.directories import SERVICES, fill

PUBLISHED = ROOT / "docs" / "schema" / "oomproof.schema.json"
VALIDATOR = jsonschema.Draft4Validator(config_schema())
EXAMPLES = [
    (page.name, text)
    for page in sorted((ROOT / "docs").glob("*.md"))
    for text in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]
TARGET = {"target": {"command": ["serve"]}}


def tables(kind: object) -> set[type[msgspec.Struct]]:
    """Every table that can stand in a file."""
    found: set[type[msgspec.Struct]] = set()
    pending = [msgspec.inspect.type_info(kind)]
    while pending:
        info = pending.pop()
        if isinstance(info, msgspec.inspect.StructType) and info.cls not in found:
            found.add(info.cls)
            pending += [field.type for field in info.fields]
        for name in ("item_type", "value_type"):
            pending += [getattr(info, name)] if hasattr(info, name) else []
        pending += getattr(info, "types", ())
    return found


def with_key(path: str, value: Any) -> dict[str, Any]:
    """A right document with one more key."""
    document: dict[str, Any] = json.loads(json.dumps(TARGET))
    *tables, key = path.split(".")
    table = document
    for name in tables:
        table = table.setdefault(name, {})
    table[key] = value
    return document


def written(document: dict[str, Any]) -> str:
    return "".join(f"{toml_key(key)} = {toml(value)}\n" for key, value in document.items())


def reads(document: dict[str, Any], directory: Path) -> bool:
    try:
        config.of_text(written(document), directory / config.FILE_NAME)
    except ConfigError:
        return False
    return True


def test_the_published_file_is_the_one_that_the_code_makes() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == config_schema(), "make schema"


def test_it_is_a_schema() -> None:
    jsonschema.Draft4Validator.check_schema(config_schema())


def test_every_key_has_a_description_and_nothing_else_has_one() -> None:
    assert set(DESCRIPTIONS) == tables(ConfigFile)
    for table, described in DESCRIPTIONS.items():
        assert set(described) == set(table.__struct_fields__), table.__name__
    for more in (BOUNDS, DEFAULTS):
        for table, keys in more.items():
            assert set(keys) <= set(table.__struct_fields__)
    assert set(SHAPES) <= set(DESCRIPTIONS)


def test_every_key_of_every_table_stands_in_the_schema_with_its_description() -> None:
    target = config_schema()["properties"]["target"]["properties"]
    assert set(target) == set(DESCRIPTIONS[next(t for t in DESCRIPTIONS if t.__name__ == "TargetTable")])

    def described(schema: Any) -> None:
        if isinstance(schema, dict):
            for entry in schema.get("properties", {}).values():
                assert entry["description"]
                assert "$ref" not in entry
            for value in schema.values():
                described(value)

    described(config_schema())


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[f"{page}-{n}" for n, (page, _) in enumerate(EXAMPLES)])
def test_the_examples_of_the_docs_are_right(page: str, text: str) -> None:
    uncommented = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    # Elsewhere what is commented out is a hint, not an example.
    for version in (text, uncommented) if page == "config.md" else (text,):
        document = tomllib.loads(version)
        if "target" in document or "services" in document:
            assert not [error.message for error in VALIDATOR.iter_errors(document)]


def test_there_are_examples() -> None:
    assert {"config.md", "manifests.md"} <= {page for page, _ in EXAMPLES}


@pytest.mark.parametrize("name", SERVICES)
def test_what_init_writes_is_right(tmp_path: Path, name: str) -> None:
    VALIDATOR.validate(tomllib.loads(config_text(look(fill(tmp_path, SERVICES[name])))))


WRONG = [
    ({}, "oneOf"),
    ({"services": {"api": {"cmnd": ["x"]}}}, "additionalProperties"),
    (with_key("request.srvc", "api"), "additionalProperties"),
    ({**TARGET, "trget": {}}, "additionalProperties"),
    (with_key("target.memry", "1GiB"), "additionalProperties"),
    (with_key("load.user", 8), "additionalProperties"),
    (with_key("request.expect.stats", 200), "additionalProperties"),
    (with_key("variants.a.envv", {}), "additionalProperties"),
    (with_key("plans.render.tiny", {"memory": "1GiB", "cpu": 1}), "additionalProperties"),
    (with_key("plans.render.tiny", {}), "required"),
    (with_key("plans.render.tiny", {"memory": "512M"}), "pattern"),
    (with_key("target.command", "serve"), "type"),
    (with_key("target.command", ["serve", 1]), "type"),
    (with_key("target.memory", 512), "type"),
    (with_key("target.memory", "512M"), "pattern"),
    (with_key("target.memory", "512 MiB or so"), "pattern"),
    (with_key("target.memory", "-1GiB"), "pattern"),
    (with_key("target.startup_timeout", "soon"), "pattern"),
    (with_key("target.startup_timeout", "1d"), "pattern"),
    (with_key("target.cpus", "1"), "type"),
    (with_key("target.cpus", 0), "minimum"),
    (with_key("target.cpus", float("inf")), "maximum"),
    (with_key("target.ready", "health"), "pattern"),
    (with_key("target.name", "a/b"), "pattern"),
    (with_key("target.image", "a b"), "pattern"),
    (with_key("target.service", "api"), "dependencies"),
    (with_key("target.oom_group", "yes"), "type"),
    (with_key("target.env", {"A": 1}), "type"),
    (with_key("request.method", "post"), "pattern"),
    (with_key("request.path", "chat"), "pattern"),
    (with_key("request.expect.status", 99), "minimum"),
    (with_key("request.expect.json_schema", "x"), "type"),
    (with_key("load.users", 8.5), "type"),
    (with_key("load.users", 8.0), "type"),
    (with_key("load.users", True), "type"),
    (with_key("load.duration", "20 parsecs"), "pattern"),
    (with_key("load.rate", "7"), "type"),
    (with_key("budget.max_failures", 0.1), "type"),
    (with_key("budget.max_failures", "5"), "pattern"),
    (with_key("budget.max_growth", "1KiB"), "pattern"),
    (with_key("budget.min_headroom", "10 percent"), "pattern"),
]


@pytest.mark.parametrize(("document", "why"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_what_is_wrong_the_schema_refuses_as_the_reader_does(
    tmp_path: Path, document: dict[str, Any], why: str
) -> None:
    assert [error.validator for error in VALIDATOR.iter_errors(document)] == [why]
    assert not reads(document, tmp_path)


NUMBER = st.sampled_from(["0", "1", "0.5", "512", "1.25", "007"])
SIZE_UNITS = st.sampled_from(["MiB", "mib", "GB", "Ki", "B", "", "tb", "M", "k"])
SIZES = st.builds(
    "{}{}{}".format,
    NUMBER,
    st.sampled_from(["", " "]),
    SIZE_UNITS,
)
TIMES = st.builds("{}{}".format, NUMBER, st.sampled_from(["s", "ms", "m", "min", "h", "", " s", "S", "d"]))
SHARES = st.builds("{}{}".format, NUMBER, st.sampled_from(["%", " %", "", "pct"]))
ANY = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["env", "a", "memory"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = {
    "target.name": st.text(st.characters(codec="utf-8"), max_size=90),
    "target.ready": st.text(st.characters(codec="utf-8"), max_size=6).map("/{}".format),
    "target.image": st.text(st.sampled_from("aB1._:/@- \n"), max_size=9),
    "target.memory": SIZES,
    "target.startup_timeout": TIMES,
    "target.cpus": st.sampled_from([0, 0.01, 1, 1024, 1024.5, -1]),
    "request.path": st.text(st.characters(codec="utf-8"), max_size=6).map("/{}".format),
    "request.method": st.sampled_from(["GET", "POST", "get", "GET\n", "Ä"]),
    "request.expect.status": st.sampled_from([99, 100, 200, 599, 600]),
    "request.json": ANY,
    "load.users": st.sampled_from([1, 8, 65_535]),
    "load.duration": TIMES,
    "budget.max_peak": SIZES,
    "budget.min_headroom": SHARES,
    "budget.max_growth": SIZES.map("{}/request".format),
    "variants": ANY,
    "plans.render.tiny.memory": SIZES,
    "plans.render.tiny.usd_per_month": st.sampled_from([0, 7.5, -1]),
}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_the_reader_accepts_the_schema_accepts(tmp_path: Path, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(KEYS)))
    document = with_key(key, data.draw(KEYS[key] | ANY))
    assume(reads(document, tmp_path))
    # `users = 0` and its like are refused when the load is planned, after the file was read.
    assume(not (key == "load.users" and document["load"]["users"] < 1))
    assert not [error.message for error in VALIDATOR.iter_errors(document)]
