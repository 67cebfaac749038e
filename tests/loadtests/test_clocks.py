from hypothesis import given
from hypothesis import strategies as st

from loadtests.clocks import KEPT, ClockEstimate

MS = 10**6
delays = st.integers(0, 500 * MS)


@given(
    ahead=st.integers(-(10**15), 10**15),
    trips=st.lists(st.tuples(delays, delays, st.integers(0, 10 * MS)), min_size=1, max_size=3 * KEPT),
)
def test_the_error_is_within_its_bound_whatever_the_way_there_and_back_took(
    ahead: int, trips: list[tuple[int, int, int]]
) -> None:
    """The worst case is one way that takes no time at all: half the round trip, and never more."""
    estimate = ClockEstimate()
    now = 10**12
    for there, back, pause in trips:
        estimate.add(now, now + there + ahead, now + there + back)
        now += there + back + pause
        assert abs(estimate.use() - ahead) <= estimate.error_ns


def test_the_quickest_of_the_last_trips_counts() -> None:
    estimate = ClockEstimate()
    estimate.add(0, 1_000 + 7, 14)  # 14 ns there and back, 1,000 ahead
    assert (estimate.use(), estimate.error_ns) == (1_000, 7)
    for number in range(KEPT):
        assert estimate.use() == 1_000
        asked = 1_000 * number
        estimate.add(asked, asked + 2_000 + 50, asked + 100)  # slower, and the clock has moved on
    assert estimate.use() == 2_000
    assert estimate.error_ns == 50 + 1_000, "that it moved counts as an error of what was said before"
    assert estimate.count == KEPT
