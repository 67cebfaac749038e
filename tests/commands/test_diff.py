"""`diff` as a user meets it: on runs and on captures, across checkouts; its errors, its JSON, its files; and the page of all
processes of a memray pass."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import main
from profiling.errors import DataError
from profiling.experiments import diff as experiment
from tests.helpers import MIB, TARGETS, assert_of_schema, run_cli
from tests.profiling.capture.programs import SCRIPTS, tracked, write

FORKING = """
    import os

    def hold():
        return bytearray({size})

    def app(environ, start_response):
        if not kept:
            kept.append(hold())
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    kept = []
    shared = bytearray(30_000_000)
"""


def profile(directory: Path, out: Path, *command: str, memory: str = "256MiB", **env: str) -> Path:
    """The directory of one `profile` run of a command."""
    return profiled(directory, out, *command, memory=memory, **env)[0]


def profiled(directory: Path, out: Path, *command: str, memory: str = "256MiB", **env: str) -> tuple[Path, int]:
    """The directory of one `profile` run of a command, and its exit code."""
    done = run_cli(
        "profile", "--memory", memory, "--users", "4", "--duration", "2s", "--sandbox", "cgroup", "--out", str(out),
        "--no-source-lines", "--json", "--", *command,
        cwd=directory, **env,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return Path(json.loads(done.stdout)["report"]).parent, done.returncode


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same service in two checkouts, the second with 20 MiB more and its lines moved; and one that was killed."""
    made = {}
    for name, held, above in (("base", 40, ""), ("head", 60, "# A comment\n# of two lines.\n"), ("killed", 300, "")):
        checkout = tmp_path_factory.mktemp(name)
        shutil.copy(TARGETS / "serving.py", checkout)
        (checkout / "ballast.py").write_text(above + (TARGETS / "ballast.py").read_text())
        memory = "128MiB" if name == "killed" else "256MiB"
        made[name] = profile(
            checkout, checkout / "runs", sys.executable, "ballast.py", memory=memory, BALLAST_MIB=str(held)
        )
    return made


