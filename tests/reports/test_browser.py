"""The page in a real browser: headless Chromium, from file://, as a phone and as a desktop, by day and by night."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from msgspec.structs import replace

from reports.autopsy.html import render_html as render_autopsy
from reports.html import render_html
from tests.browser import DESKTOP, PHONE, Browser, needs_chromium, open_chromium
from tests.reports.factory import api_problems, kill, never_ready, per_request, profiles, proved, singleton, verified

pytestmark = needs_chromium

LONG = "workers=2,threads=16,preload=yes,checkpoint=safetensors,allocator=jemalloc" * 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    driver = open_chromium(tmp_path_factory.mktemp("chromium"))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference comparison's page, with the flame graphs that it links to beside it."""
    folder = tmp_path_factory.mktemp("runs") / "a comparison #1"
    (folder / "memray").mkdir(parents=True)
    passes = []
    for profile in profiles():
        graphs = tuple(str(folder / "memray" / Path(path).name) for path in profile.flamegraphs)
        for graph in graphs:
            Path(graph).write_text("<!doctype html><title>flame graph</title>")
        passes.append(replace(profile, flamegraphs=graphs))
    path = folder / "report.html"
    report = proved(memray=tuple(passes), directory=str(folder))
    path.write_text(render_html(report), encoding="utf-8")
    (folder / "autopsy.html").write_text(render_autopsy(report), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def odd_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs with endless names, some without any figure."""
    runs = [per_request(LONG), singleton("x" * 300), never_ready(), singleton("<b>"), singleton("5"), singleton("6")]
    path = tmp_path_factory.mktemp("odd") / "report.html"
    path.write_text(render_html(proved(*runs)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def verify_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that does not keep its OpenAPI document, one operation of it with a name without end."""
    problems = [
        replace(problem, operation=problem.operation + "/{part}" * 30, sent="x" * 240) for problem in api_problems()
    ]
    path = tmp_path_factory.mktemp("verify") / "report.html"
    path.write_text(render_html(verified(*api_problems(), *problems)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def autopsy_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OOM kills, some with names without end."""
    folder = tmp_path_factory.mktemp("autopsy")
    usual = proved(directory=str(folder))
    endless = replace(
        usual.autopsies[0],
        run="x" * 200,
        kills=tuple(kill(n, n, name="y" * 200, sentence="z" * 300) for n in range(1, 11)),
    )
    page = dataclasses.replace(usual, autopsies=(*usual.autopsies, endless))
    path = folder / "autopsy.html"
    path.write_text(render_autopsy(page), encoding="utf-8")
    (folder / "report.html").write_text(render_html(page), encoding="utf-8")
    return path


def test_the_page_of_kills_asks_nobody_and_leads_back(browser: Browser, autopsy_page: Path) -> None:
    browser.show(autopsy_page, PHONE, dark=True)
    assert browser.requested() == {autopsy_page.as_uri()}
    assert browser.driver.get_log("browser") == []
    assert 0 < browser.ask("document.querySelector('h1').getBoundingClientRect().bottom") < PHONE[1]
    browser.driver.find_element("css selector", ".top a").click()
    link = browser.driver.find_element("css selector", "#autopsy a")
    browser.driver.get(link.get_attribute("href"))
    assert browser.ask("document.querySelector(location.hash) !== null")


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_requested_and_nothing_complained_of(
    browser: Browser, page: Path, size: tuple[int, int], dark: bool
) -> None:
    browser.show(page, size, dark=dark)
    assert browser.requested() == {page.as_uri()}
    assert browser.driver.get_log("browser") == []


def test_the_policy_forbids_what_an_injected_element_would_ask_for(browser: Browser, page: Path) -> None:
    browser.show(page, DESKTOP)
    blocked = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
        document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}));
        """
    )
    assert blocked == "img-src"


@pytest.mark.parametrize("size", [PHONE, (700, 900), DESKTOP])
@pytest.mark.parametrize("which", ["page", "odd_page", "verify_page", "autopsy_page"])
def test_the_page_never_scrolls_sideways(
    browser: Browser, which: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    browser.show(request.getfixturevalue(which), size)
    assert browser.ask("innerWidth") == size[0]
    assert browser.ask("document.documentElement.scrollWidth") <= size[0]
    outside = browser.ask(
        """[...document.querySelectorAll('main *')].filter(e => !e.closest('table') &&
        e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_verdict_is_above_the_fold(browser: Browser, page: Path, size: tuple[int, int]) -> None:
    browser.show(page, size)
    assert 0 < browser.ask("document.querySelector('h1').getBoundingClientRect().bottom") < size[1] / 2
    assert browser.ask("document.querySelector('.evidence li').getBoundingClientRect().bottom") < size[1]


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_picture_and_colours_follow_the_reader(browser: Browser, page: Path, size: tuple[int, int], dark: bool) -> None:
    browser.show(page, size, dark=dark)
    sources = browser.ask("[...document.querySelectorAll('source')].map(s => s.srcset)")
    dark_narrow, dark_wide, light_narrow = sources
    expected = {
        (True, True): dark_narrow,
        (True, False): dark_wide,
        (False, True): light_narrow,
        (False, False): browser.ask("document.querySelector('img').getAttribute('src')"),
    }
    assert browser.ask("document.querySelector('img').currentSrc") == expected[dark, size == PHONE]
    assert browser.ask("document.querySelector('img').complete")
    assert browser.ask("document.querySelector('img').naturalWidth") > 0
    background, text = (
        luminance(browser, f"getComputedStyle(document.body).{p}") for p in ("backgroundColor", "color")
    )
    assert (background < text) is dark


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_it_is_on(browser: Browser, page: Path, dark: bool) -> None:
    browser.show(page, DESKTOP, dark=dark)
    assert browser.faint() == []


def luminance(browser: Browser, expression: str) -> float:
    red, green, blue = browser.ask(f"{expression}.match(/[\\d.]+/g).slice(0, 3).map(Number)")
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def test_stacks_unfold_at_a_click(browser: Browser, page: Path) -> None:
    browser.show(page, PHONE)
    details = browser.driver.find_element("css selector", "details")
    stack = details.find_element("css selector", ".stack")
    assert not stack.is_displayed()
    details.find_element("css selector", "summary").click()
    assert stack.is_displayed()
    assert "persistent_load" in stack.text
    assert browser.ask("document.documentElement.scrollWidth") <= PHONE[0]


def test_on_paper_every_stack_is_unfolded(browser: Browser, page: Path) -> None:
    browser.show(page, DESKTOP)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.ask("[...document.querySelectorAll('.stack')].map(s => s.checkVisibility() && s.offsetHeight > 0)")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == [True, True, True]


def test_links_lead_to_files_that_exist(browser: Browser, page: Path) -> None:
    browser.show(page, DESKTOP)
    links = browser.ask("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert len(links) == 4
    for link in links:
        assert not urlsplit(link).scheme
        assert not link.startswith("/")
        assert Path(unquote(urlsplit(urljoin(page.as_uri(), link)).path)).is_file()
    browser.driver.find_element("css selector", ".links a").click()
    assert browser.driver.title == "flame graph"


def test_the_command_is_selected_by_one_click(browser: Browser, page: Path) -> None:
    browser.show(page, DESKTOP)
    browser.driver.find_element("css selector", "pre").click()
    assert browser.ask("getSelection().toString().trim()").startswith("python cli.py compare --users 8")


def test_names_are_shown_as_they_are(browser: Browser, odd_page: Path) -> None:
    browser.show(odd_page, DESKTOP)
    names = browser.ask("[...document.querySelectorAll('.cards h3')].map(h => h.textContent.trim())")
    assert names[3] == "<b>"
