"""What a gate says in the forms that CI systems read: Markdown, JUnit XML, annotations."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from profiling.judging.change_words import NAMES, changed
from profiling.judging.report import Report
from profiling.regressions import GateJudgement, GateVerdict, GrownLine, MetricStatus
from reports.gate_picture import picture
from reports.gating import STATUSES, how_often, line_place, line_sizes, rows
from reports.words import GATE_VERDICTS, printable, signed

LINES = 5
"""So many lines of code are named: what is longer is not read in a pull request."""
_ANNOTATIONS = {
    GateVerdict.REGRESSED: "error",
    GateVerdict.OVER_BUDGET: "error",
    GateVerdict.INCONCLUSIVE: "warning",
    GateVerdict.IMPROVED: "notice",
}
_FAILING = (GateVerdict.REGRESSED, GateVerdict.OVER_BUDGET)


def render_markdown(report: Report) -> str:
    """One sentence, one table, one picture and, where memray saw them, the lines, for a job's summary or a comment."""
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
        *_picture(judgement),
        *_lines(judgement),
        _sides(judgement),
        *(f"Note: {_cell(note)}." for note in judgement.notes),
    ]
    return "\n".join(lines) + "\n"


def _picture(judgement: GateJudgement) -> list[str]:
    drawn = picture(judgement)
    return ["```text", *drawn, "```", ""] if drawn else []


def _lines(judgement: GateJudgement) -> list[str]:
    if not judgement.lines:
        return []
    shown = judgement.lines[:LINES]
    return [
        "Lines that hold more than in base, with all that they called, by memray:",
        "",
        "| | line | in | base → head |",
        "| ---: | --- | --- | ---: |",
        *(
            f"| {signed(line.change_bytes)} | {_cell(line_place(line))} | {_cell(line.function)} | {line_sizes(line)} |"
            for line in shown
        ),
        "",
    ]


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
    failing = judgement.verdict in _FAILING
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


def workflow_commands(report: Report) -> Iterator[str]:
    """Workflow commands of GitHub Actions: one for the verdict, one for each line of the repository that holds more; none
    where there is nothing to look at. Source: docs.github.com, "Workflow commands for GitHub Actions"."""
    judgement = _of(report)
    kind = _ANNOTATIONS.get(judgement.verdict)
    if kind is None:
        return
    yield _command(kind, judgement.sentence, title=f"oomproof gate: {GATE_VERDICTS[judgement.verdict].word}")
    if judgement.verdict in _FAILING:
        for line in judgement.lines[:LINES]:
            if line.path is not None:
                yield _command(
                    kind, _held(line), file=line.path, line=str(line.line), title="oomproof gate: holds more"
                )


def _held(line: GrownLine) -> str:
    return f"{signed(line.change_bytes)} held by {line.function} with all that it called ({line_sizes(line)})"


def _command(kind: str, message: str, **properties: str) -> str:
    said = ",".join(
        f"{name}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for name, value in properties.items()
    )
    return f"::{kind} {said}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return printable(text).replace("%", "%25")


def _of(report: Report) -> GateJudgement:
    assert report.gate is not None
    return report.gate
