from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from profiling.judging.report import Array
from reports.plots.resample import rebin, thin

VALUES = st.floats(-1e12, 1e12) | st.just(float("nan")) | st.just(float("inf"))
SERIES = st.lists(VALUES, max_size=400)


def clock(size: int) -> Array:
    return np.arange(size) / 100


@given(SERIES, st.integers(1, 30))
def test_peaks_and_valleys_survive(values: list[float], buckets: int) -> None:
    raw = np.array(values)
    finite = raw[np.isfinite(raw)]
    _, kept = thin(clock(raw.size), raw, buckets)
    kept = kept[np.isfinite(kept)]
    assert kept.size == 0 if finite.size == 0 else (kept.max(), kept.min()) == (finite.max(), finite.min())


@given(SERIES, st.integers(1, 30))
def test_points_are_few_in_order_and_real(values: list[float], buckets: int) -> None:
    raw = np.array(values)
    t_s, kept = thin(clock(raw.size), raw, buckets)
    assert t_s.size == kept.size
    assert np.all(np.diff(t_s) >= 0)
    real = np.isfinite(kept)
    assert int(real.sum()) <= 2 * buckets + 2 + 2 * int((~real).sum())
    points = set(zip(clock(raw.size).tolist(), values, strict=True))
    assert points.issuperset(zip(t_s[real].tolist(), kept[real].tolist(), strict=True))


@given(st.integers(1, 200), st.integers(0, 9999))
def test_one_spike_in_ten_thousand_samples_is_drawn_where_it_was(buckets: int, at: int) -> None:
    raw = np.full(10_000, 100.0)
    raw[at] = 512.0
    t_s, kept = thin(clock(raw.size), raw, buckets)
    assert t_s[kept == 512.0].tolist() == [at / 100]
    assert t_s.size <= 2 * buckets + 2


def test_the_highest_point_of_every_stretch_is_kept() -> None:
    raw = np.random.default_rng(1).uniform(0, 1, 10_000)
    t_s, kept = thin(clock(raw.size), raw, 50)
    for start in range(0, 10_000, 200):
        inside = (t_s >= start / 100 - 0.011) & (t_s <= (start + 199) / 100 + 0.011)
        assert kept[inside].max() >= raw[start + 2 : start + 198].max()


def test_a_line_breaks_where_nothing_was_measured() -> None:
    t_s = np.concatenate([np.arange(0, 5, 0.01), np.arange(9, 12, 0.01)])
    _, kept = thin(t_s, np.ones_like(t_s), 20)
    assert int(np.isnan(kept).sum()) == 1


def test_sparse_samples_between_nans_are_one_line() -> None:
    raw = np.full(1000, np.nan)
    raw[::10] = 5.0
    _, kept = thin(clock(1000), raw, 300)
    assert kept.tolist() == [5.0] * 100


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 50))
def test_rebinning_keeps_the_total(values: list[float], bins: int) -> None:
    raw = np.array(values)
    means, each = rebin(raw, bins)
    assert means.size <= bins
    counts = np.minimum(each, raw.size - each * np.arange(means.size))
    assert np.isclose(float((means * counts).sum()), float(raw.sum()))
