"""Every command of the examples' and the frameworks' pages, run for real: what holds is verified, each fault is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits
from tests.examples.pages import EXAMPLES, FRAMEWORKS, NAMES, check, fences, run, shown, statuses, words_of
from tests.helpers import MIB, ROOT, our_cgroups

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
EACH = [pytest.param(name, marks=needs_node if name == "node" else ()) for name in NAMES]
PAGES = [*(EXAMPLES / name / "README.md" for name in NAMES), *(FRAMEWORKS / f"{name}.md" for name in NAMES)]

VERIFY = "python ../../cli.py verify"
BARE = (
    ("fastapi", "python ../../cli.py verify --memory 256MiB -- uvicorn app:app --host {host} --port {port}"),
    ("flask", 'python ../../cli.py verify --memory 256MiB -- gunicorn "app:create_app()" --bind {host}:{port}'),
    ("node", "python ../../cli.py verify --memory 256MiB -- node server.mjs"),
)
COMPARED = {"fastapi": ("once", 10), "django": ("preloaded", 5), "node": ("last-turns", 20)}
"""Candidate, and how long the load may take to kill the other: it ends when that is dead."""
RUN_HERE = {
    *((name, VERIFY) for name in NAMES),
    *((name, "python ../../cli.py compare") for name in COMPARED),
    *BARE,
    ("fastapi", f"{VERIFY} per-request"),
    ("django", f"{VERIFY} each-its-own"),
    ("flask", f"{VERIFY} unbounded"),
    ("node", f"{VERIFY} all-turns"),
    ("node", f"{VERIFY} all-turns-capped"),
}
"""(example, command) of every test below."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_every_command_of_a_page_is_run_here(page: Path) -> None:
    found = {(directory.removeprefix("examples/"), command) for directory, command in shown(page)}
    assert found
    assert found <= RUN_HERE, found - RUN_HERE
    name = page.parent.name if page.stem == "README" else page.stem
    assert (name, VERIFY) in found, "the one command"


@pytest.mark.parametrize("name", EACH)
@pytest.mark.e2e
def test_each_example_is_verified(name: str, tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = run(EXAMPLES / name, VERIFY, tmp_path, "--users", "4", "--duration", "12s")
    found = statuses(document)
    assert (code, document["verdict"]) == (0, "pass"), document["checks"]
    assert "fail" not in found.values()
    assert (found["bad-input"], found["oom"], found["end"], found["growth"]) == ("pass", "pass", "pass", "pass")
    measured = document["run"]
    assert not [finding for finding in measured["findings"] if finding["id"] == "growth"]
    assert measured["oom_kills"] == measured["failures"] == measured["restarts"] == 0
    # Something of a real size is held, and a reader who changes a line has room for it.
    assert 80 * MIB < measured["peak_unreclaimable_bytes"] < 0.75 * measured["memory_limit_bytes"]
    assert our_cgroups() == before


@pytest.mark.parametrize(("name", "variant"), [("fastapi", "per-request"), ("django", "each-its-own")])
@pytest.mark.e2e
def test_what_an_example_avoids_is_oom_killed(name: str, variant: str, tmp_path: Path) -> None:
    code, document = run(EXAMPLES / name, f"{VERIFY} {variant}", tmp_path, "--duration", "10s")
    assert (code, document["verdict"], statuses(document)["oom"]) == (1, "fail", "fail"), document["checks"]
    assert document["run"]["oom_kills"] > 0
    if name == "django":
        assert document["run"]["availability"] > 0.5, "the workers that are left answer, and hide it"


@pytest.mark.e2e
def test_a_smaller_limit_in_a_copy_of_an_example_is_not_enough(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLES / "flask", tmp_path / "flask", ignore=shutil.ignore_patterns("runs", "__pycache__"))
    config = copy / "oomproof.toml"
    config.write_text(config.read_text().replace('memory = "256MiB"', 'memory = "64MiB"'))
    code, document = run(copy, VERIFY, tmp_path / "out", "--duration", "3s")
    assert (code, document["verdict"], statuses(document)["startup-memory"]) == (1, "fail", "fail"), document["checks"]
    assert document["run"]["memory_limit_bytes"] == 64 * MIB


@pytest.mark.e2e
def test_a_history_without_a_bound_is_found_while_there_is_headroom(tmp_path: Path) -> None:
    code, document = run(EXAMPLES / "flask", f"{VERIFY} unbounded", tmp_path, "--duration", "12s")
    assert (code, document["verdict"]) == (1, "fail")
    assert {name for name, status in statuses(document).items() if status == "fail"} == {"growth"}, document["checks"]


@needs_node
@pytest.mark.e2e
def test_node_dies_of_the_limit_that_it_meets_first(tmp_path: Path) -> None:
    code, document = run(EXAMPLES / "node", f"{VERIFY} all-turns", tmp_path / "1", "--duration", "40s")
    assert (code, statuses(document)["oom"], document["run"]["outcome"]) == (1, "fail", "oom-killed")
    code, document = run(EXAMPLES / "node", f"{VERIFY} all-turns-capped", tmp_path / "2", "--duration", "40s")
    assert (code, statuses(document)["oom"], statuses(document)["alive"]) == (1, "pass", "fail"), document["checks"]
    assert document["run"]["oom_kills"] == 0
    assert "signal 6 (SIGABRT)" in check(document, "alive")["message"]
    assert "--max-old-space-size" in check(document, "alive")["hint"]
    assert "heap out of memory" in (Path(document["run"]["run_dir"]) / "service.log").read_text()


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_node if name == "node" else ()) for name in COMPARED])
@pytest.mark.e2e
def test_compare_proves_what_an_example_shows(name: str, tmp_path: Path) -> None:
    candidate, seconds = COMPARED[name]
    command = "python ../../cli.py compare"
    code, document = run(EXAMPLES / name, command, tmp_path, "--no-profile", "--duration", f"{seconds}s")
    assert (code, document["claim"], document["candidate"]) == (0, "proved", candidate), document["runs"]


