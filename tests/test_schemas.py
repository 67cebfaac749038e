"""`report --schema`: schemas of the config file and of what --json prints, and whether they are true of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from cli import main, oomproof
from commands import schemas
from profiling.config.schema import config_schema
from reports.render import render_json
from tests.helpers import assert_of_schema
from tests.reports.factory import proved


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    main(list(arguments))
    return json.loads(capsys.readouterr().out)


def commands_with_json() -> list[str]:
    context = click.Context(oomproof)
    found = {name: oomproof.get_command(context, name) for name in oomproof.list_commands(context)}
    return [name for name, command in found.items() if command and any(p.name == "as_json" for p in command.params)]


def test_every_document_that_a_command_prints_has_a_schema() -> None:
    assert set(schemas.DOCUMENTS) == {*commands_with_json(), "error"}


def test_all_of_them_are_printed_together(capsys: pytest.CaptureFixture[str]) -> None:
    document = printed(capsys, "report", "--schema")
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["documents"]["config"] == config_schema()
    for name in schemas.DOCUMENTS:
        reference = document["documents"][name]
        for part in reference.get("anyOf", [reference]):
            assert part["$ref"].removeprefix("#/$defs/") in document["$defs"]
    assert {"Summary", "Profile"} <= set(document["$defs"])


@pytest.mark.parametrize("name", schemas.NAMES)
def test_each_of_them_is_printed_alone(capsys: pytest.CaptureFixture[str], name: str) -> None:
    document = printed(capsys, "report", "--schema", name)
    kind = jsonschema.validators.validator_for(document)
    kind.check_schema(document)
    assert document == json.loads(json.dumps(schemas.schema(name)))
    assert not kind(document).is_valid({"something": "else"})


def test_a_comparison_is_as_its_schema_says() -> None:
    document = json.loads(render_json(proved()))
    assert_of_schema(document, "compare")
    assert_of_schema(document, "report")
    for wrong in ({"claim": "perhaps"}, {"runs": [{}]}, {"more": 1}, {"report": None}):
        with pytest.raises(AssertionError):
            assert_of_schema({**document, **wrong}, "compare")
    del document["candidate"]
    with pytest.raises(AssertionError):
        assert_of_schema(document, "compare")


@pytest.mark.parametrize(
    "arguments", [("compare", "--memory", "512M"), ("frobnicate",), ("init", "--nothing"), ("report", "nowhere")]
)
def test_an_error_is_as_its_schema_says(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert_of_schema(printed(capsys, *arguments, "--json"), "error")


def test_what_doctor_prints_is_as_its_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert_of_schema(printed(capsys, "doctor", "--json"), "doctor")


def test_an_unknown_schema_is_exit_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", "--schema", str(tmp_path)]) == 2
    assert "config" in capsys.readouterr().err
