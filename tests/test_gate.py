"""`gate` on small repositories: what changes memory is told, what does not is not, and what cannot be judged says why."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.helpers import MIB, ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until

APP = """try:
    import ballast_of
except ImportError:  # nothing was installed
    pass
held = bytearray({mib} << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
from serving import serve
serve(lambda body: "steady")
"""
CONFIG = """[target]
name = "shop"
command = ["python3", "app.py"]
setup = ["cp of-$(cat requirements.txt).py $(python -c 'import site; print(site.getsitepackages()[0])')/ballast_of.py"]
ready = "/"
memory = "64MiB"
startup_timeout = "20s"
[target.env]
PYTHONPATH = "shared"
[load]
users = 2
duration = "1s"
"""
OPTIONS = ("--sandbox", "cgroup", "--json")


def git(directory: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *who, *arguments], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def repository(directory: Path, **files: str) -> Path:
    """A service of 16 MiB of ballast in a repository with one commit; `files` in place of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "shared").mkdir()
    shutil.copy(TARGETS / "serving.py", directory / "shared")
    ballast = "held = bytearray(8 << 20)\nfor at in range(0, len(held), 4096):\n    held[at] = 1\n"
    contents = {
        "app.py": APP.format(mib=16),
        "oomproof.toml": CONFIG,
        "requirements.txt": "one\n",
        "of-one.py": "",
        "of-two.py": ballast,
        ".gitignore": "runs/\n__pycache__/\n",
    }
    for name, text in (contents | files).items():
        (directory / name).write_text(text)
    git(directory, "init", "--quiet")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "-m", "base")
    return directory


