from __future__ import annotations

import dataclasses
import re
import struct
from dataclasses import astuple
from xml.etree import ElementTree

import numpy as np
import pytest
from msgspec.structs import replace

from profiling.judging.report import AnalysedRun, Report
from profiling.units import MIB
from reports.plots import curves_png, curves_svgs
from reports.plots.theme import DARK, LIGHT
from tests.reports.factory import never_ready, per_request, proved, singleton

GIB = 1024 * MIB
LONG = "workers=2,threads=16,preload=1,checkpoint=safetensors,allocator=jemalloc" * 3


def light(report: Report) -> str:
    return curves_svgs(report)[0]


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def far_below_its_limit() -> AnalysedRun:
    run = singleton()
    return dataclasses.replace(run, summary=replace(run.summary, memory_limit_bytes=64 * GIB))


def killed_all_the_time() -> AnalysedRun:
    return dataclasses.replace(per_request(), kills_s=tuple(np.linspace(2.9, 22, 300).tolist()))


def all_nan() -> AnalysedRun:
    run = singleton()
    nan = np.full_like(run.memory.t_s, np.nan)
    memory = dataclasses.replace(run.memory, unreclaimable=nan, rss=nan, charged=nan)
    holes = np.full_like(run.load.t_s, np.nan)
    load = dataclasses.replace(run.load, users=holes, rps=holes, failures=holes, p95_ms=holes)
    return dataclasses.replace(run, memory=memory, load=load, ready_s=None, load_s=None)


def one_sample() -> AnalysedRun:
    run = never_ready()
    one = np.array([0.0])
    fields = {f.name: one for f in dataclasses.fields(run.memory)}
    return dataclasses.replace(run, memory=type(run.memory)(**fields), kills_s=(0.0,), ready_s=0.0)


CASES: dict[str, Report] = {
    "usual": proved(),
    "one": proved(singleton()),
    "six": proved(per_request(), singleton(LONG), never_ready(), killed_all_the_time(), all_nan(), singleton()),
    "never ready": proved(never_ready()),
    "all NaN": proved(all_nan()),
    "one sample": proved(one_sample()),
    "no limit near": proved(far_below_its_limit()),
    "8 MiB": proved(per_request(limit=8 * MIB)),
    "64 GiB": proved(per_request(limit=64 * GIB)),
    "nothing": dataclasses.replace(proved(), runs=()),
    "more than are drawn": proved(*[singleton(f"trial {n}") for n in range(12)]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("narrow", [False, True])
def test_every_kind_of_run_can_be_drawn(case: str, narrow: bool) -> None:
    for svg in curves_svgs(CASES[case], narrow=narrow):
        ElementTree.fromstring(svg)
        assert len(svg) < 170_000  # four of them, a third larger in base64, are most of the page


def test_the_limit_the_kills_and_the_axes_are_named() -> None:
    words = texts(light(CASES["usual"]))
    for word in ("limit 512 MiB", "2 kills", "unreclaimable", "RSS", "charged", "MiB", "users", "requests/s"):
        assert word in words
    assert "p95 latency, ms" in words
    assert "as expected" in words
    assert "failed" in words
    assert "s since the run's start" in words


@pytest.mark.parametrize(
    ("longer", "unit", "numbers"),
    [(1, "s", {"0", "10", "20"}), (60, "min", {"0", "10", "20"}), (3600, "h", {"0", "6", "12", "18", "24"})],
)
def test_a_time_axis_is_in_the_unit_of_its_length(longer: float, unit: str, numbers: set[str]) -> None:
    run = singleton()
    assert run.load_s is not None
    run = dataclasses.replace(
        run,
        memory=dataclasses.replace(run.memory, t_s=run.memory.t_s * longer),
        load=dataclasses.replace(run.load, t_s=run.load.t_s * longer),
        load_s=(run.load_s[0] * longer, run.load_s[1] * longer),
    )
    found = texts(light(proved(run)))
    assert f"{unit} since the run's start" in found
    assert numbers <= set(found)


def test_every_kill_is_marked() -> None:
    spread = dataclasses.replace(per_request(), kills_s=(4.0, 10.0, 16.0))
    none = dataclasses.replace(spread, kills_s=())

    def crosses(run: AnalysedRun) -> int:
        return light(proved(run)).count("<use ")

    assert crosses(spread) == crosses(none) + 3


def test_names_are_text_and_nothing_else() -> None:
    hostile = "$\\frac{a}{b}$ <script>alert(1)</script> & \x00\x1b[31m"
    words = texts(light(proved(singleton(hostile))))
    assert any(word.startswith("$\\frac{a}{b}$ <script>alert(1)</script> & \ufffd") for word in words)


def test_a_limit_out_of_sight_is_said() -> None:
    assert "↑ limit 64 GiB, far above" in texts(light(CASES["no limit near"]))


def test_the_same_report_gives_the_same_bytes() -> None:
    assert light(proved(singleton())) == light(proved(singleton()))


def test_dark_is_light_in_other_colours() -> None:
    bright, dark = curves_svgs(proved(singleton("#ffffff 1.23456")))
    assert texts(bright) == texts(dark)
    assert "#ffffff 1.23456" in texts(dark)
    colours = set(re.findall(r"#[0-9a-f]{6}", bright.replace("#ffffff 1", "")))
    assert colours <= set(astuple(LIGHT))
    assert set(re.findall(r"#[0-9a-f]{6}", dark.replace("#ffffff 1", ""))) <= set(astuple(DARK))


def test_each_theme_tells_its_colours_apart() -> None:
    """Colours are exchanged one for one."""
    pairs = dict(zip(astuple(LIGHT), astuple(DARK), strict=True))
    assert all(pairs[a] == b for a, b in zip(astuple(LIGHT), astuple(DARK), strict=True))


def test_png_is_twice_the_nominal_width() -> None:
    png = curves_png(proved(singleton()))
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">I", png[16:20])[0] == 2080


def test_rss_beyond_the_picture_is_said() -> None:
    run = singleton()
    memory = dataclasses.replace(run.memory, rss=run.memory.rss * 4)
    assert any(
        word.startswith("↑ RSS up to ") for word in texts(light(proved(dataclasses.replace(run, memory=memory))))
    )
