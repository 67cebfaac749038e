"""A gate in every form in which people and CI systems read it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from profiling.experiments.gate_verdict import judge
from profiling.judgements import Claim, Verdict
from profiling.judging.report import Report
from profiling.regressions import Against, GateJudgement, MetricStatus, RunFigures
from reports.gating import annotation, render_junit, render_markdown
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


def test_markdown_is_a_sentence_and_a_table() -> None:
    text = render_markdown(report(steady(100, 103)))
    assert text.startswith("### ✗ oomproof gate: regressed\n\nMemory regressed")
    row = next(line for line in text.splitlines() if line.startswith("| peak of"))
    assert row == (
        "| peak of unreclaimable memory | 100 MiB | 103 MiB | +3.00 % (+3.00 to +3.00 %) | +1.00 % | ✗ regressed |"
    )
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
    line = annotation(page)
    assert (line is None) is (kind is None)
    if line is not None:
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
