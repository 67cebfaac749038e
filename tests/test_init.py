"""`init` as a user meets it: what it writes is what `verify` runs, with nothing changed by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from profiling import config
from tests.helpers import ROOT, assert_of_schema, our_cgroups, run_cli
from tests.profiling.detecting.directories import FLASK, SERVICES, fill
from tests.test_cli import assert_two_lines

HERE = str(Path(sys.executable).parent)


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The tool in `directory`, with the programs of this environment on the PATH."""
    return run_cli(*arguments, cwd=directory, PATH=f"{HERE}{os.pathsep}{os.environ['PATH']}")


def verified(directory: Path, *options: str) -> dict[str, Any]:
    """What `verify` says of what `init` wrote. At a rate: one that answers at once would only show what the load can do."""
    done = run(directory, "init")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {directory / 'oomproof.toml'}\n")
    assert done.stdout.endswith("next:       oomproof verify\n")
    done = run(directory, "verify", "--json", "--users", "2", "--rate", "40", "--duration", "2s", *options)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document.get("verdict") == "pass", (done.stdout, done.stderr)
    assert_of_schema(document, "verify")
    return document


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ("dockerfile", "node")])
def test_what_init_writes_is_verified_as_it_is(tmp_path: Path, name: str) -> None:
    before = our_cgroups()
    document = verified(fill(tmp_path, SERVICES[name]))
    assert document["run"]["requests"] > 0
    assert document["run"]["failures"] == 0
    assert document["run"]["memory_limit_bytes"] == 512 * 2**20
    assert our_cgroups() == before


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_node_service_is_verified_as_it_is(tmp_path: Path) -> None:
    assert verified(fill(tmp_path, SERVICES["node"]))["run"]["failures"] == 0


def test_without_a_way_to_write_it_the_file_is_printed(tmp_path: Path) -> None:
    fill(tmp_path, FLASK)
    printed = [run(tmp_path, "init", *option) for option in (("--stdout",), ("-",))]
    assert not (tmp_path / "oomproof.toml").exists()
    assert printed[0].stdout == printed[1].stdout
    assert config.of_text(printed[0].stdout, tmp_path / "oomproof.toml").target.service.command[0] == "gunicorn"
    assert "to check:   target.memory" in printed[0].stderr


@pytest.mark.parametrize("option", [(), ("-",)])
def test_as_json_everything_stands_in_one_document(tmp_path: Path, option: tuple[str, ...]) -> None:
    fill(tmp_path, FLASK)
    done = run(tmp_path, "init", "--json", *option)
    document = json.loads(done.stdout)
    assert_of_schema(document, "init")
    assert document["path"] == (None if option else str(tmp_path / "oomproof.toml"))
    found = {entry["key"]: entry for entry in document["found"]}
    assert found["target.command"]["source"] == "from Procfile: web"
    assert not found["target.memory"]["sure"]
    assert document["next"] == "oomproof verify"
    assert tomllib.loads(document["text"])["request"]["path"] == "/chat"
    if not option:
        assert (tmp_path / "oomproof.toml").read_text() == document["text"]


@pytest.mark.parametrize("name", ["oomproof.toml", "pyproject.toml"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[tool.oomproof.target]\ncommand = ['x']\n")
    done = run(tmp_path, "init")
    assert_two_lines(done, 4, str(tmp_path / name), "nothing is overwritten", "init -")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "[tool.oomproof.target]\ncommand = ['x']\n"
    assert run(tmp_path, "init", "-").returncode == 0


def test_a_link_to_nowhere_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "oomproof.toml").symlink_to(tmp_path / "elsewhere")
    assert_two_lines(run(tmp_path, "init"), 4, "there already")
    assert not (tmp_path / "elsewhere").exists()


def test_a_broken_pyproject_is_told_and_no_hindrance(tmp_path: Path) -> None:
    fill(tmp_path, {**FLASK, "pyproject.toml": "[project\n"})
    done = run(tmp_path, "init")
    assert done.returncode == 0, done.stderr
    assert "pyproject.toml: is no TOML" in done.stdout
    assert (tmp_path / "oomproof.toml").is_file()


def test_what_is_not_found_is_said_with_the_next_command(tmp_path: Path) -> None:
    done = run(tmp_path, "init")
    assert done.returncode == 0
    assert "to fill in: target.command" in done.stdout
    assert done.stdout.endswith("next:       oomproof verify\n")
    assert_two_lines(run(tmp_path, "verify"), 4, "FILL-IN")


def isolated(directory: Path, prepare: str) -> subprocess.CompletedProcess[str]:
    """`init` in `directory`, after `prepare` in a mount namespace of its own."""
    command = f"{prepare} && cd {directory} && exec {sys.executable} {ROOT / 'cli.py'} init"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def test_where_nothing_may_be_written_it_is_said(tmp_path: Path) -> None:
    done = isolated(tmp_path, f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}")
    assert_two_lines(done, 4, "could not be written (read-only file system)", "init -")


def test_on_a_full_disk_nothing_is_left(tmp_path: Path) -> None:
    full = f"mount -t tmpfs -o size=64k none {tmp_path} && (cat /dev/zero > {tmp_path}/fill 2>/dev/null; true)"
    done = isolated(tmp_path, f"{full} && trap 'ls {tmp_path}' EXIT && true")
    assert_two_lines(done, 4, "could not be written (no space left on device)")
    init = f"{sys.executable} {ROOT / 'cli.py'} init"
    left = isolated(
        tmp_path,
        f"{full} && cd {tmp_path} && {init} 2>/dev/null; ls {tmp_path} && false",
    )
    assert left.stdout.split() == ["fill"]


def test_where_the_directory_is_gone_it_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} {ROOT / 'cli.py'} init"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "working directory" in done.stderr
