"""What `levers` says in every form in which people read it."""

from __future__ import annotations

import json
import re

import pytest

from profiling.judgements import Claim, Verdict
from profiling.judging.report import Report
from profiling.levers import LeversJudgement
from profiling.manifests.catalogue import Plan
from profiling.sizing import Ending
from profiling.units import MIB
from reports.html import render_html
from reports.levering import rows, waterfall
from reports.paste import blocks
from reports.plots import savings_svgs
from reports.render import render_json
from reports.text import render_text
from tests.helpers import assert_of_schema
from tests.profiling.test_levers import asked, judged, lever, needing
from tests.reports.factory import per_request, singleton

PLANS = (Plan(provider="render", name="standard", memory_bytes=2048 * MIB, usd_per_month=25.0),)
LEVERS = (
    lever("frees", append=("--preload",)),
    lever("more", dockerfile=("RUN apt-get install it",), env={"LD_PRELOAD": "/usr/lib/it.so"}),
    lever("adds"),
    lever("breaks"),
    lever("gone", left_out="not here"),
)


def killed() -> LeversJudgement:
    """A service that is killed as it is, and what is found for it."""
    service = needing(600, {"frees": 150, "more": 50, "adds": -40}, breaks=Ending.CRASHED)
    return judged(asked(*LEVERS, plans=PLANS), service)


def nothing() -> LeversJudgement:
    return judged(asked(lever("null")), needing(400, {}))


def report(found: LeversJudgement) -> Report:
    return Report(
        command="levers",
        verdict=Verdict(
            claim=Claim.INCONCLUSIVE, status=found.status, sentence=found.sentence, evidence=found.evidence
        ),
        candidate=None,
        runs=(per_request("as is"), singleton("frees + more")),
        profiles=(),
        argv=("cli.py", "levers"),
        created_at="2026-11-22T09:31:12+00:00",
        beside_share=None,
        directory="/srv/shop/runs/levers",
        levers=found,
    )


def test_a_terminal_gets_the_answer_the_ranked_table_and_at_the_end_what_to_paste() -> None:
    text = render_text(report(killed()), width=120)
    assert text.startswith(
        "✓ SURVIVES\n  Without any lever it is OOM-killed under 8 users at 512 MiB and needs 600 MiB."
    )
    ranked = [line.split()[1] for line in text.splitlines() if re.match(r"  [✓✗] \w+ +[−\d–]", line)]
    assert ranked == ["frees", "more", "adds", "breaks"]
    assert "does not start" in text
    assert "  – gone: not here\n" in text
    assert "render standard: 2 GiB, $25 a month" in " ".join(text.split())
    pasted = text[text.index("\nEnvironment\n") :]
    assert "  FREES=1\n  LD_PRELOAD=/usr/lib/it.so\n" in pasted
    assert "\nCommand\n  serve --preload\n" in pasted
    assert "\nDockerfile\n  RUN apt-get install it\n  ENV FREES=1\n" in pasted


@pytest.mark.parametrize("found", [killed(), nothing()])
def test_every_answer_has_a_page_and_a_document(found: LeversJudgement) -> None:
    page = report(found)
    document = json.loads(render_json(page))
    assert_of_schema(document, "levers")
    assert_of_schema(document, "report")
    assert [row["lever"] for row in document["rows"]] == [row.lever for row in found.rows]
    html = render_html(page)
    assert ("Settings to paste" in html) is (found.best is not None)
    assert ("From as it is to the best together" in html) is (found.best is not None)
    assert html.count('data-name="Outcome"') == len(found.rows)
    assert page.verdict.sentence in " ".join(render_text(page, width=120).split())


def test_a_cost_has_a_minus_and_no_size_is_a_dash() -> None:
    by_name = {row.name: row for row in rows(killed())}
    assert by_name["adds"].saved.startswith("−40")
    assert by_name["frees"].saved.startswith("150") or by_name["frees"].saved.startswith("149")
    assert by_name["breaks"].saved == "–"
    assert by_name["breaks"].interval == ""


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_picture_leads_from_as_it_is_to_the_best_together(narrow: bool) -> None:
    found = killed()
    bars = waterfall(found)
    assert [name for name, _, _ in bars] == ["as it is", "frees", "more", "best together"]
    assert all(bars[at][2] == bars[at + 1][1] for at in (0, 1)), "each begins where the one before ends"
    assert bars[-1][2] == bars[-2][2]
    light, dark = savings_svgs(found, narrow=narrow)
    shown = [word for word in words(light) if word in {name for name, _, _ in bars}]
    assert shown == ["as it is", "frees", "more", "best together"]
    assert "limit 512 MiB" in words(light)
    assert words(dark) == words(light)
    assert light != dark


def test_values_are_pasted_as_shells_and_dockerfiles_read_them() -> None:
    found = judged(asked(lever("frees", env={"A": 'say "it" twice'})), needing(400, {"frees": 40}))
    assert ("Environment", 'A="say \\"it\\" twice"') in blocks(found)
    assert blocks(nothing()) == ()
