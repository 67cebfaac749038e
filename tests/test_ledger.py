"""The ledger of real passes: a real limit, real captures, real kills."""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from profiling.errors import DataError
from profiling.judging.ledger import explain_with_ledger
from profiling.judging.ledger.apart import ledger_or_reason
from profiling.judging.ledger.recorded import ledger_of
from profiling.measuring import store
from profiling.measuring.memray_pass import RecordedPass
from tests.helpers import MIB, TARGETS, assert_of_schema, run_cli

PLANTED_MIB = 48


def profiled(out: Path, *command: str, memory: str = "192MiB", **env: str) -> dict[str, Any]:
    """The document of one pass of a service in tests/targets."""
    done = run_cli(
        "profile", "--memory", memory, "--users", "2", "--duration", "2s", "--sandbox", "cgroup", "--json",
        "--out", str(out), "--", sys.executable, *command,
        cwd=TARGETS, **env,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    assert "error" not in document, document
    assert_of_schema(document, "profile")
    return document


def sizes(document: dict[str, Any]) -> dict[str, int]:
    return {entry["part"]: entry["bytes"] for entry in document["ledger"]}


def line_of(name: str, comment: str) -> int:
    lines = (TARGETS / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if comment in line)


def bytes_of(document: dict[str, Any], part: str, name: str, comment: str) -> int:
    wanted = (name, line_of(name, comment))
    lines = [line for entry in document["ledger"] if entry["part"] == part for line in entry["lines"]]
    return sum(line["bytes"] for line in lines if (line["frame"]["file"], line["frame"]["line"]) == wanted)


def assert_explained(document: dict[str, Any], share: float = 0.95) -> None:
    ledger = document["profile"]["ledger"]
    assert sum(entry["bytes"] for entry in document["ledger"]) == ledger["limit_bytes"]
    used = sum(entry["bytes"] for entry in document["ledger"] if entry["group"] != "headroom")
    assert used == ledger["unreclaimable_bytes"]
    assert abs(ledger["unexplained_bytes"]) <= (1 - share) * used


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("planted")
    return profiled(out, "planted.py", PLANTED_MIB=str(PLANTED_MIB), KEPT_KIB="256")


def test_a_planted_allocation_stands_in_it_with_its_line_and_size(planted: dict[str, Any]) -> None:
    found = bytes_of(planted, "heap made at start", "planted.py", "# the planted line")
    assert found == pytest.approx(PLANTED_MIB * MIB, rel=0.02)
    assert_explained(planted)


def test_what_requests_keep_is_told_from_what_was_there_at_the_start(planted: dict[str, Any]) -> None:
    answered = bytes_of(planted, "heap made since ready", "planted.py", "# the line of each request")
    assert answered > 2 * MIB
    assert sizes(planted)["heap made since ready"] == pytest.approx(answered, rel=0.2)


def test_it_is_seen_near_the_peak(planted: dict[str, Any]) -> None:
    ledger = planted["profile"]["ledger"]
    assert ledger["peak_bytes"] - ledger["unreclaimable_bytes"] < 4 * MIB


def test_a_stored_pass_is_rendered_again_with_it_and_one_of_an_earlier_version_without(
    planted: dict[str, Any], tmp_path: Path
) -> None:
    directory = tmp_path / "copied"
    shutil.copytree(Path(planted["report"]).parent, directory)
    assert run_cli("report", str(directory)).returncode == 0
    page = (directory / "report.html").read_text()
    assert "Where the memory was" in page
    assert "planted.py" in page
    stored = json.loads((directory / "experiment.json").read_text())
    for profile in stored["profiles"]:
        del profile["ledger"]
    (directory / "experiment.json").write_text(json.dumps(stored))
    assert run_cli("report", str(directory)).returncode == 0
    assert "Where the memory was" not in (directory / "report.html").read_text()


def test_without_a_snapshot_or_a_capture_the_reason_stands_in_its_place(
    planted: dict[str, Any], tmp_path: Path
) -> None:
    passed = tmp_path / "pass"
    shutil.copytree(next(Path(planted["report"]).parent.glob("1-memray-*")), passed)
    whole = ledger_of(passed)
    (passed / "capture.bin").write_bytes(b"")
    without = ledger_of(passed)
    assert without.unexplained_bytes > whole.unexplained_bytes + PLANTED_MIB * MIB
    (passed / "capture.bin").write_bytes(b"this is no capture, though it is long enough for the head of one" * 4)
    assert "cannot be read" in ledger_of(passed).reason
    (passed / "snapshot.json").unlink()
    with pytest.raises(DataError, match="no snapshot"):
        ledger_of(passed)


def test_what_cannot_have_a_ledger_has_the_reason(planted: dict[str, Any], tmp_path: Path) -> None:
    passed = tmp_path / "pass"
    shutil.copytree(next(Path(planted["report"]).parent.glob("1-memray-*")), passed)
    damaged = json.loads((passed / "snapshot.json").read_text())
    next(m for m in damaged["processes"][0]["mappings"] if m.get("pages"))["pages"] = "AAAA"
    (passed / "snapshot.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match="damaged"):
        ledger_of(passed)
    (passed / "snapshot.json").write_text('{"problem": "it may not be seen"}')
    recorded = RecordedPass(store.load(passed).result, passed, passed / "capture.bin")
    profile = explain_with_ledger(recorded, source_lines=False)
    assert profile.held, "the rest is explained all the same"
    assert profile.ledger is not None
    assert (profile.ledger.entries, "it may not be seen" in profile.ledger.reason) == ((), True)


def test_captures_that_break_memray_break_nothing_else(planted: dict[str, Any], tmp_path: Path) -> None:
    """Where bytes are replaced by random ones, some captures are read on and others end memray with a segmentation fault."""
    passed = tmp_path / "pass"
    shutil.copytree(next(Path(planted["report"]).parent.glob("1-memray-*")), passed)
    whole = (passed / "capture.bin").read_bytes()
    chance = random.Random(1)
    for _ in range(6):
        at = chance.randrange(300, 3000)
        (passed / "capture.bin").write_bytes(whole[:at] + chance.randbytes(len(whole) - at))
        ledger = ledger_or_reason(passed)
        assert ledger.entries or ledger.reason


def test_a_ledger_that_nobody_waits_for_ends_early(planted: dict[str, Any]) -> None:
    stop = threading.Event()
    stop.set()
    passed = next(Path(planted["report"]).parent.glob("1-memray-*"))
    assert ledger_or_reason(passed, stop).reason == "it was interrupted"


@pytest.mark.parametrize("preload", [False, True])
def test_what_workers_share_counts_once(tmp_path: Path, preload: bool) -> None:
    document = profiled(
        tmp_path, "-m", "gunicorn", "two_workers:app", "--workers", "2", "--bind", "{host}:{port}",
        *(["--preload"] if preload else []),
        BALLAST_MIB="30",
    )  # fmt: skip
    # With preloading the memory is all there before the last worker is forked, and the peak may lie before it as well as after.
    assert document["profile"]["ledger"]["processes"] in ((2, 3) if preload else (3,))
    # A worker that loads after the first one is ready has made it since then.
    parts = ["heap made at start", *(["heap made since ready"] if not preload else [])]
    held = sum(bytes_of(document, part, "two_workers.py", "# the held line") for part in parts)
    assert held == pytest.approx((30 if preload else 60) * MIB, rel=0.02)
    assert_explained(document)


def test_shared_memory_is_no_heap(tmp_path: Path) -> None:
    document = profiled(tmp_path, "shm.py", memory="384MiB")
    found = sizes(document)
    assert found["shared memory"] > 3 * MIB
    assert found["shared memory"] > 0.5 * document["profile"]["ledger"]["unreclaimable_bytes"] - 12 * MIB
    assert found.get("heap made since ready", 0) < 3 * MIB
    assert_explained(document)


def test_page_cache_is_headroom(tmp_path: Path) -> None:
    document = profiled(tmp_path, "file_reader.py", memory="128MiB", FILE_MIB="64")
    cache = sum(entry["bytes"] for entry in document["ledger"] if entry["part"].startswith("page cache"))
    assert cache > 40 * MIB
    assert document["profile"]["ledger"]["unreclaimable_bytes"] < 40 * MIB


def test_of_a_killed_process_it_is_from_just_before_the_kill(tmp_path: Path) -> None:
    document = profiled(tmp_path, "hog_at_start.py", memory="64MiB")
    assert document["profile"]["oom_kills"] > 0
    ledger = document["profile"]["ledger"]
    assert ledger["unreclaimable_bytes"] > 0.7 * ledger["limit_bytes"]
    assert sizes(document)["heap made at start"] > 0.6 * ledger["limit_bytes"]
    assert_explained(document, 0.9)


def test_a_service_that_ends_at_once_has_one_or_the_reason(tmp_path: Path) -> None:
    ledger = profiled(tmp_path, "crash.py")["profile"]["ledger"]
    assert ledger["entries"] or ledger["reason"]


def test_a_child_of_another_language_stays_unexplained_by_name(tmp_path: Path) -> None:
    ledger = profiled(tmp_path, "with_a_child.py")["ledger"]
    unexplained = next(entry for entry in ledger if entry["part"] == "unexplained")
    assert unexplained["bytes"] > 20 * MIB
    assert "tail" in unexplained["note"]
    assert "memray did not record" in unexplained["note"]
