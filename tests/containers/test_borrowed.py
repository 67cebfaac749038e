"""A memray for another Python than the tool's."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from profiling.measuring.sandboxes.containers.borrowed import memray_for

OURS = ".".join(map(str, sys.version_info[:2]))
OTHER = "3.12" if OURS != "3.12" else "3.13"


def test_the_same_python_borrows_the_tools_own() -> None:
    names = {path.name for path in memray_for(OURS)}
    assert {"memray", "typing_extensions.py"} <= names
    assert all(path.exists() for path in memray_for(OURS))


def test_another_python_gets_its_own_wheel_of_the_same_version_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = {path.name: path for path in memray_for(OTHER)}
    abi = f"cpython-{OTHER.replace('.', '')}-{platform.machine()}"
    assert list(found["memray"].glob(f"_memray.{abi}*.so"))
    assert not list(tmp_path.rglob("*.dist-info"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert {path.name for path in memray_for(OTHER)} == set(found), "nothing is fetched twice"


def test_where_no_wheel_can_be_had_there_is_none_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not memray_for("3.99")
    assert not list((tmp_path / "oomproof").iterdir())
