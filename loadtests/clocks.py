"""How far another machine's clock is from this one's, by messages there and back. Pure."""

from collections import deque
from typing import Final

KEPT: Final = 16
"""Round trips that an estimate goes by: the quickest of so many is the most exact, and older ones no longer tell of a drift."""


class ClockEstimate:
    """The offset of another clock, kept up to date.

    After Cristian: an answer that gives the other clock's time was made somewhere between question and arrival, so the
    middle is wrong by at most half the round trip. Of the last `KEPT` round trips the quickest counts.
    """

    def __init__(self) -> None:
        self._trips: deque[tuple[int, int]] = deque(maxlen=KEPT)
        self._worst_ns = 0
        self._used_ns: int | None = None

    def add(self, asked_ns: int, theirs_ns: int, answered_ns: int) -> None:
        """One round trip: asked and answered by this clock, `theirs_ns` by the other."""
        self._trips.append((answered_ns - asked_ns, theirs_ns - (asked_ns + answered_ns) // 2))

    @property
    def count(self) -> int:
        """Round trips that the estimate goes by, at most `KEPT`."""
        return len(self._trips)

    @property
    def offset_ns(self) -> int:
        """The other clock minus this one, as now known. Raises ValueError before the first round trip."""
        return min(self._trips)[1]

    @property
    def error_ns(self) -> int:
        """Bound of the error of all offsets that were used so far."""
        return self._worst_ns

    def use(self) -> int:
        """The offset, for times that are to be put on this clock. What it may be wrong by counts from now on."""
        trip_ns, offset = min(self._trips)
        moved = 0 if self._used_ns is None else abs(offset - self._used_ns)
        self._used_ns = offset
        self._worst_ns = max(self._worst_ns, (trip_ns + 1) // 2 + moved)
        return offset
