"""What is made once and kept in a file is what it was made from, and goes with whoever reads it."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from profiling.measuring import blocks
from profiling.measuring.blocks import Blocks
from profiling.measuring.kept import kept
from profiling.measuring.totals import Summed, total
from tests.profiling.test_blocks import MS, all_of, series

PARTS = [series([10 * MS * n + shift for n in range(500)]) for shift in (0, 3 * MS)]


def summed() -> Summed:
    return Summed([Blocks.of(part) for part in PARTS])


def open_files(directory: Path) -> list[str]:
    """Files below `directory`, without a name or with one, that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except FileNotFoundError:
            continue
    return [name for name in found if name.startswith(str(directory))]


def test_sums_that_are_kept_are_the_sums_in_whole_and_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 64)
    found, expected = kept(summed(), tmp_path, 1000), total(PARTS)
    assert isinstance(found, Blocks)
    np.testing.assert_array_equal(all_of(found), expected)
    np.testing.assert_array_equal(found.ends(), expected[[0, -1]])
    for start, end in ((None, 40 * MS), (41 * MS, 99 * MS), (4000 * MS, None), (99 * MS, 41 * MS)):
        within = expected[(expected["t_ns"] >= (start or 0)) & (expected["t_ns"] < (end or 10**12))]
        np.testing.assert_array_equal(all_of(found.between(start, end)), within)


def test_nothing_of_it_has_a_name_and_it_goes_with_its_last_reader(tmp_path: Path) -> None:
    found = kept(summed(), tmp_path, 1000)
    part = found.between(0, 100 * MS)
    assert list(tmp_path.iterdir()) == []
    assert len(open_files(tmp_path)) == 1
    del found
    gc.collect()
    assert len(all_of(part)) == 20, "a part keeps it"
    del part
    gc.collect()
    assert open_files(tmp_path) == []


def test_without_room_or_the_right_to_write_they_are_made_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = summed()
    assert kept(sums, tmp_path / "nowhere", 1000) is sums
    needed = 1000 * sums.dtype.itemsize
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10 * needed, 9 * needed, needed))  # type: ignore[attr-defined]
    assert kept(sums, tmp_path, 1000) is sums
