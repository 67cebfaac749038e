"""Puts a snapshot and what the captures say was alive at its moment together into a ledger that sums up. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from profiling.judging.ledger import sites
from profiling.judging.ledger.residency import NOTHING, Ranges, Residency, beyond, clipped, union
from profiling.judging.ledger.snapshot import MappedProcess, MappedRange, Snapshot
from profiling.profiles import Frame, Ledger, LedgerEntry, LedgerLine

if TYPE_CHECKING:
    from profiling.measuring.capture.replay import Alive  # memray comes along with it

STACK_BYTES = 8 * 2**20
"""The default size of a thread's stack where nobody said otherwise: RLIMIT_STACK."""
KERNEL_STACK_BYTES = 16 * 1024
"""Of each thread: THREAD_SIZE on x86-64 and arm64. v2 counts them, v1 does not say."""
_SMALL = 0.004
"""Imports below this share of the whole stand together."""
_LINES = 8
_LEAST_LINE = 0.002
_BLAMED = 4000
"""For so many of the largest stacks of each process the line that answers is looked for; the rest are crumbs."""

INTERPRETER, MEMRAY, OTHER_IMPORTS = "interpreter", "memray itself", "other imports"
RETAINED, STACKS = "allocator-retained", "thread stacks"
FILES, SHARED, LOCKED = "file mappings, written to", "shared memory", "locked file pages"
TABLES, KERNEL_STACKS, SOCKETS, KERNEL = "page tables", "kernel stacks", "sockets", "other kernel memory"
UNEXPLAINED = "unexplained"
MAPPED_CACHE, CACHE, FREE = "page cache, mapped files", "page cache, other", "free"
NOTES = {
    INTERPRETER: "what the first process had before memray recorded anything, less memray itself",
    MEMRAY: "measured in an empty program; the limit was raised by as much",
    RETAINED: "in places that malloc once handed out and that were given back to it since",
    STACKS: "the main thread's, and what lies above a guard page",
    FILES: "pages of libraries and other files that a process has changed, so that it has copies of its own",
    SHARED: "tmpfs files such as those in /dev/shm, memfds and shared anonymous memory",
    LOCKED: "mlock: the kernel may not take them",
    CACHE: "the kernel takes it back when somebody needs it",
    MAPPED_CACHE: "code of libraries and files that a process has mapped; the kernel takes it back when somebody needs it",
    FREE: "not charged to the limit at that moment",
}
GROUPS = (
    "interpreter", "imports", "model", "heap", "requests", "native", "allocator", "files", "shared", "stacks", "memray",
    "kernel", "unexplained", "headroom",
)  # fmt: skip
"""The groups of entries in the order in which they stand."""
_SPOKEN = {
    sites.START: "heap made at start",
    sites.REQUESTS: "heap made since ready",
    sites.NATIVE: "native threads' heap",
}
_GROUPS = {
    sites.IMPORTS: "imports",
    sites.MODEL: "model",
    sites.START: "heap",
    sites.REQUESTS: "requests",
    sites.NATIVE: "native",
}


