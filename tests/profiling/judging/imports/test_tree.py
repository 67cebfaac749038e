"""Recordings to trees, by value and by property: whose memory is whose, and what one statement alone loads."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.imports import recording
from profiling.judging.imports.lazy import putoffs
from profiling.judging.imports.recording import Process, parse
from profiling.judging.imports.tree import UNFINISHED, WORKER, Start, start

MIB = 2**20


class Tape:
    """Writes what the recorder would, one event after the other; memory is said in MiB."""

    def __init__(self, pid: int = 1, parent: int = 0, anon: int = 3, t: int = 0) -> None:
        self.t = t
        self.lines = [f"P\t{pid}\t{parent}\t{t}\t{anon * MIB}\t0\t3.11.7"]

    def begin(self, anon: int, name: str, by: str = "__main__", line: int = 1, thread: int = 1) -> None:
        place = f"{by}\t/app/{by}.py\t{line}"
        self._put("B", thread, anon, f"{name}\t{place}\t/app/{by}.py\t{line}\t{place}")

    def end(self, anon: int, name: str, error: str = "", thread: int = 1) -> None:
        self._put("E", thread, anon, f"{name}\t{error}")

    def says(self, body: str, line: int, name: str, *names: str, own: bool = True) -> None:
        self.lines.append(
            f"I\t{body}\t/app/{body}.py\t{line}\t/app/{body}.py\t{line}\t{'own' if own else ''}\t{name}\t{','.join(names)}"
        )

    def loads(self, name: str, by: str, line: int, before: int, after: int) -> None:
        self.says(by, line, name)
        self.begin(before, name, by, line)
        self.end(after, name)

    def _put(self, kind: str, thread: int, anon: int, rest: str) -> None:
        self.t += 1_000_000
        self.lines.append(f"{kind}\t{thread}\t{self.t}\t{anon * MIB}\t0\t{rest}")

    @property
    def process(self) -> Process:
        found = parse(self.lines)
        assert found is not None
        return found


def tree(*tapes: Tape) -> Start:
    return start([tape.process for tape in tapes])


def mib(found: Start) -> dict[str, tuple[int, int]]:
    """(self, cumulative) of each module in MiB."""
    return {name: (load.self_anon // MIB, load.anon // MIB) for name, load in found.loads.items()}


def test_nested_imports_are_taken_off_what_loads_them() -> None:
    tape = Tape()
    tape.begin(3, "a")
    tape.begin(5, "b", by="a")
    tape.begin(6, "c", by="b")
    tape.end(16, "c")
    tape.end(17, "b")
    tape.end(20, "a")
    found = tree(tape)
    assert mib(found) == {"a": (5, 17), "b": (2, 12), "c": (10, 10)}
    assert found.anon == 17 * MIB
    assert [load.name for load in found.roots] == ["a"]


def test_what_is_taken_outside_of_imports_is_no_imports() -> None:
    tape = Tape()
    tape.loads("a", "__main__", 1, before=50, after=51)
    tape.loads("b", "__main__", 2, before=90, after=92)
    assert mib(tree(tape)) == {"a": (1, 1), "b": (2, 2)}


def test_a_package_that_is_loaded_for_its_module_is_no_child_of_it() -> None:
    tape = Tape()
    tape.begin(3, "app")
    tape.begin(3, "a.b.c", by="app")
    tape.begin(3, "a.b", by="app")
    tape.begin(3, "a", by="app")
    tape.end(4, "a")
    tape.end(6, "a.b")
    tape.end(9, "a.b.c")
    tape.end(9, "app")
    found = tree(tape)
    assert mib(found) == {"app": (0, 6), "a.b.c": (3, 3), "a.b": (2, 2), "a": (1, 1)}
    assert {load.parent.name for load in found.loads.values() if load.parent} == {"app"}


def test_two_threads_share_what_they_took_and_nothing_counts_twice() -> None:
    tape = Tape()
    tape.begin(3, "a", thread=1)
    tape.begin(5, "b", thread=2)  # 2 MiB while only `a` was on
    tape.end(9, "a", thread=1)
    tape.end(10, "b", thread=2)
    found = tree(tape)
    assert mib(found) == {"a": (6, 6), "b": (1, 1)}
    assert found.anon == 7 * MIB


def test_what_did_not_end_is_marked_and_counts_so_far() -> None:
    tape = Tape()
    tape.begin(3, "app")
    tape.loads("a", "app", 1, before=4, after=14)
    tape.begin(15, "stuck", by="app", line=2)
    found = tree(tape)
    assert found.unfinished is found.loads["stuck"]
    assert found.loads["app"].error == UNFINISHED
    assert found.loads["a"].error is None
    assert found.anon == 12 * MIB


def test_a_module_that_fails_and_is_tried_again_is_one() -> None:
    tape = Tape()
    tape.begin(3, "a")
    tape.end(5, "a", "ImportError")
    tape.begin(5, "a")
    tape.end(9, "a")
    found = tree(tape)
    assert mib(found) == {"a": (6, 6)}
    assert found.loads["a"].error is None


def test_the_child_that_loaded_most_counts_and_its_parents() -> None:
    first = Tape(pid=1)
    first.loads("server", "__main__", 1, before=3, after=4)
    master = Tape(pid=2, parent=1, anon=4, t=10)
    master.loads("config", "__main__", 2, before=4, after=6)
    small, large = Tape(pid=3, parent=2, anon=6, t=20), Tape(pid=4, parent=2, anon=6, t=30)
    small.loads("app", "__main__", 3, before=6, after=7)
    large.loads("app", "__main__", 3, before=6, after=26)
    large.end(26, "begun before the fork")
    found = tree(first, master, small, large)
    assert mib(found) == {"server": (1, 1), "config": (2, 2), "app": (20, 20)}
    assert found.loads["app"].process == WORKER
    assert [process.pid for process in found.processes] == [1, 2, 4]
    assert found.recorded == 4


def test_nothing_recorded_is_an_empty_tree() -> None:
    assert start([]).anon == 0
    assert parse([]) is None
    assert parse(["B\t1\t2"]) is None


def test_torn_lines_and_noise_are_passed_over() -> None:
    tape = Tape()
    tape.loads("a", "__main__", 1, before=3, after=4)
    torn = [*tape.lines, "E\t1\t99", "B\t1\tx\ty\tz\ta", "\ufffd", ""]
    process = parse(torn)
    assert process is not None
    assert len(process.events) == 2


def test_files_of_forked_children_are_found_compressed_or_not(tmp_path: Path) -> None:
    first, child = Tape(pid=1), Tape(pid=7, parent=1, t=5)
    (tmp_path / "imports.tsv").write_text("\n".join(first.lines))
    (tmp_path / "imports.tsv.7.gz").write_bytes(gzip.compress("\n".join(child.lines).encode()))
    (tmp_path / "imports.tsv.other").write_text("P\tnonsense")
    assert [process.pid for process in recording.read(tmp_path / "imports.tsv")] == [1, 7]


names = st.sampled_from(["a", "b", "a.x", "a.x.y", "c", "d"])
steps = st.lists(st.tuples(st.booleans(), names, st.integers(-3, 20), st.integers(1, 2)), max_size=40)


@given(steps)
def test_selfs_add_up_to_what_the_events_within_imports_took(steps: Iterable[tuple[bool, str, int, int]]) -> None:
    tape, anon, within = Tape(), 3, 0
    active: dict[int, list[str]] = {1: [], 2: []}
    for begins, name, more, thread in steps:
        stack = active[thread]
        if begins and any(name in other for other in active.values()):
            continue
        if not begins and not stack:
            continue
        anon += more
        within += more if any(active.values()) else 0
        if begins:
            tape.begin(anon, name, thread=thread)
            stack.append(name)
        else:
            tape.end(anon, stack.pop(), thread=thread)
    found = tree(tape)
    assert found.anon == within * MIB
    assert sum(load.anon for load in found.roots) == found.anon
    for load in found.loads.values():
        assert load.anon == load.self_anon + sum(child.anon for child in load.children)


def saved(found: Start) -> dict[str, set[str]]:
    return {putoff.line.removeprefix("/app/"): set(putoff.alone) for putoff in putoffs(found)}


def test_a_module_that_two_import_is_saved_by_neither() -> None:
    tape = Tape()
    tape.says("__main__", 1, "a")
    tape.begin(3, "a")
    tape.loads("shared", "a", 1, before=3, after=13)
    tape.end(13, "a")
    tape.says("__main__", 2, "b")
    tape.begin(13, "b", line=2)
    tape.says("b", 1, "shared")  # it is there already: only the statement tells
    tape.end(15, "b")
    assert saved(tree(tape)) == {"__main__.py:1": {"a"}, "__main__.py:2": {"b"}}


def test_what_is_reached_through_one_statement_alone_is_all_saved() -> None:
    tape = Tape()
    tape.says("__main__", 1, "a")
    tape.begin(3, "a")
    tape.loads("b", "a", 5, before=3, after=13)
    tape.loads("c", "a", 6, before=13, after=14)
    tape.end(14, "a")
    assert saved(tree(tape)) == {"__main__.py:1": {"a", "b", "c"}, "a.py:5": {"b"}, "a.py:6": {"c"}}


def test_a_circle_keeps_nobody_alive() -> None:
    tape = Tape()
    tape.says("__main__", 1, "a")
    tape.begin(3, "a")
    tape.says("a", 1, "b")
    tape.begin(3, "b", by="a")
    tape.says("b", 1, "a")
    tape.end(5, "b")
    tape.end(6, "a")
    assert saved(tree(tape)) == {"__main__.py:1": {"a", "b"}, "a.py:1": {"b"}}


@pytest.mark.parametrize("names", [(), ("sub",)])
def test_a_submodule_needs_its_packages(names: tuple[str, ...]) -> None:
    """`import p.sub` and `from p import sub` alike, of which another module needs `p` alone."""
    tape = Tape()
    tape.says("__main__", 1, "p" if names else "p.sub", *names)
    tape.begin(3, "p")
    tape.end(4, "p")
    tape.begin(4, "p.sub")
    tape.end(9, "p.sub")
    tape.says("__main__", 2, "p")
    assert saved(tree(tape)) == {"__main__.py:1": {"p.sub"}}


def test_what_an_installed_package_imports_is_no_statement_of_the_programs() -> None:
    tape = Tape()
    tape.says("__main__", 1, "a")
    tape.begin(3, "a")
    tape.says("a", 1, "b", own=False)
    tape.begin(3, "b", by="a")
    tape.end(4, "b")
    tape.end(4, "a")
    assert set(saved(tree(tape))) == {"__main__.py:1"}
