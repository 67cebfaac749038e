"""The docs tell what there is: every command and option stands in them, and every example is run somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib

import click
import msgspec
import pytest
import yaml

from cli import oomproof
from profiling.config.tables import BudgetTable, ConfigFile, LoadTable, RequestTable, TargetTable, decode
from profiling.errors import ExitCode
from tests.helpers import ROOT
from tests.test_reference import EXAMPLES

CONTEXT = click.Context(oomproof)
COMMANDS = oomproof.list_commands(CONTEXT)


def command(name: str) -> click.Command:
    found = oomproof.get_command(CONTEXT, name)
    assert found is not None
    return found


def read(path: str) -> str:
    return (ROOT / path).read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    assert command(name).help
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_docs_and_the_readme(name: str) -> None:
    assert f"`{name}" in read("docs/commands.md")
    assert re.search(rf"\b{name}\b", read("README.md"))


def test_every_example_of_the_readme_is_run_by_a_test() -> None:
    shown = re.findall(r"^\$ (python cli\.py .*)$", read("README.md"), re.MULTILINE)
    assert shown
    assert set(shown) <= set(EXAMPLES), set(shown) - set(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_command_line_that_is_understood(example: str) -> None:
    words = shlex.split(example)[2:]
    words = words[: words.index("--")] if "--" in words else words
    found = command(words[0])
    # Paths that only exist after a run are the one thing that parsing would object to.
    arguments = [str(ROOT) if "*" in word else word for word in words[1:]]
    assert found.make_context(words[0], arguments, obj=("x",))


def test_what_ci_systems_are_given_calls_the_command_as_it_is() -> None:
    steps = yaml.safe_load(read("action.yml"))["runs"]["steps"]
    script = yaml.safe_load(read("docs/ci/gitlab-ci.yml"))["memory"]["script"]
    lines = [steps[-1]["run"], script[-1], read("docs/gate.md")]
    known = {option for parameter in command("gate").params for option in parameter.opts}
    used = {option for line in lines for option in re.findall(r"(?:gate|arguments:?)? (--[a-z]+)(?= )", line)}
    assert {"--base", "--junit", "--markdown"} <= used
    assert used - {"--preserve"} <= known, used - known


@pytest.mark.parametrize("path", ["README.md", "docs/commands.md"])
def test_every_exit_code_is_told(path: str) -> None:
    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \|", read(path), re.MULTILINE), code


def test_the_config_example_is_valid_and_names_every_key() -> None:
    text = re.search(r"```toml\n(.*?)```", read("docs/config.md"), re.DOTALL)
    assert text
    uncommented = re.sub(r"^# (?=\w+ = )", "", text[1], flags=re.MULTILINE)
    document = tomllib.loads(uncommented)
    del document["request"]["queries"]
    assert msgspec.convert(document, ConfigFile, dec_hook=decode)
    tables = {
        "target": TargetTable,
        "request": RequestTable,
        "load": LoadTable,
        "budget": BudgetTable,
    }
    systems = re.search(r"```toml\n(.*?)```", read("docs/systems.md"), re.DOTALL)
    assert systems
    assert msgspec.convert(tomllib.loads(systems[1]), ConfigFile, dec_hook=decode).services
    for name, table in tables.items():
        for key in table.__struct_fields__:
            assert key in uncommented, f"{name}.{key}"


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in (
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").rglob("*.md")),
    ):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"
