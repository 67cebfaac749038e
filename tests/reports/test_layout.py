from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from profiling.units import MIB
from reports.plots.layout import dodge, group, memory_scale
from tests.reports.factory import never_ready, per_request, singleton

GIB = 1024 * MIB


@given(st.lists(st.floats(-50, 300), max_size=12), st.floats(1, 40))
def test_labels_keep_apart_in_order_and_within(wanted: list[float], apart: float) -> None:
    places = dodge(wanted, apart, 0, 230)
    assert len(places) == len(wanted)
    assert all(-1e-6 <= place <= 230 + 1e-6 for place in places)
    ranked = [place for _, place in sorted(zip(wanted, places, strict=True), key=lambda pair: pair[0])]
    room = apart if (len(wanted) - 1) * apart < 230 else 0.0
    assert all(b - a >= room - 1e-6 for a, b in pairwise(sorted(places)))
    assert len(set(wanted)) < len(wanted) or ranked == sorted(ranked)


def test_labels_with_room_stay_where_they_are_wanted() -> None:
    assert dodge([200.0, 20.0], 14, 0, 230) == (200.0, 20.0)


@given(st.lists(st.floats(0, 100), max_size=40), st.floats(0.1, 20))
def test_no_kill_is_lost_in_a_group(times: list[float], apart: float) -> None:
    marks = group(times, apart)
    assert sum(mark.count for mark in marks) == len(times)
    assert all(a.at_s < b.at_s for a, b in pairwise(marks))


def test_a_kill_at_no_known_time_is_not_drawn() -> None:
    assert group([math.nan], 1) == ()


def test_the_limit_is_in_view() -> None:
    scale = memory_scale([per_request(), singleton()])
    assert scale.shows(512 * MIB)
    assert scale.unit == "MiB"
    assert 512 in scale.ticks


def test_small_and_large_limits_have_round_ticks() -> None:
    assert memory_scale([singleton(limit=8 * MIB)]).ticks == (0, 2, 4, 6, 8)
    large = memory_scale([singleton(limit=64 * GIB)])
    assert (large.unit, large.ticks) == ("GiB", (0, 16, 32, 48, 64))


def test_nothing_measured_still_has_a_scale() -> None:
    assert memory_scale([never_ready()]).shows(8 * MIB)
    assert memory_scale([]).top_bytes > 0
