"""The border between values that pass and values that fail, found with few trials and confirmed on both sides. Pure.

`size` asks for the smallest memory limit that passes, `capacity` for the largest load: one search serves both. It goes out
from an anchor, where the border is expected, in steps that double, until it has seen a value pass and one fail; it halves
the gap between them until that is narrow enough; then it repeats both ends. A caller tells it what was tried and asks
what to try next:

    search = Search(start=8, step=8, larger_passes=False, lowest=1, highest=4096, narrow=lambda passing: max(1, passing // 10))
    while (value := search.next_value(trials)) is not None:
        trials.append(Trial(value, passed=...))
    search.bracket(trials)   # .passing, .failing, .is_proved
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_UNUSABLE = 2
"""So many trials may say nothing before the search is given up."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One value that was tried, and whether it passed; None: the trial says nothing, and is made again."""

    value: int
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Bracket:
    """What the trials show. An end is a value all of whose trials agree, with none beyond it that contradicts."""

    passing: int | None
    """The value nearest to the border that passed; None: none did."""
    failing: int | None
    passes: int
    """How often `passing` passed."""
    failures: int
    """How often `failing` failed."""
    unsteady: tuple[int, int] | None
    """From the smallest to the largest value between the ends where trials contradict each other; None: nowhere."""
    is_narrow: bool
    """The ends are as close to each other as was asked for."""
    is_confirmed: bool
    """Each end was tried as often as was asked for."""

    @property
    def is_proved(self) -> bool:
        return self.is_narrow and self.is_confirmed


