"""What of a long series is left for its curves: every low and every high, and all of it before a kill."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from profiling.measuring.blocks import Blocks
from profiling.measuring.samples import FIELDS, UNMEASURED
from profiling.measuring.thinning import thin
from tests.profiling.judging import build

NAMES = [name for name, _ in FIELDS]
COLUMNS = ("charged", "unreclaimable", "rss", "refault_file")


@st.composite
def series(draw: st.DrawFn) -> np.ndarray:
    """Some columns of anything, unmeasured at times; kills that rise at times."""
    count = draw(st.integers(1, 300))
    rows = build.samples(t_s=np.cumsum(draw(arrays.arrays(float, count, elements=st.floats(0.001, 0.5)))))
    for name in COLUMNS:
        rows[name] = draw(arrays.arrays(np.int64, count, elements=st.integers(UNMEASURED, 40)))
    rows["oom_kills"] = np.cumsum(draw(arrays.arrays(np.int64, count, elements=st.sampled_from([0] * 30 + [1, 2]))))
    return rows


@settings(deadline=None)
@given(series(), st.integers(1, 40))
def test_every_low_and_high_stays_and_nothing_is_made_up(rows: np.ndarray, bins: int) -> None:
    found = thin(Blocks.of(rows), len(rows), bins)
    assert found.length == len(rows)
    kept, times = found.samples, found.samples["t_ns"].tolist()
    assert times == sorted(set(times))
    place = np.searchsorted(rows["t_ns"], times)
    assert kept.tolist() == rows[place].tolist(), "samples as they were measured"
    each = -(-len(rows) // bins)
    for start in range(0, len(rows), each):
        whole = rows[start : start + each]
        left = kept[(kept["t_ns"] >= whole["t_ns"][0]) & (kept["t_ns"] <= whole["t_ns"][-1])]
        for name in NAMES:
            assert left[name].max() == whole[name].max()
            assert left[name].min() == whole[name].min()
            measured, still = whole[name][whole[name] != UNMEASURED], left[name][left[name] != UNMEASURED]
            assert not len(measured) or still.min() == measured.min()


@settings(deadline=None)
@given(series(), st.integers(1, 10))
def test_before_a_kill_nothing_is_left_out(rows: np.ndarray, bins: int) -> None:
    kept = thin(Blocks.of(rows), len(rows), bins).samples
    for index in np.flatnonzero(np.diff(rows["oom_kills"], prepend=0) > 0):
        since = rows["t_ns"][index] - 10**9
        before = rows[(rows["t_ns"] >= since) & (rows["t_ns"] <= rows["t_ns"][index])]
        assert set(before["t_ns"].tolist()) <= set(kept["t_ns"].tolist())


def test_a_peak_of_one_sample_in_a_million_stays_and_most_others_go() -> None:
    rows = build.samples(t_s=np.arange(1_000_000) / 100)
    rows["unreclaimable"][654_321] += 1
    kept = thin(Blocks.of(rows), len(rows)).samples
    assert rows["t_ns"][654_321] in kept["t_ns"]
    assert len(kept) < 20_000


def test_of_nothing_there_is_nothing() -> None:
    found = thin(Blocks.of(build.samples(t_s=[])), 0)
    assert (len(found.samples), found.length) == (0, 0)
