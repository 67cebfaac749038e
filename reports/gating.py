"""What a gate says, as rows that every renderer shows alike, and the forms that CI systems read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from profiling.judging.change_words import NAMES, amount, changed, interval, level
from profiling.judging.report import Report
from profiling.regressions import Against, GateJudgement, GateVerdict, MetricChange, MetricStatus
from reports.words import BAD, GATE_VERDICTS, GOOD, UNSURE, Sign, printable

_WHOSE = {
    Against.BASE: "each side in turns",
    Against.BASELINE: "head against the baseline's",
    Against.BUDGET: "head",
}
MUTED = "muted"
"""A tone for what is not judged."""
STATUSES: dict[MetricStatus, Sign] = {
    MetricStatus.PASS: Sign("within tolerance", "✓", GOOD),
    MetricStatus.IMPROVED: Sign("improved", "✓", GOOD),
    MetricStatus.REGRESSED: Sign("regressed", "✗", BAD),
    MetricStatus.UNCLEAR: Sign("not clear", "?", UNSURE),
    MetricStatus.INFO: Sign("for information", "i", MUTED),
    MetricStatus.UNMEASURED: Sign("not measured", "–", MUTED),
}
_ANNOTATIONS = {
    GateVerdict.REGRESSED: "error",
    GateVerdict.OVER_BUDGET: "error",
    GateVerdict.INCONCLUSIVE: "warning",
    GateVerdict.IMPROVED: "notice",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as text."""

    name: str
    base: str
    head: str
    change: str
    """The estimate with its interval."""
    estimate: str
    interval: str
    """Empty where there is none."""
    tolerance: str
    sign: Sign
    metric: MetricChange


def rows(judgement: GateJudgement) -> tuple[Row, ...]:
    """The metrics in order; what neither side has is left out."""
    return tuple(_row(metric) for metric in judgement.metrics if metric.base or metric.head)


def _row(metric: MetricChange) -> Row:
    return Row(
        name=NAMES.get(metric.name, metric.name),
        base=level(metric, metric.base),
        head=level(metric, metric.head),
        change=changed(metric),
        estimate="–" if metric.change is None else amount(metric, metric.change),
        interval=interval(metric),
        tolerance="–" if metric.tolerance is None else amount(metric, metric.tolerance),
        sign=STATUSES[metric.status],
        metric=metric,
    )


def how_often(judgement: GateJudgement) -> str:
    """How many runs it rests on, and whether a regression was confirmed."""
    runs = f"{judgement.turns} run{'s' if judgement.turns != 1 else ''} of {_WHOSE[judgement.against]}"
    if judgement.confirmed_by_rerun is None:
        return runs
    return f"{runs}, the second half of them to confirm: {'confirmed' if judgement.confirmed_by_rerun else 'not confirmed'}"


def render_markdown(report: Report) -> str:
    """One sentence and one table, for a job's summary or a comment."""
    judgement = _of(report)
    sign = GATE_VERDICTS[judgement.verdict]
    lines = [
        f"### {sign.symbol} oomproof gate: {sign.word}",
        "",
        _cell(judgement.sentence),
        "",
        "| metric | base | head | change (interval) | tolerance | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *(
            f"| {row.name} | {row.base} | {row.head} | {row.change} | {row.tolerance} | {row.sign.symbol} {row.sign.word} |"
            for row in rows(judgement)
        ),
        "",
        _sides(judgement),
        *(f"Note: {_cell(note)}." for note in judgement.notes),
    ]
    return "\n".join(lines) + "\n"


def _sides(judgement: GateJudgement) -> str:
    base = f"Base: {_cell(judgement.base.label)}. " if judgement.base else ""
    return f"{base}Head: {_cell(judgement.head.label)}. {how_often(judgement).capitalize()}."


def _cell(text: str) -> str:
    """`text` as Markdown shows it: no markup of its own, no end of a cell."""
    escaped = printable(text)
    for sign in ("\\", "`", "*", "_", "|", "<", "[", "]"):
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped


def render_junit(report: Report) -> str:
    """JUnit XML: a test case for the verdict, and one for each metric that is judged."""
    judgement = _of(report)
    suite = ET.Element("testsuite", name="oomproof gate")
    verdict = ET.SubElement(suite, "testcase", classname="oomproof.gate", name="verdict")
    failing = judgement.verdict in (GateVerdict.REGRESSED, GateVerdict.OVER_BUDGET)
    if failing or judgement.verdict is GateVerdict.INCONCLUSIVE:
        ET.SubElement(verdict, "failure" if failing else "error", message=printable(judgement.sentence))
    for metric in judgement.metrics:
        case = ET.SubElement(suite, "testcase", classname="oomproof.gate", name=NAMES.get(metric.name, metric.name))
        if metric.status is MetricStatus.REGRESSED:
            ET.SubElement(case, "failure", message=changed(metric))
        elif metric.status in (MetricStatus.UNMEASURED, MetricStatus.INFO):
            ET.SubElement(case, "skipped", message=STATUSES[metric.status].word)
    for kind in ("failure", "error", "skipped"):
        suite.set("skipped" if kind == "skipped" else f"{kind}s", str(sum(1 for _ in suite.iter(kind))))
    suite.set("tests", str(sum(1 for _ in suite.iter("testcase"))))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def annotation(report: Report) -> str | None:
    """A workflow command of GitHub Actions; None where there is nothing to look at. Source: docs.github.com,
    "Workflow commands for GitHub Actions"."""
    judgement = _of(report)
    kind = _ANNOTATIONS.get(judgement.verdict)
    if kind is None:
        return None
    message = printable(judgement.sentence).replace("%", "%25")
    return f"::{kind} title=oomproof gate%3A {GATE_VERDICTS[judgement.verdict].word}::{message}"


def plain_lines(judgement: GateJudgement) -> Iterator[tuple[Sign, str, str]]:
    """For a terminal: (sign, name, what changed)."""
    for row in rows(judgement):
        sides = f"{row.base} → {row.head}" if row.metric.base else row.head
        rest = "" if row.change == "–" else f", {row.change}"
        held = "" if row.metric.tolerance is None or row.metric.unit == "count" else f"; tolerance {row.tolerance}"
        yield row.sign, row.name, f"{sides}{rest}{held}"


def _of(report: Report) -> GateJudgement:
    assert report.gate is not None
    return report.gate
