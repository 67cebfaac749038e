"""`imports` as a user meets it: on modules, on commands, on a config file; its errors, its JSON, its files, its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.helpers import MIB, ROOT, our_cgroups, run_cli
from tests.profiling.measuring.imports.recorded import holds, program
from tests.test_cli import assert_two_lines

PLANTED = {
    "app": "import big\nimport small\nheld = bytearray(4 << 20)",
    "big": "import shared\nheld = bytearray(40 << 20)",
    "small": "import shared\nheld = bytearray(6 << 20)",
    "shared": "held = bytearray(20 << 20)",
}
SERVER = """
    import big
    import http.server, os, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def imports(directory: Path, *arguments: str, **env: str) -> tuple[int, dict[str, Any]]:
    """(exit code, the JSON document)."""
    done = run_cli("imports", "--json", "--sandbox", "cgroup", *arguments, cwd=directory, **env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def named(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(module for module in document["modules"] if module["name"] == name)


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = imports(program(tmp_path, **PLANTED), "app", "--lazy", "1", "--folded", "stacks.txt")
    assert (code, document["status"], document["command"], document["schema_version"]) == (0, "pass", "imports", 1)
    keys = {"name", "self_anon_bytes", "self_file_bytes", "anon_bytes", "file_bytes", "imported_by", "line"}
    assert all(keys <= set(module) for module in document["modules"])
    assert {"total_anon_bytes", "total_file_bytes", "modules", "report"} <= set(document)
    assert holds(document["total_anon_bytes"], 70)
    assert holds(named(document, "big")["anon_bytes"], 60)
    assert holds(named(document, "small")["anon_bytes"], 6), "shared counts for whoever asked first"
    assert (named(document, "big")["imported_by"], named(document, "big")["line"]) == ("app", "app.py:1")
    (first, *_) = document["lazy"]
    assert (first["line"], first["imports"]) == ("app.py:1", ["big"])
    assert holds(first["computed_anon_bytes"], 40)
    assert holds(first["measured_anon_bytes"], 40), "shared is still loaded, by small"
    stacks = dict(line.rsplit(" ", 1) for line in (tmp_path / "stacks.txt").read_text().splitlines())
    assert holds(int(stacks["app;big;shared"]), 20)
    assert holds(int(stacks["app;small"]), 6)
    assert "app.py:1" in Path(document["report"]).read_text()
    assert our_cgroups() == before
    again = run_cli("report", document["run_dir"], "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, document)


def test_a_command_and_a_config_file_are_recorded_until_they_are_ready(tmp_path: Path) -> None:
    program(tmp_path, serve=SERVER, big="held = bytearray(30 << 20)")
    quick = ("--repeats", "1", "--no-cold", "--lazy", "1")
    code, by_command = imports(tmp_path, *quick, "--", sys.executable, "serve.py")
    (tmp_path / "oomproof.toml").write_text(
        f"[target]\ncommand = ['{sys.executable}', 'serve.py']\nready = '/'\nmemory = '16MiB'\n"
    )
    also, by_config = imports(tmp_path, *quick)
    assert code == also == 0, "the target's own limit would not do: it is not applied"
    for document in (by_command, by_config):
        assert holds(named(document, "big")["anon_bytes"], 30)
        assert named(document, "big")["line"] == "serve.py:1"
        assert document["complete"]
        assert document["lazy"][0]["line"] == "serve.py:1"
        assert holds(document["lazy"][0]["measured_anon_bytes"], 30)
    # A module with the config file's interpreter, where it runs.
    code, document = imports(tmp_path, "big", *quick)
    assert (code, document["program"]) == (0, [sys.executable, "-c", "import big"])


def test_what_it_looks_like(tmp_path: Path) -> None:
    done = run_cli("imports", "app", "--repeats", "1", cwd=program(tmp_path, **PLANTED))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "✓ IMPORTS RECORDED"
    assert any("├ big  app.py:1" in line for line in lines), done.stdout
    assert any("│ └ shared  big.py:1" in line for line in lines), done.stdout
    assert "Saved at the start if imported later" in done.stdout
    assert lines[-1].startswith("report  ")
    assert max(map(len, lines[:-1])) <= 80
    flat = run_cli("imports", "app", "--repeats", "1", "--no-cold", "--lazy", "0", "--depth", "1", cwd=tmp_path)
    assert "shared  big.py:1" in flat.stdout, "levels of the program's own code are not counted"


def test_the_limit_holds_and_what_was_killed_is_shown(tmp_path: Path) -> None:
    code, document = imports(program(tmp_path, **PLANTED), "app", "--memory", "48MiB")
    assert (code, document["status"]) == (1, "fail")
    assert document["problem"].startswith("killed at the limit of 48 MiB while importing big")
    assert holds(named(document, "shared")["anon_bytes"], 20)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("no_such_module",),
            4,
            ("no_such_module cannot be imported by", "No module named 'no_such_module'", "--python"),
        ),
        (("app.py",), 2, ("is a file; name the module: app",)),
        (("app:app",), 2, ("no module's name",)),
        (("app", "--python", "no-such-python"), 4, ("`no-such-python` was not found", "imports MODULE --python PATH")),
        (("--python", "python3", "--", "true"), 2, ("--python goes with MODULE",)),
        (("app", "--", "python", "x.py"), 2, ("not both",)),
        (("--", "/bin/sleep", "1"), 4, ("is a binary program, not a Python one", "name the Python command itself")),
        (("app", "--folded", "nowhere/x"), 4, ("nowhere/x cannot be written to", "--folded")),
        (("app", "--out", "app.py/runs"), 4, ("--out",)),
        (("app", "--repeats", "0"), 2, ("--repeats",)),
        (("app", "--target", "nowhere.toml"), 2, ("nowhere.toml",)),
    ],
)
def test_mistakes_are_told_in_two_lines(
    arguments: tuple[str, ...], code: int, said: tuple[str, ...], tmp_path: Path
) -> None:
    program(tmp_path, app="pass")
    assert_two_lines(run_cli("imports", *arguments, cwd=tmp_path), code, *said)


