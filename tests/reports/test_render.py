from __future__ import annotations

import json
from pathlib import PurePath

from msgspec.structs import replace

from profiling.judgements import Summary
from profiling.profiles import Profile
from reports.render import RENDERERS, render_json
from tests.reports.factory import OUT, profiles, proved


def test_the_document_is_that_of_the_command_surface() -> None:
    document = json.loads(render_json(proved()))
    assert list(document) == [
        "schema_version",
        "command",
        "claim",
        "candidate",
        "runs",
        "profiles",
        "autopsies",
        "report",
    ]
    assert document["schema_version"] == 1
    assert document["claim"] == "proved"
    assert document["report"] == f"{OUT}/report.html"
    assert [run["name"] for run in document["runs"]] == ["per-request", "singleton"]
    assert set(document["runs"][0]) == set(Summary.__struct_fields__)
    assert document["runs"][0]["p95_ms"] is None
    assert document["runs"][0]["outcome"] == "oom-killed"
    assert isinstance(document["runs"][1]["peak_unreclaimable_bytes"], int)


def test_paths_are_absolute() -> None:
    relative: Profile = replace(profiles()[1], flamegraphs=("memray/a.html",), captures=("memray/a.bin",))
    found = json.loads(render_json(proved(memray=(relative,))))["profiles"][0]
    assert found["flamegraphs"] == [f"{OUT}/memray/a.html"]
    assert all(PurePath(path).is_absolute() for path in found["captures"])


def test_every_renderer_renders() -> None:
    for name, renderer in RENDERERS.items():
        assert renderer(proved()), name
