"""One start's recordings to the tree of its imports: what each module holds itself, and with all below it.

Between two events of a process its memory changes by so much; that belongs to the import which is innermost in the thread
whose event ends the time between, else to the innermost of another thread. So nothing counts twice, and what the
program takes outside of imports counts for no import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from profiling.judging.imports.recording import Begin, End, Place, Process, Reading

UNFINISHED = "unfinished"
MAIN, WORKER = "main", "worker"


@dataclass(slots=True, eq=False)
class Load:
    """A module that was loaded, or was to be."""

    name: str
    parent: Load | None
    importer: Place
    own: Place
    body: Place
    process: str = MAIN
    error: str | None = UNFINISHED
    self_anon: int = 0
    self_file: int = 0
    self_ns: int = 0
    children: list[Load] = field(default_factory=list)
    anon: int = 0
    """With all below it, once `_add_up` has been there; likewise `file` and `ns`."""
    file: int = 0
    ns: int = 0


@dataclass(slots=True)
class Start:
    """What one start loaded: by module, in the order of the first request."""

    loads: dict[str, Load]
    processes: list[Process]
    """The line of processes that `loads` is from: the first one, and down to the child that loaded most."""
    recorded: int
    """How many processes recorded anything at all."""
    own: frozenset[str]
    """The modules that are the program's own code, as far as they import anything."""

    @property
    def roots(self) -> Iterator[Load]:
        return (load for load in self.loads.values() if load.parent is None)

    @property
    def anon(self) -> int:
        return sum(load.self_anon for load in self.loads.values())

    @property
    def file(self) -> int:
        return sum(load.self_file for load in self.loads.values())

    @property
    def ns(self) -> int:
        return sum(load.self_ns for load in self.loads.values())

    @property
    def unfinished(self) -> Load | None:
        """The innermost import that was on when the recording ended."""
        return next((load for load in reversed(self.loads.values()) if load.error == UNFINISHED), None)


def start(processes: Sequence[Process]) -> Start:
    """The tree of one start; empty if nothing was recorded.

    Of several forked children the line down to the one whose imports took most counts: workers import the same, and each
    pays for itself.
    """
    loaded = [_loads(process) for process in processes]
    line = _line(processes, [sum(load.self_anon for load in loads) for loads in loaded])
    merged: dict[str, Load] = {}
    for number in line:
        for load in loaded[number]:
            load.process = MAIN if number == 0 else WORKER
            _merge(merged, load)
    for load in merged.values():
        if load.parent is not None:
            load.parent.children.append(load)
    for load in merged.values():
        if load.parent is None:
            _add_up(load)
    used = [processes[number] for number in line]
    return Start(merged, used, sum(bool(loads) for loads in loaded), _own(used))


def _own(processes: Sequence[Process]) -> frozenset[str]:
    bodies = {
        statement.body.module
        for process in processes
        for statement in process.statements
        if statement.own and statement.at.file == statement.body.file
    }
    return frozenset(bodies)


def _merge(merged: dict[str, Load], load: Load) -> None:
    """Take `load` in. A module that is loaded twice (failed, then not; thrown away, then asked for again) is one."""
    if load.parent is not None:
        load.parent = merged.get(load.parent.name, load.parent)
    known = merged.setdefault(load.name, load)
    if known is load:
        return
    known.self_anon += load.self_anon
    known.self_file += load.self_file
    known.self_ns += load.self_ns
    known.error = load.error


def _line(processes: Sequence[Process], anon: Sequence[int]) -> list[int]:
    """The numbers of the processes from the first down to the descendant with most below the first."""
    if not processes:
        return []
    by_pid = {process.pid: number for number, process in enumerate(processes)}
    lines = [[0]]
    for number in range(1, len(processes)):
        line, at = [number], by_pid.get(processes[number].parent, 0)
        while at != 0 and at not in line:
            line.insert(0, at)
            at = by_pid.get(processes[at].parent, 0)
        lines.append([0, *line])
    return max(lines, key=lambda line: sum(anon[number] for number in line))


def _loads(process: Process) -> list[Load]:
    """The loads of one process in the order in which they began, with what each holds itself."""
    loads: list[Load] = []
    active: dict[str, list[Load]] = {}
    last = process.begin
    for event in process.events:
        owner = _innermost(active, event.thread)
        if owner is not None:
            _charge(owner, last, event.at)
        last = event.at
        stack = active.setdefault(event.thread, [])
        if isinstance(event, Begin):
            load = Load(event.name, _above(stack, event.name), event.importer, event.own, event.body)
            loads.append(load)
            stack.append(load)
        else:
            _end(stack, event)
    return loads


def _innermost(active: dict[str, list[Load]], thread: str) -> Load | None:
    if active.get(thread):
        return active[thread][-1]
    return next((stack[-1] for stack in reversed(active.values()) if stack), None)


def _charge(owner: Load, before: Reading, after: Reading) -> None:
    owner.self_anon += after.anon - before.anon
    owner.self_file += after.file - before.file
    owner.self_ns += after.t_ns - before.t_ns


def _above(stack: Sequence[Load], name: str) -> Load | None:
    """What a load stands below in the tree. `import a.b` loads `a` first, within the load of `a.b`; it is none of its
    children, but was asked for by whoever asked for `a.b`."""
    for load in reversed(stack):
        if not load.name.startswith(f"{name}."):
            return load
    return None


def _end(stack: list[Load], event: End) -> None:
    """A load that is not on began in the parent process, before the fork."""
    at = next((at for at in reversed(range(len(stack))) if stack[at].name == event.name), None)
    if at is not None:
        stack[at].error = event.error or None
        del stack[at:]


def _add_up(root: Load) -> None:
    """Sums of the whole tree below `root`; without recursion, as imports can be nested deeper than Python's stack."""
    order, pending = [], [root]
    while pending:
        load = pending.pop()
        order.append(load)
        pending += load.children
    for load in reversed(order):
        load.anon = load.self_anon + sum(child.anon for child in load.children)
        load.file = load.self_file + sum(child.file for child in load.children)
        load.ns = load.self_ns + sum(child.ns for child in load.children)
