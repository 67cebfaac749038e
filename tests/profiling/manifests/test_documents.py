"""Whatever the file holds, the answer is services or a ManifestError of two lines."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from profiling.errors import ManifestError
from profiling.manifests import detect
from profiling.manifests.catalogue import load
from profiling.manifests.documents import load_yaml

NAMES = ["render.yaml", "compose.yaml", "deployment.yaml", "x.yml", "app.json", "taskdef.json", "fly.toml", "Procfile"]

# fmt: off
_keys = st.sampled_from([
    "services", "name", "type", "plan", "runtime", "env", "envVars", "key", "value", "sync", "fromGroup", "image",
    "build", "context", "dockerfile", "command", "mem_limit", "deploy", "resources", "limits", "memory", "cpus",
    "cpu", "environment", "ports", "healthcheck", "test", "extends", "kind", "apiVersion", "metadata", "spec",
    "template", "containers", "valueFrom", "formation", "web", "size", "containerDefinitions", "vm", "app",
    "processes", "http_service", "checks", "path",
])
# fmt: on
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["512m", "512Mi", "starter", "Deployment", "Service", "serving.knative.dev/v1", "${A}", "web", "/up"]
    ),
)
documents: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(_keys, st.text(max_size=4)), inner, max_size=6)
    ),
    max_leaves=30,
)


def tried(text: str, name: str) -> None:
    try:
        services = detect.read_text(text, name, load())
    except ManifestError as error:
        assert "\n" not in error.message + error.hint
        assert len(error.message) < 500
    else:
        for service in services:
            assert service.memory_bytes is None or service.memory_bytes >= 1 << 20
            assert all(isinstance(value, str) for value in service.env.values())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(documents, st.sampled_from([name for name in NAMES if "y" in name.rpartition(".")[2]]))
def test_any_yaml_gives_services_or_a_manifest_error(document: Any, name: str) -> None:
    tried(yaml.safe_dump(document, allow_unicode=True), name)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(documents, st.sampled_from(NAMES))
def test_any_json_gives_services_or_a_manifest_error(document: Any, name: str) -> None:
    tried(json.dumps(document), name)


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        _keys, st.one_of(st.integers(), st.text(max_size=9), st.lists(st.integers(), max_size=3)), max_size=6
    ),
    st.dictionaries(_keys, st.one_of(st.booleans(), st.integers(), st.text(max_size=9)), max_size=6),
    st.sampled_from(["vm", "[vm]", "env", "processes", "http_service", "[services]", "build"]),
)
def test_any_toml_gives_services_or_a_manifest_error(top: dict[str, Any], table: dict[str, Any], name: str) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    tried(
        "\n".join([*lines, f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]), "fly.toml"
    )


@settings(deadline=None, max_examples=300)
@given(st.text(), st.sampled_from(NAMES))
@example("", "render.yaml")
@example("[]", "compose.yaml")
@example("null", "app.json")
@example("services: ", "compose.yaml")
@example("services: !!int x", "compose.yaml")
@example("services: !!bool x", "compose.yaml")
@example("services: !!timestamp x", "compose.yaml")
@example("services: !Ref x", "compose.yaml")
@example("services: {[a]: 1}", "compose.yaml")
@example('services: {a: {image: "\\ud800"}}', "compose.yaml")
@example('services: {a: {image: "\\0"}}', "compose.yaml")
@example('{"env": {"A": "\\ud800"}}', "app.json")
@example("services: {1: {}, true: {}}", "compose.yaml")
@example("services: {a: {mem_limit: 2024-99-99}}", "compose.yaml")
@example("services: {a: {mem_limit: " + "9" * 5000 + "}}", "compose.yaml")
@example("a = " + "9" * 5000, "fly.toml")
@example("services: &a {b: *a}", "compose.yaml")
@example("services: &a {<<: *a}", "compose.yaml")
@example("[" * 20_000, "render.yaml")
@example("[" * 20_000, "app.json")
@example("a = " + "[" * 20_000, "fly.toml")
@example("a." * 20_000 + "a = 1", "fly.toml")
def test_any_text_gives_services_or_a_manifest_error(text: str, name: str) -> None:
    tried(text, name)


@pytest.mark.parametrize(
    "level", ["[{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]", "{{<<: [{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]}}"]
)
def test_aliases_within_aliases_are_refused_before_they_are_written_out(level: str) -> None:
    lines = ["a0: &a0 {x: y}"] + [f"a{n}: &a{n} " + level.format(f"*a{n - 1}") for n in range(1, 12)]
    started = time.monotonic()
    with pytest.raises(ManifestError, match="values when its aliases are written out"):
        load_yaml("\n".join([*lines, "services: {}"]), "compose.yaml")
    assert time.monotonic() - started < 60, "8^11 values were walked through"


def test_plain_scalars_are_those_of_yaml_1_2() -> None:
    text = "[yes, 22:22, 2024-01-01, 010, 1e9, 0x10, 1_000, true, ~, 1.5, .5, '1']"
    assert load_yaml(text, "x")[0].value == [
        "yes",
        "22:22",
        "2024-01-01",
        10,
        1e9,
        16,
        "1_000",
        True,
        None,
        1.5,
        0.5,
        "1",
    ]


def test_the_value_of_a_variable_is_not_quoted_in_an_error() -> None:
    with pytest.raises(ManifestError) as caught:
        detect.read_text("services: {a: {environment: {TOKEN: [hunter2]}}}", "compose.yaml", load())
    assert "hunter2" not in caught.value.message + caught.value.hint
