from __future__ import annotations

import base64
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.errors import DataError
from profiling.judging.ledger.account import Context, make_ledger
from profiling.judging.ledger.residency import NOTHING
from profiling.judging.ledger.snapshot import MappedProcess, MappedRange, Reading, Snapshot, load
from profiling.measuring.capture.replay import Alive
from profiling.measuring.mappings import EXCLUSIVE, PRESENT
from profiling.profiles import Frame, Ledger

MIB, PAGE = 2**20, 4096
HEAP = 0x5000_0000_0000
OWN = ("load", "/srv/app/app.py", 7)
LOADER = ("exec_module", "<frozen importlib._bootstrap_external>", 940)
TORCH = ("<module>", "/x/site-packages/torch/__init__.py", 1)
LIMIT = 256 * MIB


def mapping(
    start: int,
    pages: int,
    *,
    there: int | None = None,
    name: str = "",
    permissions: str = "rw-p",
    inode: int = 0,
    shared: int = 1,
) -> MappedRange:
    """A mapping whose first `there` pages are in memory, shared by so many processes."""
    there = pages if there is None else there
    state = PRESENT | (EXCLUSIVE if shared == 1 else 0)
    states = bytes([state] * there + [0] * (pages - there))
    size = there * PAGE
    return MappedRange(
        start=start,
        end=start + pages * PAGE,
        permissions=permissions,
        inode=inode,
        name=name,
        rss=size,
        pss=size // shared,
        private=size if shared == 1 else 0,
        anonymous=size,
        locked=0,
        pages=base64.b64encode(zlib.compress(states)).decode(),
    )


def process(*mappings: MappedRange, pid: int = 10, **more: object) -> MappedProcess:
    settings = {"parent": 1, "threads": 2, "page_tables": 40 * PAGE, "command": "python", "problem": "", **more}
    return MappedProcess(pid=pid, inner_pid=pid, mappings=mappings, **settings)  # type: ignore[arg-type]


def snapshot(
    anon: int,
    *processes: MappedProcess,
    kernel: int = MIB,
    shmem: int = 0,
    version: int = 1,
    stat: dict[str, int] | None = None,
    sock: int = 0,
) -> Snapshot:
    reclaimable = (stat or {}).get("slab_reclaimable", 0)
    reading = Reading(
        charged=anon + kernel + shmem + 20 * MIB,
        anon=anon,
        file=20 * MIB + shmem,
        shmem=shmem,
        kernel=kernel,
        unreclaimable=anon + shmem + kernel - reclaimable + sock,
    )
    return Snapshot(
        cgroup_version=version,
        moment_ns=5_000_000_000,
        wall_ns=5_000_000_000,
        took_ns=1000,
        before=reading,
        after=reading,
        stat=stat or {"total_mapped_file": 15 * MIB},
        page_bytes=PAGE,
        processes=processes,
    )


def alive(
    *blocks: tuple[int, int, list[tuple[str, str, int]]], once: list[tuple[int, int]] | None = None, late: bool = False
) -> Alive:
    """Blocks as (start, end, stack)."""
    handed = np.array(once or [], np.int64).reshape(-1, 2)
    return Alive(
        starts=np.array([block[0] for block in blocks], np.int64),
        ends=np.array([block[1] for block in blocks], np.int64),
        mapped=np.zeros(len(blocks), np.bool_),
        soon=np.zeros(len(blocks), np.bool_),
        late=np.full(len(blocks), late),
        site=np.arange(len(blocks)),
        stacks=tuple(tuple(block[2]) for block in blocks),
        once_starts=handed[:, 0],
        once_ends=handed[:, 1],
        gap_starts=NOTHING[0],
        gap_ends=NOTHING[0],
        gap_after=NOTHING[0],
        gap_before=NOTHING[0],
    )


def context(*, cost: int = 0, before: tuple[int, int] | None = None) -> Context:
    table = np.array([before] if before else [], np.int64).reshape(-1, 2)

    def blamed(stack: object) -> Frame:
        own = [frame for frame in stack if "site-packages" not in frame[1]]  # type: ignore[attr-defined]
        return (
            Frame(function=own[0][0], file=own[0][1], line=own[0][2]) if own else Frame(function="?", file="", line=0)
        )

    return Context(LIMIT, None, 0, cost, (table[:, 0], table[:, 1]), blamed)


def sizes(ledger: Ledger) -> dict[str, int]:
    return {entry.part: entry.bytes for entry in ledger.entries}


def test_every_byte_of_a_heap_stands_in_one_place() -> None:
    """16 pages: four before the recording, four alive, four given back, two between, two that nobody knows."""
    heap = mapping(HEAP, 16, name="[heap]")
    at = [HEAP + page * PAGE for page in range(17)]
    block = alive((at[4], at[8], [OWN]), once=[(at[4], at[12])])
    gapped = with_gap(block, stacks=((OWN,), (TORCH, LOADER, OWN)), gap=(at[12], at[14], 1, 1))
    seen = snapshot(16 * PAGE, process(heap), kernel=50 * PAGE)
    ledger = make_ledger(seen, {10: gapped}, context(cost=3 * PAGE, before=(at[0], at[4])))
    assert sizes(ledger) == {
        "interpreter": PAGE,
        "memray itself": 3 * PAGE,
        "heap made at start": 4 * PAGE,
        "import torch": 2 * PAGE,
        "allocator-retained": 4 * PAGE,
        "page tables": 40 * PAGE,
        "kernel stacks": 8 * PAGE,
        "other kernel memory": 2 * PAGE,
        "unexplained": 2 * PAGE,
        "page cache, mapped files": 15 * MIB,
        "page cache, other": 5 * MIB,
        "free": LIMIT - 20 * MIB - 66 * PAGE,
    }
    heap_entry = next(entry for entry in ledger.entries if entry.part == "heap made at start")
    assert [(line.frame.line, line.bytes) for line in heap_entry.lines] == [(7, 4 * PAGE)]
    assert "unseen by memray" in next(entry.note for entry in ledger.entries if entry.part == "import torch")
    assert ledger.unexplained_bytes == 2 * PAGE


