"""A difference, rendered: golden text, folded stacks, and the pages with a flame graph in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from profiling.differences import Difference
from profiling.flame import FlameGraph
from profiling.judging.stacks.graph import flame_graph
from profiling.judging.stacks.naming import by_process, compared
from profiling.judging.stacks.tables import difference
from profiling.stacks import END, Stacks
from reports.diff import render_json
from reports.diff.folded import render_folded
from reports.diff.html import render_html
from reports.diff.text import render_text
from reports.flame.processes import render_processes
from tests.browser import DESKTOP, PHONE, Browser, needs_chromium, open_chromium
from tests.helpers import MIB, assert_of_schema
from tests.profiling.judging.stacks.build import merged, run, stacks
from tests.reports.golden import check

HOSTILE = "</script><script>alert(1)</script>\x1b[2J;&amp;\u2028"
GUNICORN = [
    ("run", "/v/lib/python3.11/site-packages/gunicorn/arbiter.py", 200),
    ("<module>", "/srv/app.py", 1),
]


def at(*frames: tuple[str, str, int]) -> list[tuple[str, str, int]]:
    return [*GUNICORN, *frames]


TORCH = ("load", "/v/lib/python3.11/site-packages/torch/serialization.py", 900)
BEFORE = stacks(
    (at(("load_model", "/srv/model.py", 31), TORCH), 100 * MIB),
    (at(("cache", "/srv/cache.py", 8)), 24 * MIB),
    (at(("old", "/srv/old.py", 5)), 6 * MIB),
    (at(*[(f"crumb{number}", "/srv/crumbs.py", number) for number in range(3)]), 900),
    (at((HOSTILE, "/srv/odd.py", 2)), 2 * MIB),
    directory="/srv",
)
AFTER = stacks(
    (at(("load_model", "/srv/model.py", 33), TORCH), 140 * MIB),
    (at(("cache", "/srv/cache.py", 9)), 4 * MIB),
    (at(("fresh", "/srv/fresh.py", 7)), 10 * MIB),
    (at((HOSTILE, "/srv/odd.py", 2)), 2 * MIB),
    directory="/srv",
)
WORKERS = merged(
    (100, [(at(), 57 * MIB)]),
    (101, [(at(("load_model", "/srv/model.py", 31), TORCH), 38 * MIB)]),
    (102, [(at(("load_model", "/srv/model.py", 31), TORCH), 19 * MIB)]),
    (103, []),
    directory="/srv",
)


def found(before: Stacks = BEFORE, after: Stacks = AFTER, fail_above: int | None = 5 * MIB) -> Difference:
    return difference(run(fail_above), before, after, compared(before, after))


def page(before: Stacks = BEFORE, after: Stacks = AFTER) -> str:
    return render_html(run(5 * MIB), found(before, after), graph(before, after))


def graph(before: Stacks = BEFORE, after: Stacks = AFTER) -> FlameGraph:
    return flame_graph(compared(before, after))


def test_the_text_says_what_changed() -> None:
    check("diff.txt", render_text(found(), "/runs/1/report.html"))


def test_what_was_compared_is_said() -> None:
    killed = replace(BEFORE.processes[0], killed=True)
    ended = replace(BEFORE, at=END, ended="capture.bin", processes=(killed,))
    assert "alive when it was killed" in render_text(found(ended), "/r")
    several = replace(WORKERS, at=END, ended="capture.bin.101")
    assert "alive in its 4 processes when process 101 ended" in re.sub(r"\s+", " ", render_text(found(several), "/r"))
    together = re.sub(r"\s+", " ", render_text(found(WORKERS), "/r"))
    assert "114 MiB of before.bin at the moment when its 4 processes held most together" in together


@pytest.mark.parametrize(
    ("before", "after", "allowed", "words"),
    [
        (BEFORE, BEFORE, None, ("COMPARED", "In all nothing changed: 132 MiB before, 132 MiB after.")),
        (BEFORE, AFTER, None, ("COMPARED", "Memory grew by 24.0 MiB (18.2 %)")),
        (AFTER, BEFORE, 0, ("WITHIN WHAT IS ALLOWED", "Memory shrank by 24.0 MiB")),
        (BEFORE, AFTER, 30 * MIB, ("WITHIN WHAT IS ALLOWED", "not more than the 30 MiB")),
        (BEFORE, stacks(), 0, ("INCONCLUSIVE", "nothing was recorded after")),
        (stacks(), stacks(), None, ("INCONCLUSIVE", "nothing was recorded before and after")),
    ],
)
def test_the_verdict_in_words(before: Stacks, after: Stacks, allowed: int | None, words: tuple[str, ...]) -> None:
    text = render_text(found(before, after, allowed), "/r")
    for word in words:
        assert word in text, text
    assert "\x1b[2J" not in text
    assert render_html(run(allowed), found(before, after, allowed), graph(before, after))


def test_the_document_is_as_its_schema_says(tmp_path: Path) -> None:
    document = json.loads(render_json(found(), tmp_path))
    assert_of_schema(document, "diff")
    assert_of_schema(document, "report")
    assert (document["command"], document["schema_version"], document["total_bytes"]) == ("diff", 1, 24 * MIB - 900)
    assert {"function", "file", "line", "before_bytes", "after_bytes"} <= set(document["rows"][0])
    for wrong in ({"rows": [{}]}, {"flamegraph": None}, {"more": 1}):
        with pytest.raises(AssertionError):
            assert_of_schema({**document, **wrong}, "diff")


def test_folded_stacks_have_two_weights() -> None:
    lines = render_folded(compared(BEFORE, AFTER)).splitlines()
    assert lines[0] == (
        "run (site-packages/gunicorn/arbiter.py);<module> (app.py);load_model (model.py);"
        "load (site-packages/torch/serialization.py) 104857600 146800640"
    )
    assert all(re.fullmatch(r".+ \d+ \d+", line) for line in lines)


def test_the_page_says_it_all_and_asks_nobody() -> None:
    text = page()
    for words in ("140 MiB", "model.py:33", "+40 MiB", "−20 MiB", "own code", "torch", "before.bin", "arenas"):
        assert words in text, words
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "alert(1)</script>" not in text
    assert "source line" not in text


class FlameBrowser(Browser):
    """A reader of a page with a flame graph."""

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def block(self, words: str) -> Any:
        """The one block whose tooltip begins with this name."""
        (found,) = [block for block in self.blocks() if block.get_attribute("title").split("\n")[0] == words]
        return found

    def blocks(self) -> list[Any]:
        return list(self.driver.find_elements("css selector", ".block"))

    def widths(self) -> dict[str, float]:
        """Of each block by its name, as a share of the whole."""
        whole = self.find("#flame").rect["width"]
        return {block.get_attribute("title").split("\n")[0]: block.rect["width"] / whole for block in self.blocks()}

    def choose(self, view: str) -> None:
        self.find(f'input[name="flame-view"][value="{view}"]').click()

    def told(self) -> str:
        return str(self.find("#flame-told").text)

    def focused(self) -> str:
        return str(self.ask("document.activeElement.title")).split("\n")[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlameBrowser]:
    driver = open_chromium(tmp_path_factory.mktemp("chromium"))
    yield FlameBrowser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "diff": page(),
        "empty": page(stacks(), stacks()),
        "processes": render_processes(WORKERS, flame_graph(by_process(WORKERS))),
        "deep": page(
            BEFORE, stacks(*((at(*[(f"f{n}", f"/srv/{'long' * 30}.py", n)] * n), MIB) for n in range(1, 120)))
        ),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@needs_chromium
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", ["diff", "empty", "processes", "deep"])
def test_pages_fit_ask_nobody_and_complain_of_nothing(
    browser: FlameBrowser, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    browser.show(pages[name], size)
    assert browser.ask("document.documentElement.scrollWidth") <= size[0]
    assert browser.blocks()
    assert browser.requested() == {pages[name].as_uri()}
    assert browser.driver.get_log("browser") == []


@needs_chromium
def test_only_its_own_script_runs(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["diff"])
    blocked = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
        document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}));
        """
    )
    assert blocked.startswith("script-src")
    assert browser.ask("window.ran") is None


