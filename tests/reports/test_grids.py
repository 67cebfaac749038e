"""A grid in every form in which people read it."""

from __future__ import annotations

import json

from profiling.experiments.grid_verdict import claim
from profiling.grids import GridJudgement
from profiling.judgements import Verdict
from profiling.judging.report import Report
from reports.grids import heat_map
from reports.html import render_html
from reports.render import render_json
from reports.text import render_text
from tests.helpers import assert_of_schema
from tests.profiling.test_grid import GRID, asked, measured, needing
from tests.reports.factory import per_request, singleton


def report(found: GridJudgement) -> Report:
    runs = (singleton("workers=2 users=64"), per_request("workers=4 users=64"))
    return Report(
        command="compare",
        verdict=Verdict(claim=claim(found), status=found.status, sentence=found.sentence, evidence=found.evidence),
        candidate=None,
        runs=runs,
        profiles=(),
        argv=("cli.py", "compare", "--grid", "workers=2,4"),
        created_at="2026-11-22T09:31:12+00:00",
        beside_share=None,
        directory="/srv/shop/runs/compare",
        grid=found,
        trials=tuple(run.summary for run in (*runs, *runs)),
    )


def test_the_map_has_the_load_across_and_the_rest_down() -> None:
    table = heat_map(measured(needing(1), asked({"workers": "1,2", "users": "8,64", "memory": "32,64"}))[1])
    assert table.columns == ("8 users", "64 users")
    assert [row.label for row in table.rows] == ["1 worker, 32", "1 worker, 64", "2 workers, 32", "2 workers, 64"]
    assert [[cell.sign.symbol for cell in row.cells] for row in table.rows] == [
        ["✓", "✗"],
        ["✓", "✓"],
        ["✓", "✗"],
        ["✓", "✗"],
    ]
    assert table.fixed == ""


def test_without_users_the_last_axis_is_across_and_one_axis_is_one_row() -> None:
    table = heat_map(measured(needing(1), asked({"threads": "4,16", "workers": "1,100"}))[1])
    assert table.columns == ("1 worker", "100 workers")
    assert [row.label for row in table.rows] == ["4 threads", "16 threads"]
    assert table.fixed == "8 users in 512 MiB"
    (row,) = heat_map(measured(needing(1), asked({"users": "8,64"}))[1]).rows
    assert row.label == "shop"


def test_a_terminal_gets_the_answer_and_a_table() -> None:
    text = render_text(report(measured(needing(3), asked(GRID))[1]), width=100)
    assert text.startswith(
        "✓ 3 OF 4 CELLS HOLD\n  2 workers hold 64 users in 512 MiB; 4 workers do not (OOM-killed).\n"
    )
    head, two, four = text[text.index("Cells") :].splitlines()[1:4]
    assert head.split() == ["8", "users", "64", "users"]
    assert two.split()[:4] == ["2", "workers", "✓", "114"]
    assert "✗ OOM-killed" in four
    assert "4 workers, 64 users: OOM-killed once" in text


def test_a_narrow_terminal_has_each_cell_in_a_line_of_its_own() -> None:
    axes = {"workers": "2,4", "users": ",".join(map(str, range(1, 9)))}
    text = render_text(report(measured(needing(3), asked(axes))[1]), width=60)
    cells = text[text.index("Cells") :].split("\n\n")[0].splitlines()
    assert len(cells) == 1 + 2 * (1 + 8)
    assert max(map(len, cells)) <= 60


def test_what_was_not_run_is_shown_as_inferred_and_has_no_figures() -> None:
    page = report(measured(needing(3), asked({"users": "8,400,800"}, infer=True))[1])
    assert "OOM-killed" in render_text(page)
    (row,) = heat_map(page.grid).rows if page.grid else ()
    assert (row.cells[2].inferred, row.cells[2].peak, row.cells[2].note) == (True, "", "not run")
    html = render_html(page)
    assert 'class="bad inferred"' in html
    assert "A hatched cell was not run" in html
    assert "inferred" in render_text(page)


def test_the_document_has_every_run_and_every_cell() -> None:
    page = report(measured(needing(3), asked(GRID))[1])
    document = json.loads(render_json(page))
    assert_of_schema(document, "compare")
    assert_of_schema(document, "report")
    assert (document["claim"], document["candidate"], len(document["runs"])) == ("proved", None, 4)
    assert [axis["key"] for axis in document["grid"]["axes"]] == ["workers", "users"]
    cells = document["grid"]["cells"]
    assert [cell["status"] for cell in cells] == ["holds", "holds", "holds", "fails"]
    assert cells[3]["settings"] == {"workers": "4", "users": "64"}
    assert (cells[3]["outcome"], cells[3]["limited_by"]) == ("oom-killed", "oom")


def test_a_value_cannot_break_out_of_the_page() -> None:
    found = measured(needing(1), asked({"FLAGS": "<script>alert(1)</script>,b"}))[1]
    html = render_html(report(found))
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