class Search:
    """Says which value to try next, and what the trials so far show. Values are multiples of `unit`."""

    def __init__(
        self,
        *,
        start: int,
        step: int,
        larger_passes: bool,
        lowest: int,
        highest: int,
        narrow: Callable[[int], int],
        anchor: int | None = None,
        unit: int = 1,
        repeats: int = 2,
        max_trials: int = 8,
        passing_first: bool = False,
    ) -> None:
        """`start`: the first value to try. `anchor`: where the border is expected, by default at `start`; from there it goes
        by `step`, three times, seven times `step`, and so on (with `step` = `start` that is doubling).

        `larger_passes`: True for a limit, False for a load. `lowest`, `highest`: never tried beyond. `narrow`: how far
        apart the ends may be, by the passing one. `repeats`: trials of each end. `max_trials`: of all, those that say
        nothing included; with few left the ends are confirmed where they are. `passing_first`: which end is confirmed first;
        by default the failing one, whose trials are often over sooner. Raises ValueError for what makes no sense.
        """
        if not lowest <= start <= highest or step < 1 or unit < 1 or repeats < 1 or max_trials < 1:
            raise ValueError("a search needs lowest <= start <= highest, and a step, a unit and trials of 1 or more")
        self.max_trials = max_trials
        self.repeats = repeats
        self._sign = 1 if larger_passes else -1
        self._start = start
        self._step = max(step, unit)
        self._anchor = self._sign * min(max(start if anchor is None else anchor, lowest), highest)
        self._worst, self._best = sorted((self._sign * lowest, self._sign * highest))
        self._narrow = narrow
        self._unit = unit
        self._passing_first = passing_first

    def next_value(self, trials: Sequence[Trial]) -> int | None:
        """What to try after `trials`, in any order; None: that is all."""
        unusable = [trial.value for trial in trials if trial.passed is None]
        if len(trials) >= self.max_trials or len(unusable) > MAX_UNUSABLE:
            return None
        if len(unusable) == len(trials):
            return self._start
        seen = self._seen(trials)
        missing = self._missing(seen)
        if seen.passing is None or seen.failing is None or self.max_trials - len(trials) > len(missing):
            wanted = self._wanted(seen)
            if wanted is not None:
                return self._sign * wanted
        return missing[0] if missing else None

    def bracket(self, trials: Sequence[Trial]) -> Bracket:
        """What `trials` show, in any order."""
        seen = self._seen(trials)
        passing, failing = (None if end is None else self._sign * end for end in (seen.passing, seen.failing))
        between = sorted((self._sign * seen.lowest_pass, self._sign * seen.highest_fail)) if seen.is_unsteady else None
        return Bracket(
            passing=passing,
            failing=failing,
            passes=seen.count(seen.passing),
            failures=seen.count(seen.failing),
            unsteady=(between[0], between[1]) if between else None,
            is_narrow=passing is not None and failing is not None and abs(passing - failing) <= self._narrow(passing),
            is_confirmed=passing is not None and failing is not None and not self._missing(seen),
        )

    def _seen(self, trials: Sequence[Trial]) -> _Seen:
        found: dict[int, list[bool]] = {}
        for trial in trials:
            if trial.passed is not None:
                found.setdefault(self._sign * trial.value, []).append(trial.passed)
        return _Seen(found)

    def _missing(self, seen: _Seen) -> list[int]:
        """The trials by which the ends are still to be confirmed."""
        ends = (seen.passing, seen.failing) if self._passing_first else (seen.failing, seen.passing)
        return [self._sign * end for end in ends if end is not None for _ in range(self.repeats - seen.count(end))]

    def _wanted(self, seen: _Seen) -> int | None:
        """A value that brings the ends closer; None where they are close, or nothing lies beyond."""
        if seen.passing is None:
            return self._upwards(seen.highest_fail) if seen.highest_fail < self._best else None
        if seen.failing is None:
            return self._downwards(seen.lowest_pass) if seen.lowest_pass > self._worst else None
        allowed = self._narrow(abs(seen.passing))
        if seen.passing - seen.failing <= allowed:
            return None
        if not seen.is_unsteady:
            return self._between(seen.failing, seen.passing)
        return self._beside_what_contradicts(seen, self._narrow(abs(seen.highest_fail)) // 2)

    def _beside_what_contradicts(self, seen: _Seen, near: int) -> int | None:
        """Half of what is allowed away from the values that contradict themselves, on the side where more is left."""
        assert seen.passing is not None
        assert seen.failing is not None
        above, below = seen.passing - seen.highest_fail, seen.lowest_pass - seen.failing
        if max(above, below) <= max(near, self._unit):
            return None
        step = max(self._on_grid(near), self._unit)
        wanted = seen.highest_fail + step if above >= below else seen.lowest_pass - step
        return wanted if seen.failing < wanted < seen.passing else None

    def _between(self, low: int, high: int) -> int | None:
        """In the middle, or nearer to the anchor where that lies on the way."""
        middle = self._on_grid((low + high) // 2)
        found = middle
        if low < self._anchor < high:
            found = self._on_grid(self._anchor)
        elif self._anchor <= low:
            found = min(middle, self._upwards(low))
        elif self._anchor >= high:
            found = max(middle, self._downwards(high))
        return next((value for value in (found, middle) if low < value < high), None)

    def _upwards(self, low: int) -> int:
        """The first step from the anchor that lies above `low`."""
        offset = 0
        while (value := self._on_grid(self._anchor + offset)) <= low:
            offset = 2 * offset + self._step
        return min(value, self._best)

    def _downwards(self, high: int) -> int:
        offset = 0
        while (value := self._on_grid(self._anchor - offset)) >= high:
            offset = 2 * offset + self._step
        return max(value, self._worst)

    def _on_grid(self, value: int) -> int:
        return round(value / self._unit) * self._unit


class _Seen:
    """What was tried, in the direction in which more passes."""

    def __init__(self, found: dict[int, list[bool]]) -> None:
        self._found = found
        passed = [value for value, results in found.items() if any(results)]
        failed = [value for value, results in found.items() if not all(results)]
        self.lowest_pass = min(passed, default=0)
        self.highest_fail = max(failed, default=0)
        self.is_unsteady = bool(passed and failed) and self.lowest_pass <= self.highest_fail
        self.passing = min((v for v in passed if not failed or v > self.highest_fail), default=None)
        self.failing = max((v for v in failed if not passed or v < self.lowest_pass), default=None)

    def count(self, value: int | None) -> int:
        return 0 if value is None else len(self._found[value])