@needs_chromium
def test_width_is_memory_after_before_or_what_changed(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["diff"])
    assert browser.widths()["load_model"] == pytest.approx(140 / 156, abs=0.005)
    assert "old" not in browser.widths()
    browser.choose("before")
    assert browser.widths()["load_model"] == pytest.approx(100 / 132, abs=0.005)
    assert browser.widths()["old"] == pytest.approx(6 / 132, abs=0.005)
    assert "fresh" not in browser.widths()
    browser.choose("change")
    # 40 and 10 MiB grew, 20 and 6 MiB shrank: nothing cancels.
    assert browser.widths()["load_model"] == pytest.approx(40 / 76, abs=0.005)
    assert browser.widths()["old"] == pytest.approx(6 / 76, abs=0.005)


@needs_chromium
def test_growth_is_told_by_sign_and_by_colour(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["diff"])
    grew, shrank = browser.block("load_model"), browser.block("cache")
    assert grew.text == "+40 MiB load_model"
    assert shrank.get_attribute("title").endswith("−20 MiB (−83.3 %)")
    assert "grew" in grew.get_attribute("class")
    assert "shrank" in shrank.get_attribute("class")
    red, _, blue = (int(v) for v in re.findall(r"\d+", colour(browser, grew))[:3])
    assert red > blue
    red, _, blue = (int(v) for v in re.findall(r"\d+", colour(browser, shrank))[:3])
    assert blue > red
    assert (
        grew.get_attribute("aria-label") == "load_model, model.py:33, 100 MiB before, 140 MiB after, +40 MiB (+40.0 %)"
    )
    assert "new" in browser.block("fresh").get_attribute("title")


