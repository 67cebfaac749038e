from __future__ import annotations

import dataclasses
import functools
import re
from html.parser import HTMLParser

from msgspec.structs import replace

from profiling.judgements import Claim, Finding, Summary, Verdict
from profiling.profiles import Frame, HeldMemory, Profile
from reports.figures import GROUPS, SHOWN_ELSEWHERE
from reports.html import render_html
from tests.reports.factory import OUT, api_problems, never_ready, per_request, profiles, proved, singleton, verified
from tests.reports.golden import check

EVIL = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} & $x$"


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@functools.cache
def usual() -> str:
    """The page of the reference comparison; the picture takes a second."""
    return render_html(proved())


def without_pictures_and_style(html: str) -> str:
    html = re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "data:…", html)
    return re.sub(r"<style>.*?</style>", "<style>…</style>", html, flags=re.DOTALL)


def test_the_page_of_a_comparison() -> None:
    check("compare.html", without_pictures_and_style(usual()))


def test_it_is_one_small_file_that_asks_nobody_for_anything() -> None:
    html = render_html(proved(*[per_request(f"variant {n}") for n in range(6)]))
    assert len(html.encode()) < 1_000_000
    page = Page(html)
    assert not page.all("script")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    for _, attributes in page.tags:
        for key in ("src", "srcset", "href", "action", "data"):
            value = attributes.get(key, "")
            assert "//" not in value.split(",")[0], value
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import", html)


def test_what_does_not_keep_the_openapi_document_is_a_table() -> None:
    html = render_html(verified())
    page = Page(html)
    assert "/openapi.json: 4 of its 7 operations asked with 43 valid requests" in page.text
    assert page.text.index("POST /chat") < page.text.index("server error") < page.text.index("undocumented status")
    assert "the document" in page.text
    assert "Against its OpenAPI document" not in usual()


def test_what_a_service_answered_is_only_text() -> None:
    problems = [replace(problem, operation=EVIL, example=EVIL, sent=EVIL) for problem in api_problems()]
    page = Page(render_html(verified(*problems)))
    assert page.all("script") == []
    assert all(tag["src"].startswith("data:") for tag in page.all("img"))


def test_many_runs_still_fit() -> None:
    html = render_html(proved(*[singleton(f"trial {n}") for n in range(30)]))
    assert len(html.encode()) < 1_000_000
    assert "21 more are in the table below" in html


def test_the_verdict_comes_before_everything_else() -> None:
    html = usual()
    order = ["</title>", 'class="verdict', "<h1>", 'class="evidence"', 'class="cards"', "<picture>", "Findings"]
    order += ['id="memray"', "Every figure", "How it was measured", "Make it again"]
    places = [html.index(part) for part in order]
    assert places == sorted(places)


def test_colour_is_never_the_only_sign() -> None:
    text = Page(usual()).text
    for words in ("proved", "OOM-killed", "completed", "✗", "✓"):
        assert words in text


def test_every_figure_of_a_summary_has_a_row() -> None:
    shown = {key for group in GROUPS for figure in group.figures for key in figure.keys}
    assert shown | SHOWN_ELSEWHERE == set(Summary.__struct_fields__)
    names = [figure.name for group in GROUPS for figure in group.figures]
    text = Page(usual()).text
    assert all(name in text for name in names)
    assert len(set(names)) == len(names)


def test_links_are_relative_to_the_page() -> None:
    links = [a["href"] for a in Page(usual()).all("a")]
    assert links.pop(0) == "autopsy.html#run-1"
    assert links == ["memray/per-request.412.html", "memray/per-request.498.html", "memray/singleton.html"]
    elsewhere = Page(render_html(proved(never_ready(), directory="/srv/shop/pages"))).all("a")
    assert elsewhere[0]["href"] == f"../runs/{OUT.rsplit('/', 1)[1]}/memray/per-request.412.html"


def test_odd_file_names_make_one_good_link() -> None:
    odd: Profile = replace(profiles()[1], flamegraphs=(f"{OUT}/memray/a b#1?%.html",))
    assert Page(render_html(proved(never_ready(), memray=(odd,)))).all("a")[0]["href"] == "memray/a%20b%231%3F%25.html"


def test_a_scheme_in_a_file_name_is_no_scheme() -> None:
    odd: Profile = replace(profiles()[1], flamegraphs=("javascript:alert(1)",))
    href = Page(render_html(proved(never_ready(), memray=(odd,)))).all("a")[0]["href"]
    assert not re.match(r"[a-z]+:", href)


def test_hostile_names_are_only_text() -> None:
    run = per_request(EVIL)
    finding = Finding(id="x", level="nonsense", message=EVIL, hint=EVIL)
    run = dataclasses.replace(run, summary=replace(run.summary, findings=(finding,), stop_reason=EVIL))
    frame = Frame(function=EVIL, file=f"/{EVIL}", line=1)
    held = HeldMemory(bytes=1, allocations=1, frame=frame, stack=(frame,))
    profile = Profile(variant=EVIL, status="recorded", reason=EVIL, held_at=EVIL, held=(held,), flamegraphs=(EVIL,))
    report = dataclasses.replace(
        proved(run, memray=(profile,)),
        verdict=Verdict(claim=Claim.PROVED, status="odd", sentence=EVIL, evidence=(EVIL,)),
        argv=("cli.py", EVIL),
        created_at=EVIL,
        command=EVIL,
    )
    page = Page(render_html(report))
    assert not page.all("script")
    assert len(page.all("img")) == 1
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.text.count("{{ 7*7 }}") >= 10


def test_what_was_not_measured_is_a_dash() -> None:
    text = Page(render_html(proved(never_ready(), memray=()))).text
    assert "no 2xx from /health within 60 s" in text
    assert "None" not in text
    assert "nan" not in text.lower().split()
    assert "Which line held" not in text


def test_a_skipped_pass_says_why() -> None:
    skipped = Profile(variant="singleton", status="skipped", reason="its Python has no memray")
    assert "skipped: its Python has no memray" in Page(render_html(proved(never_ready(), memray=(skipped,)))).text


def test_the_command_can_be_pasted_into_a_shell() -> None:
    assert "python cli.py compare --users 8 --duration 20s --out 'my runs/'" in Page(usual()).text


def test_what_runs_share_is_said_once_and_what_not_by_name() -> None:
    text = Page(usual()).text
    assert text.count("no container engine answers") == 1
    assert "MODEL_LIFECYCLE=per-request" in text


def test_a_report_without_runs_is_a_page() -> None:
    assert "<picture>" not in render_html(dataclasses.replace(proved(), runs=(), argv=()))


def test_a_secret_in_a_run_that_was_stored_with_it_is_not_shown() -> None:
    report = proved()
    runs = tuple(
        dataclasses.replace(
            run, result=replace(run.result, target=run.result.target.with_env({"API_TOKEN": f"planted-{number}"}))
        )
        for number, run in enumerate(report.runs)
    )
    html = render_html(dataclasses.replace(report, runs=runs, argv=("compare", "--api-key", "planted-argv")))
    assert "planted" not in html
    assert "API_TOKEN=(secret, not shown)" in html
