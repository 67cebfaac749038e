"""`levers` on a small service with real limits and real kills: planted levers of known size, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import MIB, ROOT, TARGETS, assert_of_schema, our_cgroups, run_cli, wait_until

OPTIONS = ("--sandbox", "cgroup", "--json", "--users", "2", "--duration", "1s")
CONTRACT = "[request.expect]\njson_schema = { type = 'object', properties = { response = { const = 'steady' } } }\n"
LEVERS = "".join(
    f"[levers.{name}.env]\n{key} = '{value}'\n"
    for name, key, value in (
        ("frees", "FREED_MIB", "40"),
        ("refuses", "REFUSES", "1"),
        ("wrong", "ANSWERS_WRONG", "1"),
    )
)


def config(directory: Path, *, held: int = 80, memory: str = "72MiB", more: str = LEVERS) -> Path:
    """A directory with the config file of a service that holds `held` MiB."""
    (directory / "oomproof.toml").write_text(
        f"[target]\nname = 'shop'\ncommand = [{json.dumps(sys.executable)}, 'levered.py']\ndirectory = '{TARGETS}'\n"
        f"ready = '/'\nstartup_timeout = '20s'\nmemory = '{memory}'\n[target.env]\nHELD_MIB = '{held}'\n{CONTRACT}{more}"
    )
    return directory


def levers(directory: Path, *arguments: str) -> tuple[int, Any]:
    done = run_cli("levers", *OPTIONS, *arguments, cwd=directory)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert_of_schema(document, "error" if done.returncode == 2 else "levers")
    return done.returncode, document


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any]:
    """80 MiB held under a limit of 72 MiB: as it is the kernel kills it."""
    directory = config(tmp_path_factory.mktemp("planted"))
    before = our_cgroups()
    found = levers(directory, "--only", "frees", "--only", "refuses", "--only", "wrong")
    assert our_cgroups() == before
    return found


def test_a_killed_service_gets_what_makes_it_survive(planted: tuple[int, Any]) -> None:
    code, document = planted
    assert code == 0, document["sentence"]
    assert document["as_is"]["outcome"] == "oom-killed"
    assert document["as_is"]["peak_bytes"] > 80 * MIB, "no kill has cut this off"
    assert document["measured_bytes"] > document["limit_bytes"] == 72 * MIB
    best = document["best"]
    assert (best["levers"], best["outcome"], best["env"]) == (["frees"], "survives", {"FREED_MIB": "40"})
    assert 0.3 < best["headroom"] < 0.5
    assert "it survives there" in document["sentence"]


def test_each_lever_is_a_row_that_says_what_became_of_it(planted: tuple[int, Any]) -> None:
    _, document = planted
    rows = {row["lever"]: row for row in document["rows"]}
    frees = rows["frees"]
    assert frees["saved_low_bytes"] <= 40 * MIB + 2 * MIB
    assert frees["saved_high_bytes"] >= 40 * MIB - 2 * MIB
    assert frees["saved_bytes"] == pytest.approx(40 * MIB, abs=3 * MIB)
    assert frees["outcome"] == "survives"
    assert frees["rps_ratio"] > 0
    assert (rows["refuses"]["outcome"], rows["refuses"]["saved_bytes"]) == ("does-not-start", None)
    assert "exit status 1" in rows["refuses"]["note"]
    assert (rows["wrong"]["outcome"], rows["wrong"]["saved_bytes"]) == ("fails", None)
    assert rows["next-plan"]["outcome"] == "not-tried"


def test_it_is_rendered_again_from_disk(planted: tuple[int, Any]) -> None:
    _, document = planted
    page = Path(document["report"])
    assert "Settings to paste" in page.read_text()
    again = run_cli("report", str(page.parent), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, document)
    words = run_cli("report", str(page.parent)).stdout
    assert "Not tried" in words
    assert words.rstrip().splitlines()[-1].split() == ["report", str(page)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "fress"), "Did you mean 'frees'?"),
        (("--skip", "nothing-like-it"), "unknown lever"),
        (("--only", "preload"), "does not name gunicorn"),
        (("--only", "frees", "--skip", "frees"), "there is no lever to try"),
        (("--memory", "512M"), "is ambiguous"),
        (("nobody",), "no variants"),
    ],
)
def test_nonsense_is_refused_at_once(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, document = levers(config(tmp_path), *arguments)
    assert code == 2
    assert said in document["error"]["message"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[levers.empty]\n", "levers.empty changes nothing"),
        ("[levers.x]\nenvironment = { A = '1' }\n", "env"),
        ("[levers.x.env]\n'A=B' = '1'\n", "levers.x.env"),
    ],
)
def test_a_wrong_table_is_told_by_its_key(tmp_path: Path, more: str, said: str) -> None:
    code, document = levers(config(tmp_path, more=more))
    assert code == 2
    assert said in document["error"]["message"] + document["error"]["hint"]


def test_ctrl_c_keeps_what_was_measured_and_leaves_nothing(tmp_path: Path) -> None:
    directory = config(tmp_path, memory="256MiB")
    before = our_cgroups()
    command = [sys.executable, str(ROOT / "cli.py"), "levers", *OPTIONS, "--only", "frees"]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: list(directory.glob("runs/*/5-*/samples.bin")), 120)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted")
    assert our_cgroups() == before
    place = next(directory.glob("runs/*"))
    assert json.loads((place / "experiment.json").read_text())["interrupted"] is True
    done = run_cli("report", str(place), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"]) == (3, "inconclusive")
    assert document["rows"][0]["runs"] == 1
    assert document["rows"][0]["saved_bytes"] == pytest.approx(40 * MIB, abs=3 * MIB)
    assert document["rows"][0]["saved_low_bytes"] is None, "so few runs have no interval"