def with_gap(block: Alive, *, stacks: tuple, gap: tuple[int, int, int, int]) -> Alive:
    import dataclasses

    start, end, after, before = (np.array([value], np.int64) for value in gap)
    return dataclasses.replace(
        block, stacks=stacks, gap_starts=start, gap_ends=end, gap_after=after, gap_before=before,
    )  # fmt: skip


def test_memory_that_was_never_touched_is_not_counted() -> None:
    area = mapping(HEAP, 100, there=10)
    ledger = make_ledger(snapshot(10 * PAGE, process(area)), {10: alive((HEAP, HEAP + 100 * PAGE, [OWN]))}, context())
    assert sizes(ledger)["heap made at start"] == 10 * PAGE


def test_a_page_that_two_processes_share_counts_once() -> None:
    processes = [process(mapping(HEAP, 10, shared=2), pid=pid) for pid in (10, 11)]
    block = alive((HEAP, HEAP + 10 * PAGE, [OWN]))
    ledger = make_ledger(snapshot(10 * PAGE, *processes), {10: block, 11: block}, context())
    assert sizes(ledger)["heap made at start"] == 10 * PAGE
    assert ledger.unexplained_bytes == 0


def test_stacks_lie_above_a_guard_page() -> None:
    guard = mapping(HEAP, 1, there=0, permissions="---p")
    stack = mapping(HEAP + PAGE, 3000, there=3)
    main = mapping(HEAP + 9000 * PAGE, 5, there=2, name="[stack]")
    far = mapping(HEAP + 7000 * PAGE, 5)
    ledger = make_ledger(snapshot(10 * PAGE, process(guard, stack, far, main)), {10: alive()}, context())
    assert sizes(ledger)["thread stacks"] == 5 * PAGE
    assert ledger.unexplained_bytes == 5 * PAGE


def test_changed_pages_of_a_file_bear_its_name() -> None:
    library = mapping(HEAP, 4, there=3, name="/usr/lib/libbig.so", inode=99)
    ledger = make_ledger(snapshot(3 * PAGE, process(library)), {10: alive()}, context())
    entry = next(entry for entry in ledger.entries if entry.group == "files")
    assert entry.bytes == 3 * PAGE
    assert "libbig.so" in entry.note


def test_a_process_that_memray_did_not_record_stays_unexplained() -> None:
    other = process(mapping(HEAP, 40), pid=12, command="node")
    ledger = make_ledger(snapshot(40 * PAGE, other), {}, context())
    assert ledger.unexplained_bytes == 40 * PAGE
    assert "node (12), which memray did not record" in ledger.entries[-4].note


def test_who_may_not_be_looked_at_is_named() -> None:
    ledger = make_ledger(snapshot(MIB, process(pid=12, command="other", problem="Permission denied")), {}, context())
    assert ledger.unexplained_bytes == MIB
    assert "other (12) may not be looked at" in next(e.note for e in ledger.entries if e.part == "unexplained")


def test_shared_memory_and_the_kernels_rows_of_v2() -> None:
    stat = {
        "pagetables": 3 * PAGE,
        "kernel_stack": 2 * PAGE,
        "sock": PAGE,
        "slab_reclaimable": 5 * PAGE,
        "file_mapped": MIB,
    }
    seen = snapshot(0, process(), kernel=20 * PAGE, shmem=7 * PAGE, version=2, stat=stat, sock=PAGE)
    found = sizes(make_ledger(seen, {}, context()))
    assert (found["page tables"], found["kernel stacks"], found["sockets"]) == (3 * PAGE, 2 * PAGE, PAGE)
    assert found["other kernel memory"] == 10 * PAGE
    assert found["shared memory"] == 7 * PAGE
    assert found["unexplained"] == 0


@given(
    st.integers(0, 300 * MIB),
    st.integers(0, 40),
    st.integers(0, 20 * MIB),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=6),
    st.integers(0, 30),
)
def test_the_entries_sum_up_to_the_limit(
    anon: int, pages: int, kernel: int, blocks: list[tuple[int, int]], once: int
) -> None:
    spans = [(HEAP + start * PAGE, HEAP + (start + length) * PAGE, [OWN]) for start, length in blocks]
    seen = snapshot(anon, process(mapping(HEAP, 60, there=pages)), kernel=kernel)
    ledger = make_ledger(seen, {10: alive(*spans, once=[(HEAP, HEAP + once * PAGE)])}, context(cost=PAGE))
    used = [entry.bytes for entry in ledger.entries if entry.group != "headroom"]
    assert sum(used) == ledger.unreclaimable_bytes == anon + kernel
    assert sum(entry.bytes for entry in ledger.entries) == LIMIT
    assert all(entry.bytes >= 0 for entry in ledger.entries if entry.group not in ("unexplained", "headroom"))


def test_no_snapshot_and_a_broken_one_say_why(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    with pytest.raises(DataError, match="no snapshot of its memory was taken"):
        load(path)
    path.write_text('{"problem": "ValueError: too old"}')
    with pytest.raises(DataError, match="could be taken: ValueError: too old"):
        load(path)
    path.write_text('{"cgroup_version": 1')
    with pytest.raises(DataError, match="could be taken"):
        load(path)
    path.write_bytes(msgspec.json.encode(snapshot(1, process(mapping(HEAP, 2)))))
    assert load(path).processes[0].mappings[0].weights(PAGE).tolist() == [1.0, 1.0]
