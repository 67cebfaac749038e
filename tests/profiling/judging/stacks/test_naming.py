from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.stacks.naming import aligned, by_process, compared, merged
from profiling.sources import source
from tests.profiling.judging.stacks.build import merged as several
from tests.profiling.judging.stacks.build import stacks

PART = st.text("abcdef", min_size=1, max_size=4)
PATHS = st.lists(st.lists(PART, min_size=1, max_size=4).map("/".join), min_size=1, max_size=8, unique=True)


@pytest.mark.parametrize(
    ("file", "name", "package"),
    [
        ("/srv/.venv/lib/python3.11/site-packages/torch/nn/modules.py", "site-packages/torch/nn/modules.py", "torch"),
        ("/usr/lib/python3/dist-packages/six.py", "site-packages/six.py", "six"),
        ("/srv/app/__pypackages__/3.12/lib/flask/app.py", "site-packages/flask/app.py", "flask"),
        ("/usr/local/lib/python3.13t/json/decoder.py", "lib/python/json/decoder.py", "python"),
        ("/usr/lib/python311.zip/abc.py", "lib/python/abc.py", "python"),
        ("/srv/.venv/bin/gunicorn", "bin/gunicorn", "gunicorn"),
        ("/srv/oomproof/profiling/measuring/capture/launcher.py", "oomproof/launcher.py", "oomproof"),
        ("<frozen runpy>", "<frozen runpy>", "python"),
        ("<string>", "<string>", None),
        ("/srv/app/pkg/model.py", "pkg/model.py", None),
        ("/srv/apple/model.py", "/srv/apple/model.py", None),
        ("app.py", "app.py", None),
    ],
)
def test_a_file_has_the_same_name_in_each_environment(file: str, name: str, package: str | None) -> None:
    found = source(file, ("/srv/app",))
    assert (found.name, found.package) == (name, package)


@given(files=PATHS, one=PART, two=PART)
def test_two_checkouts_are_laid_over_each_other(files: list[str], one: str, two: str) -> None:
    """Whatever else both have at the same place."""
    elsewhere = [f"/opt/shared/deep/down/below/{number}.py" for number in range(20)]
    before, after = ([*elsewhere, *(f"/{root}/x/{file}.py" for file in files)] for root in (one, two))
    roots = aligned(before, after)
    names = [[source(file, side).name for file in paths] for paths, side in zip((before, after), roots, strict=True)]
    assert names[0] == names[1]


def test_where_nothing_moved_the_common_directory_is_the_root() -> None:
    assert aligned(["/srv/a/x.py", "/srv/y.py"], ["/srv/y.py"]) == (("/srv",), ("/srv",))
    assert aligned(["/a/x.py"], ["/b/y.py"]) == ((), ())
    assert aligned([], []) == ((), ())


def test_the_root_is_where_most_files_are_the_same() -> None:
    before = ["/base/app.py", "/base/web/views.py", "/opt/util.py"]
    after = ["/head/app.py", "/head/web/views.py", "/util.py"]
    assert aligned(before, after) == (("/base",), ("/head",))


@pytest.mark.parametrize("known", [(None, None), ("/base", None), (None, "/tmp/head"), ("/base", "/tmp/head")])
def test_frames_match_across_checkouts_environments_and_moved_lines(known: tuple[str | None, str | None]) -> None:
    numpy = "site-packages/np/c.py"
    old = [("<module>", "/base/app.py", 3), ("load", "/base/pkg/m.py", 10), ("zeros", f"/1/lib/python3.11/{numpy}", 5)]
    new = [
        ("<module>", "/tmp/head/app.py", 8),
        ("load", "/tmp/head/pkg/m.py", 12),
        ("zeros", f"/2/lib/python3.13/{numpy}", 6),
    ]
    named = compared(stacks((old, 70), directory=known[0]), stacks((new, 90), directory=known[1]))
    ((frames, sizes),) = merged(named.stacks).items()
    assert sizes == (70, 90)
    assert [named.frames[at].source.name for at in frames] == ["app.py", "pkg/m.py", numpy]


def test_processes_stand_apart_where_they_are_asked_for_and_else_together() -> None:
    load = [("load", "/srv/app.py", 4)]
    both = several((7, [(load, 50)]), (8, [(load, 30)]), directory="/srv")
    named = by_process(both)
    assert {named.frames[stack.frames[0]].function: stack.after for stack in named.stacks} == {
        "parent 7": 50,
        "worker 8": 30,
    }
    together = compared(both, both)
    assert list(merged(together.stacks).values()) == [(80, 80)]
