"""Records read a block at a time are the records, whatever the block's edges, from a file as from an array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.measuring import blocks
from profiling.measuring.blocks import Blocks, Readings
from profiling.measuring.samples import FIELDS
from profiling.measuring.totals import Summed, total

DTYPE = np.dtype(list(FIELDS))
MS = 1_000_000


def series(times: Sequence[int]) -> np.ndarray:
    records = np.zeros(len(times), DTYPE)
    records["t_ns"] = times
    records["unreclaimable"] = np.arange(len(times)) % 7
    return records


def all_of(readings: Readings) -> np.ndarray:
    return np.concatenate([np.empty(0, DTYPE), *readings])


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 4)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 17])
def test_a_file_gives_what_an_array_gives(tmp_path: Path, count: int) -> None:
    records = series(range(0, 10 * count, 10))
    path = tmp_path / "samples.bin"
    path.write_bytes(records.tobytes() + b"torn")
    found = Blocks.of_file(path, DTYPE)
    assert len(found) == count
    assert all_of(found).tolist() == all_of(Blocks.of(records)).tolist() == records.tolist()
    assert max((len(block) for block in found), default=0) <= 4
    assert all_of(found.between(25, 95)).tolist() == records[(records["t_ns"] >= 25) & (records["t_ns"] < 95)].tolist()
    assert found.span() == ((0, 10 * count - 10) if count else None)
    assert found.ends().tolist() == ([records[0].tolist(), records[-1].tolist()] if count else [])


def test_a_file_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert len(Blocks.of_file(tmp_path / "samples.bin", DTYPE)) == 0


TIMES = st.lists(st.integers(0, 2000), max_size=40, unique=True).map(sorted)


@given(TIMES, st.integers(-10, 2010), st.integers(-10, 2010), st.integers(-10, 2010))
def test_a_stretch_is_what_lies_in_it_and_so_is_a_stretch_of_a_stretch(
    times: list[int], start: int, end: int, last: int
) -> None:
    found = Blocks.of(series(times)).between(start, None).between(None, end)
    assert all_of(found)["t_ns"].tolist() == [at for at in times if start <= at < end]
    assert found.last_before(last)["t_ns"].tolist() == [at for at in times if start <= at < min(end, last)][-1:]


@given(st.lists(TIMES, min_size=1, max_size=3), st.integers(1, 3000), st.integers(0, 2100), st.integers(0, 2100))
def test_services_summed_up_by_windows_are_what_they_are_at_once(
    each: list[list[int]], window_ms: int, start: int, end: int
) -> None:
    parts = [series([at * MS for at in times]) for times in each]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("profiling.measuring.totals._WINDOW_NS", window_ms * MS)
        summed = Summed([Blocks.of(part) for part in parts])
        whole = total(parts)
        assert all_of(summed).tolist() == whole.tolist()
        wanted = whole[(whole["t_ns"] >= start * MS) & (whole["t_ns"] < end * MS)]
        stretch = summed.between(start * MS, end * MS)
        assert all_of(stretch).tolist() == wanted.tolist()
        assert stretch.ends().tolist() == (wanted[[0, -1]].tolist() if len(wanted) else [])
        some = [block["unreclaimable"] for block in stretch.only("unreclaimable")]
        assert [size for sizes in some for size in sizes.tolist()] == wanted["unreclaimable"].tolist()
