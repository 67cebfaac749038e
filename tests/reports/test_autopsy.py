from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from reports.autopsy.html import render_html
from reports.autopsy.words import page_path, requests
from reports.html import render_html as render_report
from reports.text import render_text
from tests.reports.factory import OUT, autopsies, kill, proved
from tests.reports.golden import check
from tests.reports.test_html import EVIL, Page, without_pictures_and_style


def test_the_page_of_kills() -> None:
    check("autopsy.html", without_pictures_and_style(render_html(proved())))


def test_each_kill_has_its_time_process_and_requests() -> None:
    page = Page(render_html(proved()))
    ids = [attributes["id"] for attributes in page.all("article")]
    assert ids == ["run-1-kill-1", "run-1-kill-2", "run-1-kill-3", "run-2-kill-1", "run-2-kill-2"]
    for number, at_s in ((1, 3.912), (2, 8.404), (3, 12.811)):
        assert f"2026-11-22 09:30:{at_s:06.3f} UTC" in page.text
        assert f"gunicorn (pid {400 + number})" in page.text
    assert page.text.count("4 in flight, POST /chat, sent 1.2 s, 1.2 s, 871 ms, 60 ms before; all of them broke") == 4
    assert "none of ours" in page.text
    assert "cannot be read here (/dev/kmsg: no such file or directory)" in page.text


def test_the_first_thing_it_says_is_what_held_the_memory() -> None:
    html = render_html(proved())
    said = "4 requests were in flight: model.py:31 (load) held 4 × 88 MiB (one for each of 4 threads) of the process&#39;s 481 MiB."
    assert html.index(f"<h1>{said}") < html.index("<section")


def test_the_report_and_the_terminal_say_it_and_where_the_rest_is() -> None:
    report = render_report(proved())
    assert 'href="autopsy.html#run-1"' in report
    assert "model.py:31 (load) held 4 × 88 MiB" in report
    assert "autopsy.html#run-2" not in report, "of the same variant the memray pass tells more"
    text = render_text(proved())
    assert "Why it was killed" in text
    assert f"autopsy {OUT}/autopsy.html" in text
    without = dataclasses.replace(proved(), autopsies=())
    assert "Why it was killed" not in render_text(without)
    assert page_path(without) is None
    assert "autopsy.html" not in render_report(without)


def test_names_of_processes_and_files_are_only_text() -> None:
    evil = kill(1, 3.0, name=EVIL, sentence=EVIL, service=EVIL, held_note=EVIL, capture=f"/tmp/{EVIL}")
    (passed, _) = autopsies()
    html = render_html(
        dataclasses.replace(
            proved(), autopsies=(replace(passed, run=EVIL, kernel_log=EVIL, sentence=EVIL, kills=(evil,)),)
        )
    )
    page = Page(html)
    assert not page.all("script")
    assert not page.all("img")


def test_no_source_is_quoted() -> None:
    """A frame is a name, a file and a number: there is nothing else that a page could show."""
    html = render_html(proved())
    assert "persistent_load" in html
    assert "def " not in html


def test_requests_in_words() -> None:
    usual = kill(1, 3.0).requests
    assert usual is not None
    many = replace(usual, count=70, broken=3, path=None, ages_s=(2.0,) * 50)
    assert requests(many) == "70 in flight, of the Locust file, sent " + ", ".join(["2.0 s"] * 8) + (
        " and 62 younger before; 3 of them broke"
    )
    assert requests(replace(usual, count=0, ages_s=())) == "none in flight"