def gate(directory: Path, *arguments: str, **env: str) -> tuple[int, Any]:
    done = run_cli("gate", *OPTIONS, *arguments, cwd=directory, **env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def nothing_left(directory: Path) -> bool:
    return len(git(directory, "worktree", "list").splitlines()) == 1


def a_null_change(directory: Path) -> None:
    with (directory / "app.py").open("a") as file:
        file.write("# nothing more\n")


def another_lock(directory: Path) -> None:
    """The code stays as it is: what is installed holds 8 MiB more."""
    (directory / "requirements.txt").write_text("two\n")
    git(directory, "commit", "--quiet", "--all", "-m", "a dependency")


def less_ballast(directory: Path) -> None:
    (directory / "app.py").write_text(APP.format(mib=8))


GROWN = """from serving import serve


def load() -> bytearray:
    more = bytearray(20 << 20)
    for at in range(0, len(more), 4096):
        more[at] = 1
    return more


kept = load()
"""


def twenty_more(directory: Path) -> None:
    """In a function of the service's own code, at a line that base does not have."""
    text = (directory / "app.py").read_text()
    (directory / "app.py").write_text(text.replace("from serving import serve\n", GROWN))


CHANGES = {"grown": twenty_more, "null": a_null_change, "lock": another_lock, "less": less_ballast}


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Any, Path]]:
    """All three at once, and a baseline, since each mostly waits; by name (exit code, document, repository)."""
    place = tmp_path_factory.mktemp("gates")
    started = {}
    for name, change in CHANGES.items():
        # memray enters it where it is installed: beside this test.
        files = {"oomproof.toml": CONFIG.replace("python3", sys.executable)} if name == "grown" else {}
        directory = repository(place / name, **files)
        change(directory)
        base = "HEAD~1" if name == "lock" else "HEAD"
        written = ("--markdown", str(place / f"{name}.md"), "--junit", str(place / f"{name}.xml"))
        command = [sys.executable, str(ROOT / "cli.py"), "gate", "--base", base, *OPTIONS, *written]
        env = {**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(place / f"{name}-summary.md")}
        process = subprocess.Popen(
            command, cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started[name] = (process, directory)
    directory = repository(place / "baseline")
    command = [sys.executable, str(ROOT / "cli.py"), "baseline", "update", "base.json", *OPTIONS]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started["baseline"] = (process, directory)
    found = {}
    for name, (process, directory) in started.items():
        out, err = process.communicate(timeout=600)
        assert out, err
        (directory.parent / f"{name}.err").write_text(err)
        found[name] = (process.returncode, json.loads(out), directory)
    return found


def annotations(directory: Path) -> list[str]:
    """What GitHub would show, of all that the gate said on stderr."""
    said = (directory.parent / f"{directory.name}.err").read_text().splitlines()
    return [line for line in said if re.match(r"::(error|warning|notice) ", line)]


def metrics(document: Any) -> dict[str, Any]:
    return {metric["name"]: metric for metric in document["metrics"]}


def test_a_change_that_changes_nothing_passes(gates: dict[str, Any]) -> None:
    code, document, directory = gates["null"]
    # What a first set takes for a regression on a busy machine, the second one is there for.
    assert (code, document["verdict"]) == (0, "pass"), document
    assert document["confirmed_by_rerun"] is not True, document
    assert_of_schema(document, "gate")
    peak = metrics(document)["peak_unreclaimable"]
    assert min(len(peak["base"]), len(peak["head"])) >= 4, document
    # A tenth of the least change that the other tests plant; the machine's noise is a fifth of that.
    assert abs(statistics.median(peak["head"]) - statistics.median(peak["base"])) < 0.8 * MIB, document
    assert "and uncommitted changes" in document["head"]["label"]
    assert nothing_left(directory)
    assert not annotations(directory)
    assert (document["lines"], document["flamegraph"]) == ([], None), "nobody looks for a line, so memray was not asked"
    assert metrics(document)["peak_heap"]["status"] == "unmeasured"


def test_another_lock_alone_regresses_and_is_confirmed(gates: dict[str, Any]) -> None:
    code, document, directory = gates["lock"]
    assert (code, document["verdict"], document["confirmed_by_rerun"]) == (1, "regressed", True), document
    peak = metrics(document)["peak_unreclaimable"]
    assert peak["status"] == "regressed"
    assert 7.5 * MIB < min(peak["head"]) - min(peak["base"]) < 8.5 * MIB
    assert peak["low"] <= peak["change"] <= peak["high"]
    installed, no_lines = document["notes"]
    assert installed == "requirements.txt differs: each side is installed in an environment of its own"
    assert "memray is not installed" in no_lines
    assert (metrics(document)["peak_heap"]["status"], document["lines"]) == ("unmeasured", [])
    assert nothing_left(directory)
    assert not list(directory.glob("runs/*/environment-*"))


def test_a_regression_stands_where_people_look(gates: dict[str, Any]) -> None:
    _, document, directory = gates["lock"]
    place = directory.parent
    markdown = (place / "lock.md").read_text()
    assert "✗ oomproof gate: regressed" in markdown
    assert "| peak of unreclaimable memory |" in markdown
    assert (place / "lock-summary.md").read_text() == markdown
    suite = ET.parse(place / "lock.xml").getroot()
    assert int(suite.get("failures", "0")) >= 2
    assert annotations(directory)[0].startswith("::error title=oomproof gate%3A regressed::Memory regressed")
    page = Path(document["report"]).read_text()
    assert "What changed" in page
    assert "Effect and noise" in page
    again = run_cli("report", str(Path(document["report"]).parent), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (1, document), "it is judged again from disk"


def test_the_line_that_holds_more_is_named_where_people_look(gates: dict[str, Any]) -> None:
    code, document, directory = gates["grown"]
    assert (code, document["verdict"]) == (1, "regressed"), document
    assert_of_schema(document, "gate")
    source = (directory / "app.py").read_text().splitlines()
    number = source.index("    more = bytearray(20 << 20)") + 1
    line = document["lines"][0]
    assert (line["path"], line["line"], line["function"], line["before_bytes"]) == ("app.py", number, "load", 0)
    assert line["after_bytes"] == pytest.approx(20 * MIB, rel=0.01)
    markdown = (directory.parent / "grown.md").read_text()
    assert f"| +20.0 MiB | app.py:{number} | load | 0 B → 20.0 MiB |" in markdown
    assert any(f"file=app.py,line={number}," in said for said in annotations(directory)[1:]), annotations(directory)
    heap = metrics(document)["peak_heap"]
    assert (heap["status"], heap["tolerance"], len(heap["base"]), len(heap["head"])) == ("info", None, 1, 1)
    assert heap["head"][0] - heap["base"][0] == pytest.approx(20 * MIB, rel=0.05)
    page = Path(document["report"]).read_text()
    assert f"app.py:{number}" in page
    assert 'href="diff/report.html"' in page
    assert "app.py" in Path(document["flamegraph"]).read_text()
    again = run_cli("report", str(Path(document["report"]).parent), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (1, document), "the lines are read again from disk"


def test_an_improvement_is_told_as_such(gates: dict[str, Any]) -> None:
    code, document, _ = gates["less"]
    assert (code, document["verdict"]) == (0, "improved"), document
    peak = metrics(document)["peak_unreclaimable"]
    assert peak["high"] < -0.01
    assert 7.5 * MIB < min(peak["base"]) - min(peak["head"]) < 8.5 * MIB


def test_a_baseline_is_written_and_says_what_changed(gates: dict[str, Any]) -> None:
    code, document, directory = gates["baseline"]
    assert (code, document["verdict"], document["base"]) == (0, "pass", None), document
    assert_of_schema(document, "gate")
    assert "base.json: written, for the first time" in (directory.parent / "baseline.err").read_text()
    stored = json.loads((directory / "base.json").read_text())
    assert (len(stored["runs"]), stored["revision"]) == (7, git(directory, "rev-parse", "HEAD"))
    code, refused = gate(directory, "--baseline", "base.json", "--users", "5")
    assert (code, refused["error"]["kind"]) == (2, "config")


def test_a_service_that_is_killed_never_becomes_the_baseline(tmp_path: Path) -> None:
    directory = repository(tmp_path / "shop", **{"app.py": APP.format(mib=80), "base.json": "as it was"})
    done = run_cli("baseline", "update", "base.json", "--sandbox", "cgroup", cwd=directory)
    assert done.returncode == 1
    assert "base.json is not written" in done.stderr
    assert (directory / "base.json").read_text() == "as it was"


def test_a_base_that_does_not_start_is_nothing_to_compare_with(tmp_path: Path) -> None:
    directory = repository(tmp_path / "shop", **{"app.py": "raise SystemExit(3)\n"})
    (directory / "app.py").write_text(APP.format(mib=16))
    code, document = gate(directory, "--base", "HEAD")
    assert (code, document["verdict"]) == (3, "inconclusive")
    assert "base does not hold" in document["sentence"]
    assert "3" in document["sentence"]
    assert nothing_left(directory)


def test_a_head_that_is_killed_fails_and_nothing_more_is_run(tmp_path: Path) -> None:
    before = our_cgroups()
    directory = repository(tmp_path / "shop")
    (directory / "app.py").write_text(APP.format(mib=80))
    code, document = gate(directory, "--base", "HEAD")
    assert (code, document["verdict"]) == (1, "regressed"), document
    assert metrics(document)["oom_kills"]["status"] == "regressed"
    runs = Path(document["report"]).parent
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == ["1-base", "2-head"]
    assert our_cgroups() == before


@pytest.mark.parametrize(
    ("base", "code", "kind", "said"),
    [
        ("HEAD", 2, "config", "the working tree is the same"),
        ("no-such-branch", 4, "revision", "there is no such revision"),
        ("--output=x", 4, "revision", "there is no such revision"),
    ],
)
def test_what_cannot_be_compared_says_so_at_once(tmp_path: Path, base: str, code: int, kind: str, said: str) -> None:
    directory = repository(tmp_path / "shop")
    returned, document = gate(directory, f"--base={base}")
    assert (returned, document["error"]["kind"]) == (code, kind)
    assert said in document["error"]["message"]


def test_a_shallow_clone_is_told_how_to_fetch_more(tmp_path: Path) -> None:
    origin = repository(tmp_path / "shop")
    another_lock(origin)
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{origin}", "clone")
    code, document = gate(tmp_path / "clone", "--base", "HEAD~1")
    assert (code, document["error"]["kind"]) == (4, "revision")
    assert "fetch-depth: 0" in document["error"]["hint"]


def test_outside_of_a_repository_nothing_can_be_compared(tmp_path: Path) -> None:
    (tmp_path / "oomproof.toml").write_text(CONFIG)
    code, document = gate(tmp_path, "--base", "HEAD", GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert (code, document["error"]["kind"]) == (4, "revision")
    assert "no git working tree" in document["error"]["message"]


def test_a_directory_that_is_the_same_for_both_is_refused(tmp_path: Path) -> None:
    directory = repository(tmp_path / "shop")
    text = CONFIG.replace('ready = "/"', f'ready = "/"\ndirectory = "{directory}"')
    (directory / "oomproof.toml").write_text(text)
    git(directory, "commit", "--quiet", "--all", "-m", "absolute")
    a_null_change(directory)
    code, document = gate(directory, "--base", "HEAD")
    assert code == 2
    assert "base would run head's code" in document["error"]["message"]
    assert nothing_left(directory)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_no_worktree_stays_for_long(tmp_path: Path, how: signal.Signals) -> None:
    directory = repository(tmp_path / "shop")
    a_null_change(directory)
    command = [sys.executable, str(ROOT / "cli.py"), "gate", "--base", "HEAD", *OPTIONS]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: list(directory.glob("runs/*/1-base/run.json")), 60)
    process.send_signal(how)
    out, _ = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted")
    else:
        assert not nothing_left(directory)
        code, _ = gate(directory, "--base", "HEAD", "--memory", "1MiB")
        assert code in (1, 4), "it makes its own way, and takes the other's remains with it"
    assert nothing_left(directory)
    assert not list(directory.glob("runs/*/oomproof-*"))
    wait_until(lambda: not [cgroup for cgroup in our_cgroups() if cgroup.exists()], 30)
