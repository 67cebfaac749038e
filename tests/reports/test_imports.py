"""What imports cost, rendered: golden text, folded stacks, the page by its words and in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from profiling.import_costs import COLD, LAZY, WARM, ImportCosts, ImportsRun, ImportStart, LazyLine, ModuleCost
from profiling.judging.imports.costs import packages
from profiling.values import Outcome, PageCache
from reports.imports.folded import render_folded
from reports.imports.html import render_html
from reports.imports.text import render_text
from tests.browser import needs_chromium, open_chromium
from tests.helpers import MIB
from tests.reports.golden import check

HOSTILE = "<script>alert(1)</script>\x1b[2J"


def module(name: str, itself: float, whole: float, parent: str | None = None, **more: object) -> ModuleCost:
    said: dict[str, object] = {
        "self_anon_bytes": int(itself * MIB), "self_file_bytes": 0, "anon_bytes": int(whole * MIB),
        "file_bytes": int(whole * MIB / 4), "imported_by": parent or "__main__", "line": "app.py:3", "statement": "app.py:3",
        "anon_low_bytes": int(whole * MIB), "anon_high_bytes": int(whole * MIB), "time_s": whole / 100,
    }  # fmt: skip
    return ModuleCost(name=name, parent=parent, **{**said, **more})  # type: ignore[arg-type]


MODULES = (
    module("app", 2, 162, own=True, line=None, statement=None),
    module("torch", 80, 140, "app"),
    module("torch._C", 60, 60, "torch", statement="/usr/lib/python3/site-packages/torch/__init__.py:445"),
    module("app.models", 1, 16, "app", own=True, line="app.py:5", statement="app.py:5"),
    module("numpy", 15, 15, "app.models", line="app/models.py:1", statement="app/models.py:1"),
    module("tiny", 0.01, 0.01, "app"),
    module("given_back", -1, -1, "app", error="ImportError"),
    module("gunicorn", 4, 4, line=None, statement=None, process="main"),
)
COSTS = ImportCosts(
    name="api", status="pass", total_anon_bytes=166 * MIB, total_file_bytes=42 * MIB, total_low_bytes=165 * MIB,
    total_high_bytes=167 * MIB, time_s=2.31, cold_file_bytes=40 * MIB, cold_time_s=4.5, interpreter_anon_bytes=3 * MIB,
    python="3.11.7", starts=3, modules=MODULES, packages=packages(MODULES), notes=("a note of something",),
    lazy=(
        LazyLine(
            line="app.py:3", imports=("torch",), modules=803, computed_anon_bytes=140 * MIB, measured_anon_bytes=139 * MIB,
            measured_file_bytes=50 * MIB,
        ),
        LazyLine(line="app/models.py:1", imports=("numpy", "numpy.linalg"), modules=1, computed_anon_bytes=15 * MIB),
        LazyLine(
            line="app.py:5", imports=("app.models",), modules=90, computed_anon_bytes=16 * MIB, measured_anon_bytes=4096,
            measured_file_bytes=0, note="what it imports is used before it is ready, so that it is loaded all the same",
        ),
    ),
)  # fmt: skip
RUN = ImportsRun(
    name="api", command=("/srv/bin/python", "-m", "gunicorn", "app:app"), interpreter="/srv/bin/python", directory="/srv/api",
    sandbox="cgroup-v2", sandbox_reason="asked for", limit_bytes=8 << 30, argv=("cli.py", "imports"),
    created_at="2026-01-02T03:04:05+00:00",
    starts=(
        ImportStart(directory="cold-1", kind=COLD, outcome=Outcome.COMPLETED, page_cache=PageCache.COLD, elapsed_s=5.0),
        ImportStart(directory="warm-1", kind=WARM, outcome=Outcome.COMPLETED, page_cache=PageCache.WARM, elapsed_s=3.0),
        ImportStart(directory="lazy-1", kind=LAZY, lazy="/srv/api/app.py:3", outcome=Outcome.CRASHED, said="TypeError: no"),
    ),
)  # fmt: skip


def hostile() -> ImportCosts:
    modules = (module(HOSTILE, 9, 9, line=HOSTILE), module("x" * 300, 5, 5, line="y" * 300 + ".py:1"))
    return replace(COSTS, name=HOSTILE, modules=modules, packages=packages(modules), problem=HOSTILE, status="fail")


def test_imports_in_80_columns() -> None:
    check("imports.txt", render_text(RUN, COSTS, "/srv/api/runs/1/report.html", depth=2, width=80))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_longer_than_the_terminal_and_none_commands_it(width: int) -> None:
    text = render_text(RUN, hostile(), "/r", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    coloured = render_text(RUN, COSTS, "/r", width=width, colour=True)
    assert "\x1b[" in coloured
    assert "\x1b[2J" not in render_text(RUN, hostile(), "/r", width=width, colour=True)


def test_folded_stacks_have_a_positive_weight_each() -> None:
    lines = render_folded(COSTS).splitlines()
    assert f"app;torch;torch._C {60 * MIB}" in lines
    assert f"app;app.models;numpy {15 * MIB}" in lines
    assert all(re.fullmatch(r"\S+ [1-9]\d*", line) for line in lines)
    assert not any("given_back" in line for line in lines)


def test_nothing_recorded_has_a_text_as_well() -> None:
    empty = ImportCosts(name="api", status="skipped", problem="nothing was recorded")
    assert "nothing was recorded" in render_text(RUN, empty, "/r")
    assert "nothing was recorded" in render_html(RUN, empty)


def test_the_page_says_it_all_and_asks_nobody() -> None:
    page = render_html(RUN, COSTS)
    for words in ("166 MiB", "torch._C", "app.py:3", "139 MiB", "put off", "a note of something", "cli.py imports"):
        assert words in page, words
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "<script" not in render_html(RUN, hostile())


@needs_chromium
def test_the_page_fits_a_phone_and_a_desktop(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render_html(RUN, COSTS))
    (tmp_path / "hostile.html").write_text(render_html(RUN, hostile()), errors="replace")
    driver = open_chromium(tmp_path / "chromium")
    try:
        for page in ("page", "hostile"):
            for width in (360, 1280):
                driver.execute_cdp_cmd(
                    "Emulation.setDeviceMetricsOverride",
                    {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
                )
                driver.get((tmp_path / f"{page}.html").as_uri())
                assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        driver.get((tmp_path / "page.html").as_uri())
        bricks = driver.execute_script(
            "return [...document.querySelectorAll('.icicle span')].map(b => [b.textContent, b.offsetWidth, b.offsetTop])"
        )
        whole = driver.execute_script("return document.querySelector('.icicle').offsetWidth")
        (torch,) = [brick for brick in bricks if brick[0] == "torch"]
        assert abs(torch[1] / whole - 140 / 166) < 0.01
        assert torch[2] > 0
        assert not driver.get_log("browser")
    finally:
        driver.quit()