@dataclass(slots=True)
class _Part:
    """An entry in the making."""

    group: str
    bytes: float = 0.0
    unseen: float = 0.0
    """The part that memray did not record, and that other evidence names."""
    lines: dict[Frame, float] = field(default_factory=lambda: defaultdict(float))
    names: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Files, for what belongs to files."""


_Parts = dict[str, _Part]


@dataclass(frozen=True, slots=True)
class Context:
    """What else is known of the pass."""

    limit_bytes: int
    peak_bytes: int | None
    """The highest unreclaimable memory of the pass, by the sampler."""
    start_ns: int
    cost_bytes: int
    """What memray costs in an empty program."""
    before: Ranges
    """The memory that the first process had mapped when the recording began."""
    blamed: Callable[[sites.Stack], Frame]
    """The line that answers for a stack."""


def make_ledger(snapshot: Snapshot, alive: Mapping[int, Alive], context: Context, problem: str = "") -> Ledger:
    """The ledger of a snapshot. `alive`: what processes had alive at its moment, by the pid that they know themselves by.

    The entries sum up to the limit: those outside the group `headroom` to the unreclaimable memory, with what nothing
    accounts for among them as `unexplained`. Below zero that means that memory changed while the snapshot was taken.
    `problem`: why captures could not be used, if so.
    """
    parts: _Parts = {}
    unseen: dict[str, float] = defaultdict(float)
    before_recording = 0.0
    for process in snapshot.processes:
        recorded = alive.get(process.inner_pid)
        before_recording += _process(process, recorded, snapshot.page_bytes, context, parts, unseen)
    own = min(context.cost_bytes, before_recording)
    _add(parts, INTERPRETER, "interpreter", before_recording - own)
    _add(parts, MEMRAY, "memray", own)
    unreclaimable = _middle(snapshot, "unreclaimable")
    _kernel(snapshot, parts, unreclaimable)
    explained = [_entry(name, part, unreclaimable, context) for name, part in _gathered(parts, unreclaimable).items()]
    explained = [entry for entry in explained if entry.bytes]
    explained.sort(key=lambda entry: (GROUPS.index(entry.group), -entry.bytes))
    rest = unreclaimable - sum(entry.bytes for entry in explained)
    return Ledger(
        entries=(
            *explained,
            LedgerEntry(part=UNEXPLAINED, bytes=rest, group="unexplained", note=_why(rest, unseen, snapshot)),
            *_headroom(snapshot, unreclaimable, context.limit_bytes),
        ),
        limit_bytes=context.limit_bytes,
        unreclaimable_bytes=unreclaimable,
        unexplained_bytes=rest,
        peak_bytes=context.peak_bytes,
        at_s=(snapshot.moment_ns - context.start_ns) / 1e9,
        changed_bytes=abs(snapshot.after.unreclaimable - snapshot.before.unreclaimable),
        processes=len(snapshot.processes),
        reason=problem,
    )


def _add(parts: _Parts, name: str, group: str, size: float) -> _Part:
    part = parts.setdefault(name, _Part(group))
    part.bytes += size
    return part


def _process(
    process: MappedProcess,
    recorded: Alive | None,
    page: int,
    context: Context,
    parts: _Parts,
    unseen: dict[str, float],
) -> float:
    """Add what one process holds; answers with what it had before anything was recorded. What nothing names goes to `unseen`."""
    heap: list[MappedRange] = []
    who = f"{process.command} ({process.pid})"
    for mapping in process.mappings:
        size = mapping.anonymous_share_bytes(page)
        if not size:
            continue
        if mapping.inode:
            _add(parts, FILES, "files", size).names[mapping.name] += size
        elif mapping.name == "[stack]":
            _add(parts, STACKS, "stacks", size)
        elif mapping.pages is None:
            unseen[f"reserved memory of {who}"] += size
        else:
            heap.append(mapping)
    resident = Residency(((mapping.start, mapping.weights(page)) for mapping in heap), page)
    stacks = _ranges(process.stacks(page, STACK_BYTES))
    if recorded is None:
        of_stacks = float(beyond(resident, stacks, NOTHING).sum())
        _add(parts, STACKS, "stacks", of_stacks)
        unseen[f"{who}, which memray did not record"] += resident.total - of_stacks
        return 0.0
    return _heap(resident, stacks, recorded, context, parts, unseen)


def _heap(
    resident: Residency, stacks: Ranges, alive: Alive, context: Context, parts: _Parts, unseen: dict[str, float]
) -> float:
    """Every resident byte of a recorded process once: alive from malloc, mapped by the program, a thread's stack, given back,
    there before the recording, or between two recorded allocations."""
    order = np.argsort(alive.starts, kind="stable")
    starts, ends, mapped, soon = alive.starts[order], alive.ends[order], alive.mapped[order], alive.soon[order]
    key = alive.site[order] * 2 + alive.late[order]
    taken = NOTHING
    for of_kind in (~mapped & ~soon, mapped, soon):
        ranges = clipped((starts[of_kind], ends[of_kind]))
        sizes = beyond(resident, ranges, taken)
        sums = np.bincount(key[of_kind], weights=sizes)
        for rank, at in enumerate(np.argsort(-sums)):
            if sums[at] <= 0:
                break
            _place(alive.stacks[at // 2], bool(at % 2), float(sums[at]), context, parts, blamed=rank < _BLAMED)
        taken = union(taken, ranges)
    _add(parts, STACKS, "stacks", float(beyond(resident, stacks, taken).sum()))
    taken = union(taken, stacks)
    once = (alive.once_starts, alive.once_ends)
    given_back = union(once)
    _add(parts, RETAINED, "allocator", float(beyond(resident, given_back, taken).sum()))
    taken = union(taken, given_back)
    before = float(beyond(resident, union(context.before), taken).sum())
    taken = union(taken, context.before)
    gaps = (alive.gap_starts, alive.gap_ends)
    between = 0.0
    for size, after, upper in zip(beyond(resident, gaps, taken), alive.gap_after, alive.gap_before, strict=True):
        if size <= 0 or after < 0:
            continue
        stack = sites.common(alive.stacks[after], alive.stacks[upper])
        if sites.purpose(stack, late=False).kind == sites.IMPORTS:
            _place(stack, False, float(size), context, parts, unseen=True)
            between += float(size)
    unseen["never seen by memray"] += resident.total - float(resident.within(taken).sum()) - between
    return before


def _place(
    stack: sites.Stack,
    late: bool,
    size: float,
    context: Context,
    parts: _Parts,
    *,
    blamed: bool = True,
    unseen: bool = False,
) -> None:
    """Add memory of one stack to the part that it was for."""
    found = sites.purpose(stack, late=late)
    if found.kind == sites.IMPORTS:
        name = f"import {found.name}" if found.name else OTHER_IMPORTS
    elif found.kind == sites.MODEL:
        name = f"model ({found.name}), loaded {'since ready' if late else 'at start'}"
    else:
        name = _SPOKEN[found.kind]
    part = _add(parts, name, _GROUPS[found.kind], size)
    if unseen:
        part.unseen += size
    if blamed:
        part.lines[context.blamed(stack)] += size


def _ranges(pairs: Sequence[tuple[int, int]]) -> Ranges:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _middle(snapshot: Snapshot, name: str) -> int:
    """A reading in the middle of the time that the snapshot took."""
    before, after = getattr(snapshot.before, name), getattr(snapshot.after, name)
    return int(before + after) // 2


def _kernel(snapshot: Snapshot, parts: _Parts, unreclaimable: int) -> None:
    """What the cgroup counts beside anonymous memory. Rows of v2's memory.stat, and what v1 has in their place."""
    stat = snapshot.stat
    shmem, kernel, anon = (_middle(snapshot, name) for name in ("shmem", "kernel", "anon"))
    _add(parts, SHARED, "shared", shmem)
    for process in snapshot.processes:
        for mapping in process.mappings:
            if mapping.name.startswith(("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero")):  # noqa: S108
                parts[SHARED].names[mapping.name] += mapping.pss
    threads = sum(process.threads for process in snapshot.processes)
    if snapshot.cgroup_version == 1:
        sockets, slab = 0, 0
        tables = sum(process.page_tables for process in snapshot.processes)
        stacks = threads * KERNEL_STACK_BYTES
    else:
        sockets, slab = stat.get("sock", 0), stat.get("slab_reclaimable", 0)
        tables, stacks = stat.get("pagetables", 0), stat.get("kernel_stack", 0)
    counted = max(0, kernel - slab)
    tables = min(tables, counted)
    stacks = min(stacks, counted - tables)
    _add(parts, TABLES, "kernel", tables)
    _add(parts, KERNEL_STACKS, "kernel", stacks)
    _add(parts, SOCKETS, "kernel", sockets)
    _add(parts, KERNEL, "kernel", counted - tables - stacks)
    _add(parts, LOCKED, "files", max(0, unreclaimable - anon - shmem - counted - sockets))


