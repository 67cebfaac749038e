"""Samples of several services as those of one: at each moment the sum of what each last was."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from profiling.measuring.samples import FIELDS, UNMEASURED
from profiling.measuring.totals import Records, total

DTYPE = np.dtype(list(FIELDS))
MS = 1_000_000


def series(*samples: tuple[int, int], **same: int) -> Records:
    """Samples of (ms, bytes unreclaimable); `same`: fields with one value in all."""
    records = np.zeros(len(samples), DTYPE)
    for record, (at_ms, size) in zip(records, samples, strict=True):
        record["t_ns"], record["unreclaimable"] = at_ms * MS, size
    for name, value in same.items():
        records[name] = value
    return records


def test_each_counts_with_its_last_sample_until_then() -> None:
    found = total([series((10, 1), (30, 5)), series((20, 100), (40, 300))])
    assert (found["t_ns"] // MS).tolist() == [10, 20, 30, 40]
    assert found["unreclaimable"].tolist() == [1, 101, 105, 305]


def test_what_is_gone_holds_nothing_but_its_kills_stay_counted() -> None:
    killed = series((0, 70), (100, 80), oom_kills=1, births=2)
    found = total([killed, series((0, 5), (500, 5), (700, 5))])
    assert found["unreclaimable"].tolist() == [75, 85, 85, 5]
    assert found["oom_kills"].tolist() == [1, 1, 1, 1]
    assert found["births"].tolist() == [2, 2, 2, 2]


def test_unmeasured_in_one_is_unmeasured_in_the_sum() -> None:
    found = total(
        [series((0, 1), rss=UNMEASURED, pressure_full_us=3), series((0, 1), (900, 1), rss=7, pressure_full_us=9)]
    )
    assert found["rss"].tolist() == [UNMEASURED, 7], "the first is gone by then"
    assert found["pressure_full_us"].tolist() == [9, 9], "of the one that waited most"


def test_of_nothing_there_is_nothing() -> None:
    assert len(total([series(), series()])) == 0
    assert total([series(), series((1, 2))])["unreclaimable"].tolist() == [2]


@given(st.lists(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 10**9)), max_size=20), min_size=1, max_size=4))
def test_the_sum_is_never_more_than_that_of_the_peaks(parts: list[list[tuple[int, int]]]) -> None:
    sampled = [series(*dict(sorted(samples)).items()) for samples in parts]
    found = total(sampled)
    assert len(found) == len({at for samples in parts for at, _ in samples})
    if len(found):
        peaks = [int(records["unreclaimable"].max()) for records in sampled if len(records)]
        assert max(peaks) <= int(found["unreclaimable"].max()) <= sum(peaks)
        last = sum(int(records["unreclaimable"][-1]) for records in sampled if len(records))
        assert int(found["unreclaimable"][-1]) == last
