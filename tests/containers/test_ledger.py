"""The ledger of a pass in a container, whose processes know themselves by other pids than this machine does."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiling.judging.ledger.recorded import ledger_of
from profiling.measuring.capture import captures
from profiling.measuring.memray_pass import RecordedPass, record_pass
from profiling.measuring.sandboxes.containers.engine import Engine
from tests.containers.services import contained, opened
from tests.helpers import MIB, Recorder, plan


def test_a_planted_allocation_in_a_container(docker_engine: Engine, tmp_path: Path) -> None:
    with opened(docker_engine) as sandbox:
        target = contained("planted", PLANTED_MIB="40")
        recorded = record_pass(plan(target, memory_mib=160), sandbox, tmp_path / "pass", Recorder())
    assert isinstance(recorded, RecordedPass), recorded
    assert captures(recorded.capture)
    ledger = ledger_of(recorded.directory)
    entry = next(entry for entry in ledger.entries if entry.part == "heap made at start")
    line = max(entry.lines, key=lambda line: line.bytes)
    assert line.frame.function == "plant"
    assert line.bytes == pytest.approx(40 * MIB, rel=0.02)
    assert abs(ledger.unexplained_bytes) < 0.05 * ledger.unreclaimable_bytes