@pytest.mark.parametrize(("name", "command"), BARE)
@pytest.mark.e2e
def test_without_a_config_file_the_command_is_enough(name: str, command: str, tmp_path: Path) -> None:
    if name == "node" and shutil.which("node") is None:
        pytest.skip("node is not installed")
    code, document = run(EXAMPLES / name, command, tmp_path, "--users", "2", "--duration", "2s")
    assert (code, document["verdict"], statuses(document)["bad-input"]) == (0, "pass", "pass"), document["checks"]


@pytest.mark.e2e
def test_an_address_that_django_does_not_know_is_told_by_its_400(tmp_path: Path) -> None:
    copy = shutil.copytree(
        EXAMPLES / "django", tmp_path / "django", ignore=shutil.ignore_patterns("runs", "__pycache__")
    )
    config = copy / "oomproof.toml"
    text = config.read_text().replace('ALLOWED_HOSTS = "127.0.0.1"', 'ALLOWED_HOSTS = "shop.example"')
    config.write_text(text.replace('startup_timeout = "30s"', 'startup_timeout = "10s"'))
    code, document = run(copy, VERIFY, tmp_path / "out", "--duration", "2s")
    assert (code, statuses(document)["ready"]) == (1, "fail")
    assert "but 400" in check(document, "start")["message"]


def test_what_django_keeps_of_queries_with_debug_is_bounded_and_goes_with_the_next_request() -> None:
    """docs/frameworks/django.md says so; the list is no leak of a web service, but of a loop without requests nearly one."""
    code = """
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DEBUG=True, DATABASES={"default": database})
import django
django.setup()
from django.core.signals import request_started
from django.db import connection
for _ in range(9_100):
    connection.cursor().execute("SELECT 1")
kept = len(connection.queries_log)
request_started.send(sender=None)
print(kept, len(connection.queries_log))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["9000", "0"]


@needs_node
def test_the_heap_limit_that_node_takes_by_itself(tmp_path: Path) -> None:
    """The table of docs/frameworks/node.md, for the version that it names; for any other what the page concludes."""
    page = (FRAMEWORKS / "node.md").read_text()
    rows = {int(limit): int(heap) for limit, heap in re.findall(r"^\| (\d+) MiB \| (\d+) MiB \|", page, re.MULTILINE)}
    assert rows
    measured = {limit: _heap_limit_mib(limit, tmp_path) for limit in rows}
    assert measured[256] > 256
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if f"Node {version.removeprefix('v').partition('.')[0]}" in page:
        assert measured == rows


def _heap_limit_mib(limit_mib: int, directory: Path) -> int:
    sandbox, log = CgroupSandbox(), directory / f"{limit_mib}.log"
    try:
        running = sandbox.run(
            ["node", "-p", 'Math.round(require("v8").getHeapStatistics().heap_size_limit / 2 ** 20)'],
            directory=directory,
            env=dict(os.environ),
            limits=Limits(memory_bytes=limit_mib * MIB),
            log=log,
        )
        while running.exit_status() is None:
            time.sleep(0.02)
        running.close()
    finally:
        sandbox.close()
    return int(log.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_framework_page_shows_the_example_as_it_is(name: str) -> None:
    """Keys that a page quotes stand in the example's own config file, with the same values."""
    config = tomllib.loads((EXAMPLES / name / "oomproof.toml").read_text())
    quoted = [tomllib.loads(text) for text in fences(FRAMEWORKS / f"{name}.md", "toml")]
    assert quoted
    for table in quoted:
        assert _within(table, config), table


def _within(part: Any, whole: Any) -> bool:
    if not isinstance(part, dict):
        return bool(part == whole)
    return isinstance(whole, dict) and all(key in whole and _within(value, whole[key]) for key, value in part.items())


@pytest.mark.parametrize("name", ["fastapi", "flask", "django"])
def test_what_an_example_requires_is_in_the_extras(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    offered = {re.split(r"[<>=~]", line)[0] for line in (*extras["examples"], *extras["backend"])}
    assert set((EXAMPLES / name / "requirements.txt").read_text().split()) <= offered


def test_examples_are_neither_in_the_wheel_nor_in_the_image() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert not [path for path in (*wheel["packages"], *wheel["force-include"]) if path.startswith("examples")]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert allowed
    assert "examples" not in allowed
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines(), "what is not allowed is left out"


def test_every_command_of_the_examples_is_one_that_the_tool_has() -> None:
    assert {words_of(command)[0] for _, command in RUN_HERE} == {"verify", "compare"}