def diff(directory: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """(exit code, the JSON document)."""
    done = run_cli("diff", "--json", "--out", "runs", *map(str, arguments), cwd=directory)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    if done.returncode < 2 or done.returncode == 3:
        assert_of_schema(document, "diff")
    return done.returncode, document


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    write(tmp_path / "app.py", "held = bytearray(5_000_000)")
    done = tracked(["python", "app.py"], tmp_path, tmp_path / "capture.bin")
    assert done.returncode == 0, done.stderr
    return tmp_path / "capture.bin"


def test_a_planted_allocation_is_found_with_its_line_and_size(runs: dict[str, Path], tmp_path: Path) -> None:
    code, document = diff(tmp_path, runs["base"], runs["head"], "--fail-above", "5MiB", "--folded", "stacks.txt")
    assert (code, document["status"]) == (1, "fail")
    source = (runs["head"].parents[1] / "ballast.py").read_text().splitlines()
    for table in ("rows", "lines"):
        planted = document[table][0]
        assert (planted["function"], planted["file"]) == ("<module>", "ballast.py")
        assert source[planted["line"] - 1].startswith("held = bytearray(")
        assert planted["after_bytes"] - planted["before_bytes"] == pytest.approx(20 * MIB, rel=0.02)
        assert planted["before_bytes"] == pytest.approx(40 * MIB, rel=0.02)
    assert document["total_bytes"] == pytest.approx(20 * MIB, rel=0.1)
    assert document["packages"][0]["package"] is None
    for key in ("flamegraph", "report", "folded"):
        assert Path(document[key]).is_file()
    line = (tmp_path / "stacks.txt").read_text().splitlines()[0]
    found = re.fullmatch(r"<module> \(ballast\.py\) (\d+) (\d+)", line)
    assert found
    assert int(found[2]) - int(found[1]) == pytest.approx(20 * MIB, rel=0.02)
    assert (tmp_path / "stacks.txt").read_bytes() == Path(document["folded"]).read_bytes()
    page = Path(document["report"]).read_text()
    assert "bytearray" not in page, "no source in it"


def test_what_grew_by_no_more_than_is_allowed_passes(runs: dict[str, Path], tmp_path: Path) -> None:
    assert diff(tmp_path, runs["base"], runs["head"], "--fail-above", "25MiB")[0] == 0
    assert diff(tmp_path, runs["base"], runs["head"])[0] == 0
    assert diff(tmp_path, runs["head"], runs["base"], "--fail-above", "0MiB")[0] == 0


def test_report_shows_it_again_without_the_captures(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("base", "head"):
        shutil.copytree(next(runs[name].glob("1-memray-*")), tmp_path / name)
    code, document = diff(tmp_path, tmp_path / "base", tmp_path / "head", "--fail-above", "5MiB")
    page = Path(document["report"]).read_text()
    Path(document["report"]).unlink()
    shutil.rmtree(tmp_path / "base")
    again = run_cli("report", document["run_dir"], "--json")
    assert (again.returncode, json.loads(again.stdout)) == (code, document)
    assert Path(document["report"]).read_text() == page
    shown = run_cli("report", document["run_dir"])
    assert shown.stdout.rstrip().endswith(document["report"])


def test_of_a_killed_run_its_end_is_compared(runs: dict[str, Path], tmp_path: Path) -> None:
    _, document = diff(tmp_path, runs["base"], runs["killed"])
    before, after = document["before"], document["after"]
    assert (before["at"], before["oom_killed"]) == ("peak", False)
    assert (after["at"], after["oom_killed"], after["ended"]) == ("end", True, "capture.bin")
    assert [process["killed"] for process in after["processes"]] == [True]
    assert document["lines"][0]["after_bytes"] == pytest.approx(300 * MIB, rel=0.02)
    _, document = diff(tmp_path, runs["base"], runs["killed"], "--at", "peak")
    assert document["after"]["at"] == "peak"


def test_workers_are_shown_together_and_compared_together(tmp_path: Path) -> None:
    """30 MB before the fork count once, what each of two workers holds for itself twice."""
    made, codes = [], []
    for name, size in (("base", 20_000_000), ("head", 24_000_000)):
        write(tmp_path / name / "app.py", FORKING.format(size=size))
        command = (str(SCRIPTS / "gunicorn"), "app:app", "--preload", "--workers", "2", "--bind", "{host}:{port}")
        directory, code = profiled(tmp_path / name, tmp_path / name / "runs", *command)
        made.append(directory)
        codes.append(code)
    page = next(made[0].glob("*/flamegraph-all-processes.html"))
    text = page.read_text()
    assert "3 processes together held" in text
    assert "parent " in text
    report = (made[0] / "report.html").read_text()
    assert f'href="{page.parent.name}/{page.name}"' in report
    recorded = json.loads((made[0] / "experiment.json").read_text())["profiles"][0]
    assert (made[0] / recorded["processes"]).is_file()
    page.unlink()
    assert run_cli("report", str(made[0])).returncode == codes[0]
    assert codes[0] in (0, 3), "3 where the machine was too busy for a verdict"
    assert page.read_text() == text

    _, document = diff(tmp_path, *made)
    assert len(document["before"]["processes"]) == 3
    first = document["lines"][0]
    assert (first["function"], first["file"], first["line"]) == ("hold", "app.py", 4)
    assert first["before_bytes"] == pytest.approx(2 * 20_000_000, rel=0.01)
    assert first["after_bytes"] == pytest.approx(2 * 24_000_000, rel=0.01)
    shared = next(row for row in document["lines"] if row["function"] == "<module>")
    assert shared["after_bytes"] == pytest.approx(30_000_000, rel=0.02)


def test_a_capture_against_itself_changed_nothing(
    capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(capture.parent)
    assert main(["diff", "capture.bin", "capture.bin", "--fail-above", "0"]) == 0
    shown = capsys.readouterr().out
    assert "In all nothing changed: 4.77 MiB" in shown
    path = Path(shown.rstrip().splitlines()[-1].split()[-1])
    assert path.is_file()
    assert path.parent.parent == capture.parent / "runs"


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("missing", 2, "does not exist"),
        ("empty directory", 4, "holds no memray capture"),
        ("text", 4, "is no memray capture"),
        ("garbage", 4, "memray"),
        ("other version", 4, "incompatible"),
        ("/dev/null", 4, "neither a file nor a directory"),
        ("/proc/self/mem", 4, "cannot be read"),
        ("several programs", 4, "several programs"),
        ("empty", 3, ""),
    ],
)
def test_what_cannot_be_compared_is_two_lines(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, code: int, words: str
) -> None:
    other = tmp_path / "other"
    begin = capture.read_bytes()
    if kind == "empty directory":
        other.mkdir()
    elif kind == "several programs":
        other.mkdir()
        for name in ("one.bin", "two.bin"):
            (other / name).write_bytes(begin)
    elif kind.startswith("/"):
        other = Path(kind)
    elif kind != "missing":
        content = {
            "text": b"something else" * 100,
            "garbage": begin[:7] + bytes(range(1, 250)) * 40,
            "other version": begin[:7] + b"\x63" + begin[8:],
            "empty": b"",
        }
        other.write_bytes(content[kind])
    runs = tmp_path / "runs"
    for sides in ((capture, other), (other, capture)):
        assert main(["diff", *map(str, sides), "--out", str(runs)]) == code
        said = capsys.readouterr()
        errors = [line for line in said.err.splitlines() if not line.startswith("reading ")]
        assert len(errors) == (0 if code == 3 else 2), said.err
        assert words in said.err
        assert "Traceback" not in said.err
    assert code == 3 or not runs.exists() or not list(runs.iterdir()), "nothing is left behind"


def test_a_place_that_cannot_be_written_to_is_told_first(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, place in (("--out", "/proc/nowhere"), ("--folded", "/proc/nowhere/x")):
        assert main(["diff", str(capture), str(capture), option, place]) == 4
        said = capsys.readouterr().err
        assert "cannot be written to" in said
        assert option in said
        assert "reading" not in said


def test_a_directory_of_another_kind_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "diff.json").write_text("{}")
    assert main(["report", str(tmp_path)]) == 4
    assert "schema version" in capsys.readouterr().err


def test_damaged_stacks_are_an_error(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(capture), str(capture), "--out", str(tmp_path / "out")]) == 0
    (directory,) = (tmp_path / "out").iterdir()
    stored = directory / "after.stacks.json.gz"
    stored.write_bytes(stored.read_bytes()[:100])
    capsys.readouterr()
    assert main(["report", str(directory)]) == 4
    with pytest.raises(DataError, match="no readable stacks"):
        experiment.load(directory)