def test_a_broken_import_shows_what_there_was(tmp_path: Path) -> None:
    files = {"app": "import good\nimport broken", "good": "held = bytearray(8 << 20)", "broken": "import no_such_thing"}
    done = run_cli("imports", "app", cwd=program(tmp_path, **files))
    assert done.returncode == 1
    assert "✗ IMPORTS FAILED" in done.stdout
    assert "ModuleNotFoundError: No module named 'no_such_thing'" in " ".join(done.stdout.split())
    assert "good" in done.stdout


def test_the_active_environments_interpreter_is_taken(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    program(site, only_there="held = bytearray(5 << 20)")
    code, document = imports(tmp_path, "only_there", "--repeats", "1", "--no-cold", VIRTUAL_ENV=str(environment))
    assert (code, document["interpreter"]) == (0, str(environment / "bin" / "python"))
    assert document["lazy"] == []
    code, document = imports(
        tmp_path,
        "only_there",
        "--repeats",
        "1",
        "--no-cold",
        "--python",
        str(environment / "bin" / "python"),
        VIRTUAL_ENV="",
    )
    assert code == 0


def test_ctrl_c_ends_it_with_130_and_what_there_is_can_be_seen(tmp_path: Path) -> None:
    before = our_cgroups()
    program(tmp_path, app="import first\nimport time\nimport stuck", first="held = bytearray(8 << 20)")
    (tmp_path / "stuck.py").write_text(
        "import threading\nif __import__('os').path.exists('stay'):\n    threading.Event().wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "imports", "app", "--no-cold"], cwd=tmp_path, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("warm start 1:"):
            (tmp_path / "stay").touch()
        if len([line for line in said if line == "warm start: importing\n"]) >= 2 and (tmp_path / "stay").exists():
            break
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "Traceback" not in rest
    (directory,) = (tmp_path / "runs").iterdir()
    assert json.loads((directory / "imports.json").read_text())["interrupted"]
    assert str(directory.relative_to(tmp_path)) in rest
    assert not [*directory.glob("*/*.pyc"), *directory.glob("*/*.bin")]
    shown = run_cli("report", str(directory))
    assert shown.returncode == 0
    assert "first" in shown.stdout
    assert our_cgroups() == before


def test_a_directory_of_another_kind_is_no_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "imports.json").write_text("{}")
    assert main(["report", str(tmp_path)]) == 4
    assert "schema version" in capsys.readouterr().err


@pytest.mark.e2e
def test_the_reference_backend_tells_what_torch_and_transformers_cost(tmp_path: Path) -> None:
    """Against what the process itself sees of them, without the recorder."""
    code, document = imports(
        ROOT, "--target", "reference", "--repeats", "1", "--no-cold", "--lazy", "0", "--out", str(tmp_path)
    )
    assert code == 0
    packages = {package["name"]: package for package in document["packages"]}
    assert packages["torch"]["line"] == "backend/encoder.py:10"
    text = (
        "import re, numpy, flask, concurrent.futures\n"
        "def anon():\n    text = open('/proc/self/smaps_rollup').read()\n"
        "    return int(re.search(r'Anonymous: +(\\d+)', text)[1]) * 1024\n"
        "before = anon()\nimport torch\nprint(anon() - before)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert abs(packages["torch"]["anon_bytes"] - int(done.stdout)) < 0.05 * int(done.stdout)
    assert packages["transformers"]["anon_bytes"] > 10 * MIB


def test_nothing_is_left_in_the_working_directory_but_runs(tmp_path: Path) -> None:
    imports(program(tmp_path, app="import json"), "app", "--repeats", "1", "--no-cold", "--lazy", "0")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "runs"]
