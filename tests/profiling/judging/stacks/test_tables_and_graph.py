from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.flame import FlameGraph
from profiling.judging.stacks import graph as graphs
from profiling.judging.stacks.graph import flame_graph
from profiling.judging.stacks.naming import compared, merged
from profiling.judging.stacks.tables import difference
from profiling.stacks import Stacks
from reports.diff.folded import render_folded
from tests.profiling.judging.stacks.build import run, stacks

OWN = ("load", "/srv/app.py", 31)
ENTRY = ("<module>", "/srv/app.py", 3)
SERVER = ("run", "/v/lib/python3.11/site-packages/gunicorn/arbiter.py", 200)
TORCH = ("load", "/v/lib/python3.11/site-packages/torch/serialization.py", 900)
JSON = ("decode", "/usr/lib/python3.11/json/decoder.py", 337)
NOBODY = ("(no Python frame)", "", 0)

FRAMES = st.sampled_from([OWN, ENTRY, SERVER, TORCH, JSON, ("f", "<string>", 1)])
HELD = st.lists(st.tuples(st.lists(FRAMES, min_size=1, max_size=6), st.integers(1, 10**9)), max_size=12)


def found(before: Stacks, after: Stacks, **more: int):  # type: ignore[no-untyped-def]
    return difference(run(**more), before, after, compared(before, after))


def test_memory_counts_for_whose_code_asked_for_it() -> None:
    before = stacks(([SERVER, ENTRY, OWN, TORCH], 100), ([SERVER, JSON], 7), ([NOBODY], 5), directory="/srv")
    after = stacks(
        ([SERVER, ENTRY, OWN, TORCH], 100), ([SERVER, ENTRY, OWN, JSON], 40), ([SERVER, JSON], 7), ([NOBODY], 5), directory="/srv"
    )  # fmt: skip
    changed = found(before, after)
    assert changed.total_bytes == 40
    assert [(row.function, row.file, row.line, row.before_bytes, row.after_bytes) for row in changed.lines] == [
        ("load", "app.py", 31, 100, 140)
    ]
    assert [(row.function, row.package, row.change_bytes) for row in changed.rows] == [
        ("load", None, 40), ("load", "torch", 0), ("run", "gunicorn", 0), ("(no Python frame)", "(no Python frame)", 0),
    ]  # fmt: skip
    assert [(row.package, row.before_bytes, row.after_bytes) for row in changed.packages] == [
        (None, 0, 40), ("torch", 100, 100), ("gunicorn", 7, 7), ("(no Python frame)", 5, 5),
    ]  # fmt: skip


def test_what_is_allowed_is_not_too_much() -> None:
    before, after = stacks(([OWN], 100)), stacks(([OWN], 150))
    assert found(before, after).status == "pass"
    assert found(before, after, fail_above_bytes=50).status == "pass"
    assert found(before, after, fail_above_bytes=49).status == "fail"
    assert found(after, before, fail_above_bytes=0).status == "pass"
    for one, two in ((stacks(), after), (before, stacks()), (stacks(), stacks())):
        assert found(one, two, fail_above_bytes=0).status == "inconclusive"


@given(before=HELD, after=HELD)
def test_every_table_and_the_tree_tell_the_same_whole(before: list, after: list) -> None:  # type: ignore[type-arg]
    one, two = stacks(*before), stacks(*after)
    changed = found(one, two)
    named = compared(one, two)
    for rows in (changed.rows, changed.packages):
        assert sum(row.before_bytes for row in rows) == one.bytes
        assert sum(row.after_bytes for row in rows) == two.bytes
    assert changed.total_bytes == two.bytes - one.bytes
    assert sum(row.after_bytes for row in changed.lines) <= two.bytes
    sizes = merged(named.stacks).values()
    assert (sum(pair[0] for pair in sizes), sum(pair[1] for pair in sizes)) == (one.bytes, two.bytes)
    folded = [line.rsplit(" ", 2) for line in render_folded(named).splitlines()]
    assert sum(int(line[1]) for line in folded) == one.bytes
    assert sum(int(line[2]) for line in folded) == two.bytes
    check_tree(flame_graph(named))


@settings(deadline=None)
@given(before=HELD, after=HELD, most=st.integers(1, 5))
def test_what_is_put_together_is_not_lost(before: list, after: list, most: int) -> None:  # type: ignore[type-arg]
    named = compared(stacks(*before), stacks(*after))
    whole = flame_graph(named)
    usual, graphs.MOST_NODES = graphs.MOST_NODES, most
    try:
        pruned = flame_graph(named)
    finally:
        graphs.MOST_NODES = usual
    check_tree(pruned)
    assert (pruned.nodes[0].before_bytes, pruned.nodes[0].after_bytes) == (
        whole.nodes[0].before_bytes,
        whole.nodes[0].after_bytes,
    )
    assert sum(node.kind != "smaller" for node in pruned.nodes) <= most


def test_crumbs_are_told_by_their_count_and_sum() -> None:
    crumbs = [([ENTRY, (f"crumb{number}", "/srv/crumbs.py", 1)], 4) for number in range(30)]
    graph = flame_graph(compared(stacks(*crumbs, ([ENTRY, OWN], 10**6)), stacks(([ENTRY, OWN], 10**6))))
    assert (graph.pruned, graph.largest_pruned_bytes) == (30, 4)
    (together,) = [node for node in graph.nodes if node.kind == "smaller"]
    assert (together.name, together.before_bytes, together.after_bytes) == ("(30 smaller)", 120, 0)
    assert graph.nodes[together.parent].name == "<module>"


def check_tree(graph: FlameGraph) -> None:
    """Each block stands after the one above it, and no block holds less than what is below it."""
    below = [[0, 0] for _ in graph.nodes]
    for at, node in enumerate(graph.nodes):
        assert node.parent < at
        if node.parent >= 0:
            below[node.parent][0] += node.before_bytes
            below[node.parent][1] += node.after_bytes
    for node, (before, after) in zip(graph.nodes, below, strict=True):
        assert before <= node.before_bytes
        assert after <= node.after_bytes


def test_a_name_cannot_break_a_folded_line() -> None:
    odd = stacks(([("<lambda> a;b\n", "/srv/x y;z.py", 3)], 9))
    (line,) = render_folded(compared(odd, odd)).splitlines()
    assert line.endswith(" 9 9")
    assert line.count(";") == 0
