from __future__ import annotations

import dataclasses
import io
import re

import pytest
from msgspec.structs import replace

from profiling.profiles import Profile
from reports.text import render_text, terminal
from tests.reports.factory import api_problems, never_ready, per_request, proved, singleton, verified
from tests.reports.golden import check


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_comparison_in_80_columns() -> None:
    check("compare.txt", render_text(proved(), 80, False))


def test_six_runs_and_skipped_passes() -> None:
    runs = [per_request(f"workers={n},threads=16,preload=yes") for n in range(5)]
    skipped = Profile(variant="workers=1", status="skipped", reason="the service's Python has no memray")
    check("six-runs.txt", render_text(proved(*runs, never_ready(), memray=(skipped,)), 80, False))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_asked_save_paths(width: int) -> None:
    report = proved(per_request("x" * 90), singleton(), never_ready())
    for line in render_text(report, width, False).splitlines():
        assert len(line) <= width or line.startswith(("run ", "report ")), line


def test_what_does_not_keep_the_openapi_document_stands_below_the_checklist() -> None:
    check("verify.txt", render_text(verified(), 80, False))


def test_of_many_problems_the_worst_are_shown() -> None:
    many = [replace(problem, operation=f"GET /{n}") for n in range(9) for problem in api_problems()[:2]]
    shown = render_text(verified(*many), 80, False)
    assert shown.count("sent POST") == 5
    assert "and 13 more in the report" in shown


def test_the_verdict_comes_first() -> None:
    first, second, *_ = render_text(proved(), 80, False).splitlines()
    assert first == "✓ PROVED"
    assert second.strip().startswith("singleton fits in 512 MiB")


def test_plain_has_no_escapes_and_colour_has_the_same_words() -> None:
    plain, coloured = render_text(proved(), 80, False), render_text(proved(), 80, True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    hostile = render_text(proved(singleton("a\x1b[2Jb\rc"), memray=()), 80, False)
    assert "\x1b" not in hostile
    assert "\r" not in hostile


def test_colour_only_where_it_is_wanted() -> None:
    assert terminal(io.StringIO(), {}) == (80, False)
    assert terminal(Terminal(), {})[1] is True
    assert terminal(Terminal(), {"NO_COLOR": "1"})[1] is False
    assert terminal(Terminal(), {"TERM": "dumb"})[1] is False


def test_markup_in_messages_is_text() -> None:
    report = dataclasses.replace(proved(), verdict=replace(proved().verdict, sentence="[bold]x[/bold] [red]"))
    assert "[bold]x[/bold] [red]" in render_text(report, 80, False)