def colour(browser: FlameBrowser, block: Any) -> str:
    """Red, green and blue of a block, 0 to 255, however the browser writes what was mixed."""
    return str(
        browser.ask(
            """(element => {
              const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
              canvas.fillStyle = getComputedStyle(element).backgroundColor;
              canvas.fillRect(0, 0, 1, 1);
              return [...canvas.getImageData(0, 0, 1, 1).data].join(' ');
            })(arguments[0])""",
            block,
        )
    )


@needs_chromium
def test_a_click_zooms_in_and_the_button_out(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["diff"], (390, 844))
    narrow = browser.widths()["fresh"]
    assert narrow < 0.1
    browser.block("fresh").click()
    assert browser.widths()["fresh"] == pytest.approx(1, abs=0.01)
    assert "fresh.py:7" in browser.told()
    assert "load_model" not in browser.widths()
    browser.find("#flame-out").click()
    assert browser.widths()["fresh"] == pytest.approx(narrow, abs=0.01)
    browser.block("fresh").click()
    browser.block("<module>").click()
    assert browser.widths()["fresh"] == pytest.approx(narrow, abs=0.01)


@needs_chromium
def test_search_marks_what_it_finds_and_sums_it_up(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["diff"])
    query = browser.find("#flame-query")
    query.send_keys("MODEL")
    assert browser.find("#flame-found").text == "1 block, together 100 MiB before, 140 MiB after, +40 MiB"
    marked = [
        block.get_attribute("title").split("\n")[0]
        for block in browser.blocks()
        if "hit" in block.get_attribute("class")
    ]
    assert marked == ["load_model"]
    query.send_keys("\ue007")  # Enter
    assert browser.widths()["load_model"] == pytest.approx(1, abs=0.01)
    query.send_keys("\ue00c")  # Escape
    assert browser.find("#flame-found").text == ""
    assert not browser.driver.find_elements("css selector", ".hit, .miss")
    # Hits within hits count once.
    query.send_keys("/")
    assert "together 132 MiB before, 156 MiB after" in browser.find("#flame-found").text
    query.send_keys("nonsense")
    assert browser.find("#flame-found").text == "nothing found"


@needs_chromium
def test_it_can_be_read_by_keys_alone(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["diff"])
    stops = browser.ask("[...document.querySelectorAll('.block')].filter(block => block.tabIndex === 0).length")
    assert stops == 1
    browser.ask("document.querySelector('.block[tabindex=\"0\"]').focus()")
    names = []
    for key in ("\ue015", "\ue015", "\ue015", "\ue014", "\ue012", "\ue013"):  # down, down, down, right, left, up
        browser.driver.switch_to.active_element.send_keys(key)
        names.append(browser.focused())
    assert names[:3] == ["run", "<module>", "load_model"]
    assert names[3] not in names[:3]
    assert names[4:] == ["load_model", "<module>"]
    browser.driver.switch_to.active_element.send_keys("\ue015", "\ue007")  # down, Enter
    assert browser.widths()["load_model"] == pytest.approx(1, abs=0.01)
    assert browser.focused() == "load_model"
    browser.driver.switch_to.active_element.send_keys("\ue00c")  # Escape
    assert browser.focused() == "all"
    assert browser.widths()["load_model"] < 0.95


@needs_chromium
def test_all_processes_stand_beside_each_other(browser: FlameBrowser, pages: dict[str, Path]) -> None:
    browser.show(pages["processes"])
    widths = browser.widths()
    assert widths["parent 100"] == pytest.approx(57 / 114, abs=0.005)
    assert widths["worker 101"] == pytest.approx(38 / 114, abs=0.005)
    assert widths["worker 102"] == pytest.approx(19 / 114, abs=0.005)
    text = browser.find("main").text
    assert "3 processes together held 114 MiB when they held most" in text
    assert "nothing counts twice" in text
    assert "1 further process" in text


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["diff", "processes"])
def test_text_stands_out_from_what_it_is_on(
    browser: FlameBrowser, pages: dict[str, Path], name: str, dark: bool
) -> None:
    """On the mixed colours of the blocks, too."""
    browser.show(pages[name], dark=dark)
    assert browser.faint() == []
