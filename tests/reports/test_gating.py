"""A gate in every form in which people and CI systems read it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from profiling.experiments.gate_verdict import judge
from profiling.judgements import Claim, Verdict
from profiling.judging.report import Report
from profiling.regressions import Against, GateJudgement, GrownLine, MetricStatus, RunFigures
from profiling.units import MIB
from reports.gate_ci import LINES, render_junit, render_markdown, workflow_commands
from reports.gate_picture import picture
from reports.render import render_json
from reports.strips import WIDTH, strip
from reports.text import render_text
from tests.profiling.test_gate import Measure, figures, gated, steady


def report(measure: Measure, **changes: object) -> Report:
    found = judge(gated(measure, **changes))
    return Report(
        command="gate",
        verdict=Verdict(claim=Claim.INCONCLUSIVE, status="fail", sentence=found.sentence),
        candidate="head",
        runs=(),
        profiles=(),
        argv=("cli.py", "gate"),
        created_at="2026-11-22T09:31:12+00:00",
        beside_share=None,
        directory=str(Path("/srv/shop/runs/gate")),
        gate=found,
    )


def judgement(measure: Measure) -> GateJudgement:
    return judge(gated(measure))


def with_lines(measure: Measure) -> Report:
    """A gate whose memray passes name seven lines, the second one not of the repository, the third in an odd file."""
    files = ["app.py", None, "odd,na:me%|.py", "a.py", "b.py", "c.py", "d.py"]
    lines = tuple(
        GrownLine(
            function="load",
            file=file or "lib/python/json.py",
            line=7,
            before_bytes=0,
            after_bytes=(20 - at) * MIB,
            path=file,
        )
        for at, file in enumerate(files)
    )
    page = report(measure)
    assert page.gate is not None
    return replace(page, gate=msgspec.structs.replace(page.gate, lines=lines, difference="diff"))


def test_the_lines_that_hold_more_stand_in_every_form() -> None:
    page = with_lines(steady(100, 103))
    markdown = render_markdown(page)
    assert "| +20 MiB | app.py:7 | load | 0 B → 20 MiB |" in markdown
    assert "odd,na:me%\\|.py:7" in markdown
    assert markdown.count("| load |") == LINES
    _, *commands = workflow_commands(page)
    assert [re.findall("file=(.*?),line=7,", command) for command in commands] == [
        ["app.py"], ["odd%2Cna%3Ame%25|.py"], ["a.py"], ["b.py"]
    ]  # fmt: skip
    assert all(command.startswith("::error ") and "oomproof gate%3A" in command for command in commands)
    assert "+20 MiB  app.py:7, in load (0 B → 20 MiB)" in render_text(page, width=120)
    assert "flames  /srv/shop/runs/gate/diff/report.html" in render_text(page, width=120)
    document = json.loads(render_json(page))
    assert document["flamegraph"] == "/srv/shop/runs/gate/diff/report.html"
    assert [line["path"] for line in document["lines"]][:3] == ["app.py", None, "odd,na:me%|.py"]
    assert len(list(workflow_commands(with_lines(steady(100, 100))))) == 0, "lines of what passes are no errors"


def test_the_picture_shows_effect_noise_and_tolerance_on_one_scale() -> None:
    noisy = iter([100, 103, 103.2, 100.3, 100.1, 103.4, 102.9, 99.8] * 9)
    drawn = picture(judgement(lambda *_: figures(next(noisy))))
    peak, *_, axis, key = drawn
    zero = axis.index(" 0 ") + 1
    low, estimate, high = (peak.index(sign) for sign in "├●┤")
    assert zero < low < estimate < high
    assert peak[zero] == "┊"
    band = [at for at, sign in enumerate(peak) if sign == "░"]
    assert min(band) < zero < max(band) < low, "regressed: the whole interval lies right of what is tolerated"
    assert max(map(len, drawn)) <= 80
    assert "tolerated" in key
    same = picture(judgement(steady(100, 100)))
    assert same[0].index("●") == same[-2].index(" 0 ") + 1
    assert "p95" not in "\n".join(same)


def test_where_nothing_is_compared_there_is_no_picture() -> None:
    alone = report(lambda side, _: figures(100), against=Against.BUDGET, max_turns=3, base=None)
    assert alone.gate is not None
    assert picture(alone.gate) == []
    assert "```" not in render_markdown(alone)


def test_markdown_is_a_sentence_a_table_and_a_picture() -> None:
    text = render_markdown(report(steady(100, 103)))
    assert text.startswith("### ✗ oomproof gate: regressed\n\nMemory regressed")
    row = next(line for line in text.splitlines() if line.startswith("| peak of"))
    assert row == (
        "| peak of unreclaimable memory | 100 MiB | 103 MiB | +3.00 % (+3.00 to +3.00 %) | +1.00 % | ✗ regressed |"
    )
    assert "```text\npeak of unreclaimable memory  " in text
    assert "Base: main. Head: working tree. 8 runs of each side in turns" in text


def test_what_a_failure_says_is_no_markup() -> None:
    text = render_markdown(report(lambda side, _: RunFigures(failure="<img src=x> | `a`\n# b")))
    assert "\\<img src=x> \\| \\`a\\` # b" in text


@pytest.mark.parametrize(
    ("measure", "failures", "errors", "kind"),
    [
        (steady(100, 100), 0, 0, None),
        (steady(100, 92), 0, 0, "notice"),
        (steady(100, 103), 4, 0, "error"),
        (lambda side, _: RunFigures(unusable="100 % busy"), 0, 1, "warning"),
    ],
)
def test_junit_and_annotation(measure: Measure, failures: int, errors: int, kind: str | None) -> None:
    page = report(measure)
    suite = ET.fromstring(render_junit(page).encode())
    assert (suite.get("failures"), suite.get("errors")) == (str(failures), str(errors))
    assert suite.get("tests") == str(len(suite.findall("testcase")))
    lines = list(workflow_commands(page))
    assert len(lines) == (0 if kind is None else 1)
    for line in lines:
        assert line.startswith(f"::{kind} title=oomproof gate%3A ")
        assert "\n" not in line
        assert " %" not in line.replace("%25", "")


def test_a_terminal_gets_effect_and_noise() -> None:
    text = render_text(report(steady(100, 103)), width=120)
    assert "✗ peak of unreclaimable memory: 100 MiB → 103 MiB, +3.00 % (+3.00 to +3.00 %); tolerance +1.00 %" in text
    alone = render_text(report(lambda side, _: figures(100), against=Against.BUDGET, max_turns=3, base=None), width=120)
    assert "Head (3 runs of head)" in alone
    assert "→ 100 MiB" not in alone


def test_a_strip_shows_the_runs_the_interval_and_the_tolerance_in_order() -> None:
    metric = next(m for m in judgement(steady(100, 103)).metrics if m.name == "peak_unreclaimable")
    drawn = strip(metric)
    assert drawn is not None
    assert drawn.band is not None
    assert drawn.bar is not None
    assert 0 < drawn.band[0] < drawn.zero == WIDTH / 2 < drawn.band[1] < drawn.bar[0] < drawn.bar[1] < WIDTH
    assert set(drawn.base) == {drawn.zero}
    assert all(drawn.bar[0] < place < drawn.bar[1] for place in drawn.head)


def test_what_is_no_share_of_base_has_no_strip() -> None:
    for metric in judgement(steady(100, 100)).metrics:
        if not metric.relative or metric.status is MetricStatus.UNMEASURED:
            assert strip(metric) is None
