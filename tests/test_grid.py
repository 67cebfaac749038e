"""`compare --grid` on a small service with real limits and real kills, what it refuses, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.helpers import ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until

OPTIONS = ("--sandbox", "cgroup", "--json", "--duration", "2s")


def config(directory: Path, command: str = "holding.py", more: str = "") -> Path:
    """A directory with the config file of a service of tests/targets that holds HOLD_MIB for each request under way."""
    (directory / "oomproof.toml").write_text(
        f"[target]\nname = 'shop'\ncommand = [{json.dumps(sys.executable)}, '{command}']\ndirectory = '{TARGETS}'\n"
        f"ready = '/'\nmemory = '96MiB'\n[target.env]\nHOLD_MIB = '8'\n{more}"
    )
    return directory


def compare(directory: Path, *arguments: str) -> tuple[int, Any]:
    done = run_cli("compare", *OPTIONS, *arguments, cwd=directory)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert_of_schema(document, "error" if "error" in document else "compare")
    return done.returncode, document


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any]:
    """What holds 32 MiB for each of 8 users cannot, in 96 MiB; what holds 2 MiB can."""
    before = our_cgroups()
    found = compare(config(tmp_path_factory.mktemp("grid")), "--grid", "HOLD_MIB=2,32", "users=1,8", "--infer")
    assert our_cgroups() == before
    return found


def test_each_cell_was_run_and_says_whether_it_holds(measured: tuple[int, Any]) -> None:
    _, document = measured
    grid = document["grid"]
    cells = {(cell["settings"]["HOLD_MIB"], cell["users"]): cell for cell in grid["cells"]}
    killed = cells["32", 8]
    assert (killed["status"], killed["limited_by"], killed["outcome"]) == ("fails", "oom", "oom-killed"), killed
    assert killed["oom_kills"] >= 1
    for key in (("2", 1), ("2", 8), ("32", 1)):
        # A load generator that a busy machine starves says nothing, and rightly.
        assert cells[key]["status"] == "holds" or cells[key]["limited_by"] == "load-generator", cells[key]
    assert cells["32", 1]["peak_unreclaimable_bytes"] > cells["2", 1]["peak_unreclaimable_bytes"] + 20 * 2**20
    assert len(document["runs"]) == 4
    assert {cell["run"] for cell in grid["cells"]} == {run["run_dir"] for run in document["runs"]}


def test_the_exit_code_follows_from_the_cells(measured: tuple[int, Any]) -> None:
    code, document = measured
    statuses = {cell["status"] for cell in document["grid"]["cells"]}
    expected = (3, "inconclusive") if "inconclusive" in statuses else (0, "proved")
    assert (code, document["claim"]) == expected
    if code == 0:
        assert document["grid"]["sentence"] == "HOLD_MIB=2 holds 8 users in 96 MiB; HOLD_MIB=32 does not (OOM-killed)."


def test_it_is_rendered_again_from_disk(measured: tuple[int, Any]) -> None:
    code, document = measured
    place = Path(document["report"]).parent
    assert "Which settings hold which load" in Path(document["report"]).read_text()
    again = run_cli("report", str(place), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (code, document)
    assert "Cells, 96 MiB" in run_cli("report", str(place)).stdout


def test_none_holds_is_exit_1_and_what_follows_is_not_run(tmp_path: Path) -> None:
    words = ("--grid", "users=4,8 memory=32MiB,48MiB", "--grid", "HOLD_MIB=64", "--infer", "--repeats", "1")
    code, document = compare(config(tmp_path), *words)
    cells = document["grid"]["cells"]
    assert (code, document["claim"]) == (1, "candidate-failed"), document["grid"]["sentence"]
    assert [cell["status"] for cell in cells] == ["inferred", "fails", "inferred", "inferred"]
    assert [cell["inferred_from"] for cell in cells] == [1, None, 1, 1]
    assert len(document["runs"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--grid", "workers"), "no values"),
        (("--grid", "workers="), "no values"),
        (("--grid", " "), "names nothing"),
        (("--grid", "workers=0"), "no whole number from 1"),
        (("--grid", "workers=two"), "no whole number from 1"),
        (("--grid", "users=8,8"), "a value is named twice"),
        (("--grid", "users=8", "users=9"), "it is named twice"),
        (("--grid", "speed=1,2"), "nothing is called 'speed'"),
        (("--grid", "preload=maybe"), "neither on nor off"),
        (("--grid", "memory=512M"), "is ambiguous"),
        (("--grid", "memory=1KiB"), "1MiB or more"),
        (("--grid", "PORT=1,2"), "is set for each run by the tool"),
        (("--grid", "SIZE=1,,2"), "a value is empty"),
        (("--grid", "API_TOKEN=sk-3f9aQ81mZx77kLw2,b"), "looks like a secret"),
        (("--grid", "users=8,64", "--users", "4"), "are both given"),
        (("--grid", "memory=64MiB", "--memory", "96MiB"), "are both given"),
        (("--grid", "users=8,64", "--rate", "5"), "with a rate"),
        (("--grid", "SIZE=1,2", "--profile"), "makes no memray passes"),
        (("--grid", "workers=1,2"), "starts no server whose flags are known"),
        (("--grid", "SIZE=1,2", "nobody"), "unknown variant 'nobody'"),
        (("--grid", f"users={','.join(map(str, range(1, 300)))}"), "has 299 cells"),
        (("--infer",), "is for cells of a --grid"),
    ],
)
def test_nonsense_is_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(config(tmp_path, more="[variants.one.env]\nA = '1'\n"))
    assert main(["compare", *OPTIONS, *arguments]) == 2
    document = json.loads(capsys.readouterr().out)
    assert_of_schema(document, "error")
    assert said in document["error"]["message"]
    assert document["error"]["hint"]
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_keeps_the_cells_that_were_measured(tmp_path: Path) -> None:
    directory = config(tmp_path)
    before = our_cgroups()
    command = [sys.executable, str(ROOT / "cli.py"), "compare", *OPTIONS, "--grid", "HOLD_MIB=64,2", "users=4"]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: list(directory.glob("runs/*/2-cell-2/samples.bin")), 120)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted")
    assert our_cgroups() == before
    done = run_cli("report", str(next(directory.glob("runs/*"))), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["claim"]) == (3, "inconclusive")
    assert [cell["status"] for cell in document["grid"]["cells"]] == ["fails", "inconclusive"]
