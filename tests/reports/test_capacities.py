"""A search for capacity as people see it: text, page and pictures, by services that are a formula."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from profiling.capacities import By, CapacityJudgement, LimitedBy, Percentile
from profiling.experiments.capacity_verdict import evidence
from profiling.judgements import Claim, Verdict
from profiling.judging.report import Report
from profiling.units import MIB
from reports import plots
from reports.capacities import forecasts, rows
from reports.html import render_html
from reports.render import render_json
from reports.text import render_text
from tests.browser import DESKTOP, PHONE, Browser, needs_chromium, open_chromium
from tests.helpers import assert_of_schema
from tests.profiling.test_capacity import Service, holding, killed, late, searched, slow_generator, trial
from tests.reports.factory import OUT, per_request, singleton

SHARES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


def answering(most: float) -> Service:
    """Holds up to `most`, with latencies."""

    def run(load: float, before: int) -> object:
        found = holding(most)(load, before)
        latencies = tuple(Percentile(share=share, ms=40 * load * (1 + n)) for n, share in enumerate(SHARES))
        return replace(found, latencies=latencies) if found.status == "pass" else found

    return run  # type: ignore[return-value]


def report(service: Service, directory: str = OUT, **changes: object) -> Report:
    _, found = searched(service, **changes)
    return Report(
        command="capacity",
        verdict=Verdict(
            claim=Claim.INCONCLUSIVE, status=found.status, sentence=found.sentence, evidence=evidence(found)
        ),
        candidate=None,
        runs=(singleton(), per_request()),
        profiles=(),
        argv=("cli.py", "capacity"),
        created_at="2026-11-22T09:31:12+00:00",
        beside_share=None,
        directory=directory,
        capacity=found,
    )


def judgement(page: Report) -> CapacityJudgement:
    assert page.capacity is not None
    return page.capacity


CASES: dict[str, Report] = {
    "memory": report(answering(24)),
    "latency": report(holding(6, late)),
    "nothing failed": report(lambda load, _: trial(load, throughput=10 * min(load, 9)), highest=64),
    "nothing holds": report(holding(0)),
    "generator": report(holding(0, slow_generator)),
    "nothing tried": report(holding(4), most_trials=0),
    "rate": report(answering(60), by=By.RATE, step=0.1, start=10, highest=1000),
    "no memory": report(lambda load, _: trial(load, load_peak_bytes=None, peak_unreclaimable_bytes=None)),
}


def test_a_terminal_gets_the_answer_the_trials_and_what_a_user_costs() -> None:
    text = render_text(CASES["memory"], width=100)
    assert text.startswith("✓ HOLDS 24 USERS\n  Holds 24 users at 512 MiB; at 26 users it is OOM-killed (2 of 2).")
    assert "8.00 MiB for each user" in text
    lines = [line for line in text.splitlines() if "OOM-killed 1×" in line]
    assert [line.split()[1] for line in lines] == ["26", "26", "28", "32"]
    assert "240 users (10 times): 1.92 GiB expected" in text


@pytest.mark.parametrize(
    ("case", "word"),
    [
        ("nothing failed", "✓ HOLDS AT LEAST 64 USERS"),
        ("nothing holds", "✗ DOES NOT HOLD"),
        ("generator", "? INCONCLUSIVE"),
        ("nothing tried", "? INCONCLUSIVE"),
        ("rate", "✓ HOLDS 6 REQUESTS/S"),
    ],
)
def test_the_verdict_is_a_word(case: str, word: str) -> None:
    changed = CASES[case]
    assert render_text(changed).splitlines()[0] == word.replace("6 REQ", "60 REQ")


def test_where_more_users_only_wait_it_is_said() -> None:
    text = " ".join(render_text(CASES["nothing failed"], width=120).split())
    assert "from about 9 users on throughput stays at 90 requests/s: more users only wait longer" in text
    assert "without --max-p95 that is no failure" in text
    assert "the knee" in render_html(CASES["nothing failed"])


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_answer_is_a_page_and_a_document(case: str) -> None:
    page = CASES[case]
    document = json.loads(render_json(page))
    assert_of_schema(document, "capacity")
    assert (document["max_users"] is None) or (document["max_rate"] is None)
    html = render_html(page)
    assert html.count('<tr><th scope="row"><span class="number">') == len(judgement(page).trials)
    assert ("Latency by share of the answers" in html) is bool(plots.spectra(judgement(page)))
    assert ("Memory of larger loads" in html) is bool(forecasts(judgement(page)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("narrow", [False, True])
def test_every_kind_of_answer_can_be_drawn(case: str, narrow: bool) -> None:
    found = judgement(CASES[case])
    light, dark = plots.loads_svgs(found, narrow=narrow)
    assert light.startswith("<svg")
    assert "requests/s answered as expected" in light
    assert light != dark
    assert plots.latencies_svgs(found, narrow=narrow)[0].startswith("<svg")


def test_the_limit_is_drawn_or_named() -> None:
    assert ">limit 512 MiB<" in plots.loads_svgs(judgement(CASES["memory"]))[0]
    small = report(lambda load, _: trial(load, load_peak_bytes=20 * MIB), highest=8)
    assert "limit 512 MiB, far above" in plots.loads_svgs(judgement(small))[0]


def test_rows_go_by_load_and_say_which_run_they_were() -> None:
    found = rows(judgement(CASES["memory"]))
    loads = [float(row.load) for row in found]
    assert loads == sorted(loads)
    assert sorted(int(row.run) for row in found) == list(range(1, len(found) + 1))
    assert {row.sign.word for row in found} == {"holds", "OOM-killed 1×"}


def test_what_a_service_said_is_only_text() -> None:
    why = "<img src=x onerror=alert(1)>\x1b[31m"
    hostile = report(holding(4, lambda load: replace(killed(load), limited_by=LimitedBy.ERRORS, oom_kills=0, why=why)))
    assert "<img src=x" not in render_html(hostile)
    assert "\x1b" not in render_text(hostile)


@needs_chromium
def test_in_a_browser_nothing_is_asked_for_and_nothing_scrolls_sideways(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_html(CASES["memory"]), encoding="utf-8")
    driver = open_chromium(tmp_path / "chromium")
    try:
        browser = Browser(driver)
        for size, dark in ((PHONE, True), (DESKTOP, False)):
            browser.show(path, size, dark=dark)
            assert browser.requested() == {path.as_uri()}
            assert driver.get_log("browser") == []
            assert browser.ask("document.documentElement.scrollWidth") <= size[0]
    finally:
        driver.quit()