def _gathered(parts: _Parts, unreclaimable: int) -> _Parts:
    """The parts, small imports as one."""
    gathered: _Parts = {}
    for name, part in parts.items():
        small = part.group == "imports" and part.bytes < _SMALL * unreclaimable
        into = gathered.setdefault(OTHER_IMPORTS if small else name, _Part(part.group))
        into.bytes += part.bytes
        into.unseen += part.unseen
        for frame, size in part.lines.items():
            into.lines[frame] += size
        for file, size in part.names.items():
            into.names[file] += size
    return gathered


def _entry(name: str, part: _Part, unreclaimable: int, context: Context) -> LedgerEntry:
    least = _LEAST_LINE * unreclaimable
    largest = sorted(part.lines.items(), key=lambda item: -item[1])[:_LINES]
    note = NOTES.get(name, "")
    if part.unseen >= least:
        note = (
            f"{_mib(part.unseen)} of it unseen by memray: the heap grew by that much between two allocations of this import, as it"
            " does when a native library initialises itself"
        )
    if part.names:
        most = sorted(part.names.items(), key=lambda item: -item[1])[:3]
        note += ": " + ", ".join(f"{_file_name(file)} {_mib(size)}" for file, size in most)
    return LedgerEntry(
        part=name,
        bytes=round(part.bytes),
        group=part.group,
        lines=tuple(LedgerLine(frame=frame, bytes=round(size)) for frame, size in largest if size >= least),
        note=note,
    )


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def _why(rest: int, unseen: Mapping[str, float], snapshot: Snapshot) -> str:
    """What is known of the unexplained part."""
    known = [
        f"{_mib(size)} {name}" for name, size in sorted(unseen.items(), key=lambda item: -item[1]) if size >= 2**16
    ]
    known += [
        f"{process.command} ({process.pid}) may not be looked at: {process.problem}"
        for process in snapshot.processes
        if process.problem
    ]
    changed = abs(snapshot.after.unreclaimable - snapshot.before.unreclaimable)
    beyond_known = rest - sum(unseen.values())
    if abs(beyond_known) >= 2**16:
        known.append(f"{_mib(beyond_known)} between the cgroup's count and its processes'")
    if changed >= 2**16:
        known.append(f"memory changed by {_mib(changed)} while the snapshot was taken")
    return "; ".join(known)


def _headroom(snapshot: Snapshot, unreclaimable: int, limit_bytes: int) -> tuple[LedgerEntry, ...]:
    """From the unreclaimable memory up to the limit."""
    stat = snapshot.stat
    room = max(0, limit_bytes - unreclaimable)
    cache = min(room, max(0, _middle(snapshot, "charged") - unreclaimable))
    mapped = stat.get("total_mapped_file", stat.get("file_mapped", 0)) - _middle(snapshot, "shmem")
    mapped = min(cache, max(0, mapped))
    sizes = {MAPPED_CACHE: mapped, CACHE: cache - mapped, FREE: limit_bytes - unreclaimable - cache}
    return tuple(LedgerEntry(part=name, bytes=size, group="headroom", note=NOTES[name]) for name, size in sizes.items())
