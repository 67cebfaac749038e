"""OOM kills in containers: the kernel's log has the machine's pids, the captures have the container's."""

from __future__ import annotations

from pathlib import Path

from profiling.judging.autopsy import autopsy
from profiling.measuring import store
from profiling.measuring.memray_pass import RecordedPass, explain, record_pass
from profiling.measuring.sandboxes.containers.engine import Engine
from tests.containers.services import contained, opened
from tests.helpers import Recorder, plan


def test_each_killed_worker_is_told_by_the_end_of_its_records(any_engine: Engine, tmp_path: Path) -> None:
    made = plan(contained("respawning"), memory_mib=96, users=2, duration_s=8.0)
    with opened(any_engine) as sandbox:
        recorded = record_pass(made, sandbox, tmp_path / "pass", Recorder())
    assert isinstance(recorded, RecordedPass), recorded
    found = autopsy(store.load(tmp_path / "pass"), explain(recorded, source_lines=False))
    assert found is not None
    assert len(found.kills) >= 2
    log = recorded.result.kernel_log
    assert log is not None
    assert not log.own_pids
    # While a worker's memory is given back, the kernel may take the parent, too: it is small, and the last.
    parents = [kill for kill in found.kills if kill.capture and kill.capture.endswith("capture.bin")]
    workers = [kill for kill in found.kills if kill not in parents]
    captures = [kill.capture for kill in workers if kill.capture]
    assert len(set(captures)) == len(captures)
    assert len(captures) >= max(1, len(workers) / 2), "some may have been killed before they recorded much"
    assert parents in ([], list(found.kills[-1:]), list(found.kills[-2:-1]))
    for kill in workers:
        if kill.held:
            assert (kill.held[0].frame.file, kill.held[0].frame.function) == ("respawning.py", "answer")
    for kill in found.kills:
        if log.source is not None:
            assert kill.process is not None
            assert kill.process.name is not None
            assert kill.process.name.startswith("python")
