from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from profiling.profiles import Frame, Ledger, LedgerEntry, LedgerLine
from profiling.units import MIB
from reports import ledger as words
from reports.html import render_html
from reports.plots import waterfall_svgs
from reports.text import render_text
from tests.browser import needs_chromium, open_chromium
from tests.reports.factory import ROOT, per_request, profiles, proved

EVIL = "<script>alert('x')</script>\"&$x$"


def entry(part: str, size: float, group: str, note: str = "", line: int = 0) -> LedgerEntry:
    frame = Frame(function="load", file=f"{ROOT}/backend/model.py", line=line)
    lines = (LedgerLine(frame=frame, bytes=round(size * MIB)),) if line else ()
    return LedgerEntry(part=part, bytes=round(size * MIB), group=group, note=note, lines=lines)


def ledger(unexplained: float = 2.5) -> Ledger:
    used = 407 + unexplained
    entries = (
        entry("import torch", 148, "imports", "50.3 MiB of it unseen by memray"),
        entry("model (torch), loaded since ready", 240, "model", line=31),
        entry("heap made at start", 0.1, "heap", line=57),
        entry("memray itself", 6, "memray"),
        entry("file mappings, written to", 12, "files", EVIL),
        entry("page tables", 0.9, "kernel"),
        entry("unexplained", unexplained, "unexplained", "2.5 MiB never seen by memray" if unexplained > 0 else ""),
        entry("page cache, mapped files", 80, "headroom"),
        entry("free", 518 - used - 80, "headroom"),
    )
    return Ledger(
        entries=entries,
        limit_bytes=518 * MIB,
        unreclaimable_bytes=round(used * MIB),
        unexplained_bytes=round(unexplained * MIB),
        peak_bytes=round((used + 1.5) * MIB),
        at_s=15.4,
        processes=2,
    )


def report(found: Ledger, command: str = "profile"):  # type: ignore[no-untyped-def]
    passed = replace(profiles()[0], ledger=found)
    return dataclasses.replace(proved(per_request(), memray=(passed,)), command=command)


sizes = st.lists(st.integers(-3, 200), min_size=1, max_size=12)


@given(sizes, st.integers(1, 400))
def test_each_row_begins_where_the_one_above_ends(found: list[int], limit: int) -> None:
    entries = (
        *(entry(f"part {at}", abs(size), "imports") for at, size in enumerate(found)),
        entry("unexplained", found[0], "unexplained"),
        entry("free", 7, "headroom"),
    )
    rows = words.rows(Ledger(entries=entries, limit_bytes=limit * MIB))
    assert rows[0].start == 0
    assert all(below.start == row.end for row, below in itertools.pairwise(rows))
    assert rows[-1].end == sum(part.bytes for part in entries)
    assert [row.name for row in rows][-2:] == ["unexplained", "free"]


def test_small_parts_stand_together_just_before_what_is_unexplained() -> None:
    names = [row.name for row in words.rows(ledger())]
    assert names[-4:] == ["2 smaller parts", "unexplained", "page cache, mapped files", "free"]


@pytest.mark.parametrize(
    ("unexplained", "said"),
    [
        (2.5, "99.4 % of 410 MiB accounted for; 2.50 MiB unexplained (2.5 MiB never seen by memray)."),
        (0.0, "100 % of 407 MiB accounted for; 0 B unexplained."),
        (-1.0, "99.8 % of 406 MiB accounted for; the parts come to 1 MiB more than that"),
    ],
)
def test_the_unexplained_part_in_one_sentence(unexplained: float, said: str) -> None:
    assert words.sentence(ledger(unexplained)).startswith(said)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("found", [ledger(), ledger(-1.0), ledger(0.0)])
def test_the_picture_is_small_and_names_every_row(found: Ledger, narrow: bool) -> None:
    light, dark = waterfall_svgs(found, narrow=narrow)
    assert light != dark
    for svg in (light, dark):
        root = ElementTree.fromstring(svg)
        texts = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
        assert {"unexplained", "import torch", "limit 518 MiB"} <= texts
        assert len(svg) < 30_000


def test_the_page_has_picture_table_lines_and_sentence() -> None:
    html = render_html(report(ledger()))
    assert html.count("data:image/svg+xml") == 8, "curves and waterfall, each light and dark, wide and narrow"
    for text in (
        "Where the memory was",
        "50.3 MiB of it unseen",
        "backend/model.py:31",
        "99.4 % of 410 MiB",
        "1.50 MiB below",
    ):
        assert text in html
    assert EVIL not in html


def test_without_a_ledger_there_is_the_reason_or_nothing() -> None:
    html = render_html(report(Ledger(reason="no snapshot of its memory was taken")))
    assert "No ledger: no snapshot of its memory was taken." in html
    assert "Where the memory was" not in render_html(proved(per_request()))


def test_profile_shows_it_as_text_and_compare_does_not() -> None:
    text = render_text(report(ledger()), 80, False)
    assert "import torch" in text
    assert "unexplained                           2.50 MiB" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "no ledger: too early" in render_text(report(Ledger(reason="too early")), 80, False)
    assert "import torch" not in render_text(report(ledger(), "compare"), 80, False)


@needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_on_a_phone_and_on_a_desktop_nothing_sticks_out(tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(report(ledger())).replace("<details>", "<details open>"), encoding="utf-8")
    driver = open_chromium(tmp_path / "profile")
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        shown = driver.execute_script("return document.querySelector('#ledger img').getBoundingClientRect().width")
        assert 0.6 * min(width, 460) < shown < width
    finally:
        driver.quit()
