"""From a pass on disk to its ledger."""

from __future__ import annotations

import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from profiling.errors import DataError
from profiling.judging.ledger import snapshot as snapshots
from profiling.judging.ledger.account import Context, make_ledger
from profiling.judging.ledger.apart import ledger_or_reason
from profiling.judging.ledger.residency import NOTHING, Ranges
from profiling.measuring import capture, store
from profiling.measuring.memray_pass import RecordedPass, explain
from profiling.measuring.snapshots import SNAPSHOT_FILE
from profiling.profiles import Ledger, Profile
from profiling.values import RunResult

_HEAP = "[heap]"


def explain_with_ledger(recorded: RecordedPass, *, source_lines: bool, stop: threading.Event | None = None) -> Profile:
    """What `memray_pass.explain` says of a pass, and its ledger, which is made while the flame graphs are drawn."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        ledger = pool.submit(ledger_or_reason, recorded.directory, stop)
        profile = explain(recorded, source_lines=source_lines, stop=stop)
        return msgspec.structs.replace(profile, ledger=ledger.result())


def ledger_of(directory: Path) -> Ledger:
    """The ledger of a memray pass. Raises DataError with the reason why there is none."""
    stored = store.load(directory)
    result = stored.result
    front = stored.parts[0] if stored.parts else stored
    limits = result.target.service.limits or front.result.limits
    if limits is None or result.capture is None:
        raise DataError("it is no memray pass", "name one of `profile` or `compare`")
    snapshot = snapshots.load(front.directory / SNAPSHOT_FILE)
    first = directory / result.capture
    from profiling.measuring.capture import reading, replay  # memray itself: only where there is a pass

    alive: dict[int, replay.Alive] = {}
    problem = ""
    try:
        alive = replay.replay(
            capture.captures(first),
            [process.inner_pid for process in snapshot.processes],
            _parents(snapshot),
            _heaps(snapshot),
            snapshot.wall_ns / 1e6,
            _ready_ms(result, snapshot),
        )
    except DataError as error:
        problem = error.message
    samples = front.samples
    code = reading.OwnCode(Path(result.target.service.directory), (Path(result.target.service.directory),))
    context = Context(
        limit_bytes=limits.memory_bytes,
        peak_bytes=int(samples["unreclaimable"].max()) if len(samples) else None,
        start_ns=result.start_ns,
        cost_bytes=result.capture_cost_bytes or 0,
        before=_before(Path(f"{first}.maps")),
        blamed=code.blamed,
    )
    try:
        return make_ledger(snapshot, alive, context, problem)
    except (ValueError, zlib.error) as error:  # pages that are not what they should be
        raise DataError(f"the snapshot of its memory is damaged: {error}", "make the run again") from error


def _parents(snapshot: snapshots.Snapshot) -> dict[int, int]:
    """The parent of each process, by the pids that they know themselves by."""
    inner = {process.pid: process.inner_pid for process in snapshot.processes}
    return {process.inner_pid: inner[process.parent] for process in snapshot.processes if process.parent in inner}


def _heaps(snapshot: snapshots.Snapshot) -> dict[int, tuple[int, int]]:
    found = {}
    for process in snapshot.processes:
        parts = [mapping for mapping in process.mappings if mapping.name == _HEAP]
        if parts:
            found[process.inner_pid] = (min(part.start for part in parts), max(part.end for part in parts))
    return found


def _ready_ms(result: RunResult, snapshot: snapshots.Snapshot) -> float | None:
    if result.ready_ns is None:
        return None
    return (result.ready_ns + snapshot.wall_ns - snapshot.moment_ns) / 1e6


def _before(path: Path) -> Ranges:
    """The anonymous memory that was mapped when the recording began; nothing where that was not written down."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return NOTHING
    found = []
    for line in lines:
        # proc_pid_maps(5): range permissions offset device inode path
        words = line.split(maxsplit=5)
        if len(words) >= 5 and words[4] == "0" and words[1].startswith("rw") and words[5:] in ([], [_HEAP]):
            found.append([int(word, 16) for word in words[0].split("-")])
    table = np.array(sorted(found), np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
