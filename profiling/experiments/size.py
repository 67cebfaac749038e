"""`size`: the smallest limit that passes, from one run that is generous; each side of the border is tried twice. Pure.

The first run that passes says where the border is to be expected: at its peak of unreclaimable memory, which is what the kernel
kills for. A limit of just that is killed in one run and passes in the next, so the first two limits lie on both sides of it,
half a step away each. From there the search goes out (`bracket.py`). Where it is not killed there, but suffers from what it
has to read again, the border is expected where it has room for the files that it uses, too: at its working set.

Where the very first limit fails, it is doubled until one passes; a failure that has nothing to do with memory goes straight to
the largest limit, to be sure of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiling.experiments.bracket import Bracket, Search, Trial
from profiling.experiments.policy import Step
from profiling.sizing import Ending, SizeRecord, Tried
from profiling.units import MIB

MAX_RUNS = 8
"""Of all, confirmations and runs that say nothing included."""
REPEATS = 2
LOWEST_BYTES = 2 * MIB
"""No interpreter starts in less."""
_NARROW_BYTES, _NARROW_SHARE = 8 * MIB, 0.03
_STEP_SHARE = 0.027
"""A little less, so that two limits one step apart are close enough whichever of them is the larger."""
_NOT_OF_MEMORY = (Ending.FAILURES, Ending.SLOW, Ending.PEAK, Ending.GROWTH)
"""What can go wrong at any limit; under one that was not used up it is not the limit's doing."""
_FOR_FILES = (Ending.HUNG, Ending.THRASHES, Ending.NEVER_READY, Ending.TIMED_OUT, Ending.FAILURES, Ending.SLOW)
"""What can come of too little room for the files that are in use."""
Done = Sequence[tuple[Step, Tried]]


class SizeStep(Step, frozen=True, kw_only=True):
    """One run under one limit."""

    limit_bytes: int


def narrow_bytes(passing_bytes: int) -> int:
    """How far below a limit that passes one that fails may be."""
    return max(_NARROW_BYTES, int(_NARROW_SHARE * passing_bytes))


@dataclass(frozen=True, slots=True)
class Size:
    """Says which limit to try next, and what the trials show. `min_headroom`: the budget's, which a passing run keeps."""

    record: SizeRecord
    variant: str
    min_headroom: float | None = None

    def next_step(self, done: Done) -> SizeStep | None:
        runs = [run for _, run in done]
        limit = self.next_limit(runs)
        if limit is None:
            return None
        before = sum(run.limit_bytes == limit for run in runs)
        return SizeStep(variant=self.variant, repeat=before + 1, limit_bytes=limit)

    def next_limit(self, runs: Sequence[Tried]) -> int | None:
        """The next one in bytes; None: that is all."""
        wanted = self._search(runs).next_value(_trials(runs))
        if not runs:
            return wanted
        if wanted is None:
            return self._for_a_kill(runs)
        passed = any(run.ending is Ending.PASSED for run in runs)
        useless = [run for run in runs if run.ending is not Ending.UNUSABLE and not _of_limit(run)]
        if useless and not passed and wanted != self.record.start_bytes:
            return self.record.highest_bytes
        return wanted

    def _for_a_kill(self, runs: Sequence[Tried]) -> int | None:
        """Where only a budget for headroom fails, the kernel's own border lies lower still: one run below the peak."""
        found = self.bracket(runs)
        failing = [run for run in runs if run.limit_bytes == found.failing]
        asked_for = bool(failing) and all(run.ending is Ending.HEADROOM for run in failing)
        peak = min((run.peak_bytes for run in failing if run.peak_bytes), default=0)
        limit = (peak - narrow_bytes(peak)) // MIB * MIB
        enough = len(runs) < MAX_RUNS and limit > LOWEST_BYTES and not any(run.limit_bytes <= limit for run in runs)
        return limit if found.is_proved and asked_for and enough else None

    def bracket(self, runs: Sequence[Tried]) -> Bracket:
        return self._search(runs).bracket(_trials(runs))

    def _search(self, runs: Sequence[Tried]) -> Search:
        record = self.record
        expected = self._expected(runs)
        if expected is None:
            anchor, step = record.start_bytes, record.start_bytes
        else:
            step = int(max(_NARROW_BYTES, _STEP_SHARE * expected)) // MIB * MIB
            anchor = -(-(expected + step // 2) // MIB) * MIB
        return Search(
            start=record.start_bytes,
            anchor=anchor,
            step=step,
            unit=MIB,
            larger_passes=True,
            lowest=min(LOWEST_BYTES, record.start_bytes),
            highest=record.highest_bytes,
            narrow=narrow_bytes,
            repeats=REPEATS,
            max_trials=MAX_RUNS,
            # A kill between two samples, or by what starts it, is likelier above the peak than a survival below it.
            passing_first=True,
        )

    def _expected(self, runs: Sequence[Tried]) -> int | None:
        """Where the border is to be expected; None: nothing passed yet."""
        passed = next((run for run in runs if run.ending is Ending.PASSED and run.peak_bytes), None)
        if passed is None or passed.peak_bytes is None:
            return None
        in_use = passed.working_set_bytes or 0
        if any(run.ending in _FOR_FILES and run.at_limit and run.limit_bytes < in_use for run in runs):
            return in_use
        return round(passed.peak_bytes / (1 - (self.min_headroom or 0.0)))


def _of_limit(run: Tried) -> bool:
    """Whether another limit could have changed how the run ended."""
    return run.at_limit or run.ending in (Ending.PASSED, Ending.KILLED, Ending.HUNG, Ending.HEADROOM)


def _trials(runs: Sequence[Tried]) -> list[Trial]:
    """What the search is told. What went wrong with the limit not even used up, though it went well before under another, is
    an accident that says nothing of this limit. What a service does by itself (crash, never get ready) may be its answer to
    the limit: runtimes choose the size of their heap by it."""
    passed = any(run.ending is Ending.PASSED for run in runs)

    def accident(run: Tried) -> bool:
        return passed and run.ending in _NOT_OF_MEMORY and not run.at_limit

    return [
        Trial(
            run.limit_bytes,
            None if run.ending is Ending.UNUSABLE or accident(run) else run.ending is Ending.PASSED,
        )
        for run in runs
    ]
