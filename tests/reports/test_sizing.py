"""A search for a limit in every form in which people read it."""

from __future__ import annotations

import json
import re

import pytest

from profiling.judgements import Claim, Verdict
from profiling.judging.report import Report
from profiling.sizing import Ending, SizeJudgement, SizeVerdict
from reports.html import render_html
from reports.plots import limits_svgs
from reports.render import render_json
from reports.sizing import limit_rows, plan_rows
from reports.text import render_text
from tests.helpers import assert_of_schema
from tests.profiling.test_size import Service, asked, needing, run, sized
from tests.reports.factory import per_request, singleton

STATUS = {SizeVerdict.SIZED: "pass", SizeVerdict.NEVER_PASSES: "fail", SizeVerdict.INCONCLUSIVE: "inconclusive"}


def report(found: SizeJudgement) -> Report:
    runs = (per_request("270 MiB"), singleton("278 MiB"))
    return Report(
        command="size",
        verdict=Verdict(
            claim=Claim.INCONCLUSIVE,
            status=STATUS[found.verdict],
            sentence=found.sentence,
            evidence=found.evidence,
        ),
        candidate=None,
        runs=runs,
        profiles=(),
        argv=("cli.py", "size"),
        created_at="2026-11-22T09:31:12+00:00",
        beside_share=None,
        directory="/srv/shop/runs/size",
        size=found,
        trials=tuple(each.summary for each in runs),
    )


def of(service: Service, **changes: object) -> Report:
    return report(sized(service, asked(**changes))[1])


def test_a_terminal_gets_the_answer_first_and_each_limit() -> None:
    text = render_text(of(needing(274)), width=120)
    assert text.startswith("✓ SIZED\n  Needs 278 MiB: passes at 278 MiB (2 of 2), killed at 270 MiB (2 of 2).\n")
    assert "  ✗ 270 MiB: OOM-killed 2 of 2\n  ✓ 278 MiB: passes 2 of 2; p95 50 ms; peak 274 MiB\n" in text
    assert "The smallest plans with 10 % of headroom" in text
    assert "  · fly shared-cpu-2x: 512 MiB, 45.7 % headroom, 2 CPUs\n" in text
    assert "  · heroku basic: 512 MiB, 45.7 % headroom, $7 a month (as of November 2026)\n" in text


def test_what_no_plan_holds_is_said() -> None:
    text = render_text(of(needing(274), catalogue=()), width=120)
    assert "no plan of the catalogue holds it" in text
    assert "[plans.PROVIDER.NAME]" in text


@pytest.mark.parametrize("verdict", list(SizeVerdict))
def test_every_verdict_has_a_page_a_text_and_a_document(verdict: SizeVerdict) -> None:
    services: dict[SizeVerdict, Service] = {
        SizeVerdict.SIZED: needing(274),
        SizeVerdict.NEVER_PASSES: needing(100_000),
        SizeVerdict.INCONCLUSIVE: lambda limit: run(limit, Ending.UNUSABLE),
    }
    page = of(services[verdict])
    assert page.size is not None
    assert page.size.verdict is verdict
    document = json.loads(render_json(page))
    assert_of_schema(document, "size")
    assert_of_schema(document, "report")
    html = render_html(page)
    assert page.verdict.sentence.split(":")[0] in html
    assert ("The smallest plans" in html) is (verdict is SizeVerdict.SIZED)
    assert html.count('<tr class="end">') == {SizeVerdict.SIZED: 2, SizeVerdict.NEVER_PASSES: 1}.get(verdict, 0)
    assert page.verdict.sentence in " ".join(render_text(page, width=120).split())


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_picture_has_each_limit_from_small_to_large_and_where_it_begins_to_pass(narrow: bool) -> None:
    light, dark = limits_svgs(sized(needing(274))[1], narrow=narrow)
    text = words(light)
    assert [word for word in text if word in ("270", "278", "512")] == ["270", "278", "512"]
    assert {"← fails", "passes →", "p95 latency (ms)"} <= set(text)
    assert words(dark) == text
    assert light != dark


def test_a_picture_of_nothing_says_so() -> None:
    light, _ = limits_svgs(sized(lambda limit: run(limit, Ending.CRASHED))[1])
    assert "no answer was timed" in words(light)
    assert "passes →" not in words(light)


def test_rows_are_sorted_and_say_why() -> None:
    found = sized(needing(274, under=Ending.THRASHES))[1]
    rows = limit_rows(found)
    assert [row.limit for row in rows] == ["270 MiB", "278 MiB", "512 MiB"]
    assert [row.end for row in rows] == ["failing", "passing", ""]
    assert [sign.word for sign in rows[0].signs] == ["thrashes", "thrashes"]
    assert rows[0].note == "it was thrashes"


def test_a_price_that_is_not_known_is_a_dash() -> None:
    by_provider = {row.provider: row for row in plan_rows(sized(needing(274))[1])}
    assert by_provider["fly"].price == "–"
    assert by_provider["render"].price == "$0 a month (as of November 2026)"
