"""`levers`: each lever in turns with the service as it is, then the best of them together. Pure.

First the service as it is runs under the limit. If the limit cuts its peak off (a kill, a hang), sizes are measured under a
raised limit, for it and for every lever alike, and each lever has a run under the real limit beside: what a kill left of a
peak is no size, and a difference of two limits' figures is no saving. If it survives, the real limit is the only one.

Then ROUNDS rounds, in each of them every lever once and the service as it is at least three times, spread among them, so that what
drifts on the machine drifts for all. Where that shows neither a saving nor a cost nor that there is neither, the lever has as
many rounds again. The error of each bound is shared out over both looks (Bonferroni).

Then, greedily: the lever that saves most, and to it one after the other those that save by themselves, each kept only if with
it less is needed than without, and the service still serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from profiling.advice.applying import compatible
from profiling.experiments.policy import Step
from profiling.judging.savings import MEMORY, WHOLE, Saving, is_clear, saving
from profiling.levers import Lever, LeverFigures, LeversRecord, Part
from profiling.sizing import Ending
from profiling.units import MIB

AS_IS = "as is"
ROUNDS = 3
CONFIDENCE = 0.98
_LOOKS = 2
LEVEL = (1 - CONFIDENCE) / 2 / _LOOKS
"""How often each bound of an interval may be wrong in each look."""
_AS_IS_AT_LEAST = 3
"""Runs of the service as it is in a round: with nine of them, three of a lever are the fewest that have such an interval."""
_KEEP = 0.05
"""How often an addition that saves nothing may be kept."""
_EVERY = 6
"""So many levers between two runs of the service as it is."""
_FAILURES, _UNUSABLE = 2, 2
_UNUSABLE_AS_IS = 4
_ADDED_AT_MOST = 6
_POINT = 0.01
"""By so much of all answers may quality be lower."""
_WORTH_BYTES = float(MIB)
"""Nobody adds a setting for less, however small the service is."""
Done = Sequence[tuple[Step, LeverFigures]]


class LeverStep(Step, frozen=True, kw_only=True):
    """One run with some levers; with none, the service as it is."""

    levers: tuple[str, ...] = ()
    part: Part
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Chain:
    """How far the search for the best together has come."""

    levers: tuple[str, ...]
    parts: tuple[Part, ...]
    """For each of them in turn, where its runs with those before it are."""
    trying: tuple[str, ...] | None
    """What is tried now; None: that was all."""
    tried: int


class Levers:
    """Says which run to make next, what is certain to come, and that it is enough."""

    def __init__(self, asked: LeversRecord) -> None:
        self.levers = {lever.name: lever for lever in asked.levers if not lever.left_out}
        self.limit_bytes = asked.limit_bytes
        self.raised_bytes = asked.raised_bytes
        self.tolerance = asked.tolerance

    def next_step(self, done: Done) -> Step | None:
        return next(self._ahead(done), None)

    def ahead(self, done: Done) -> tuple[LeverStep, ...]:
        """What is certain to come, if all goes well; more may."""
        return tuple(self._ahead(done))

    def _ahead(self, done: Done) -> Iterator[LeverStep]:
        if not done:
            yield LeverStep(variant=AS_IS, part=Part.WARM, limit_bytes=max(self.limit_bytes, self.raised_bytes))
        doubted = any(_is_failed(run) for run in self.runs(done, (), Part.LIMIT))
        missing = self._missing_at_limit(done, (), 2 if doubted else 1, _UNUSABLE_AS_IS)
        for _ in range(missing):
            yield self._step((), Part.LIMIT, self.limit_bytes)
        if missing:
            yield from self._rounds(done, tuple(self.levers), ROUNDS)
            return
        if not self.can_go_on(done):
            return
        rounds = [*self._rounds(done, tuple(self.levers), ROUNDS)]
        rounds = rounds or [*self._rounds(done, self.unclear(done), _LOOKS * ROUNDS)]
        if rounds:
            yield from rounds
            return
        yield from self._together(done)

    def measured_bytes(self, done: Done) -> int:
        """The limit under which sizes are measured."""
        raised = any(cut_off(run) for run in self.runs(done, (), Part.LIMIT))
        return max(self.limit_bytes, self.raised_bytes) if raised else self.limit_bytes

    def is_raised(self, done: Done) -> bool:
        return self.measured_bytes(done) > self.limit_bytes

    def can_go_on(self, done: Done) -> bool:
        """Whether there is something to compare levers with."""
        runs = self.runs(done, (), Part.ROUND)
        failed = sum(_is_failed(run) for run in runs)
        unusable = sum(run.ending is Ending.UNUSABLE for run in runs)
        at_limit = self.runs(done, (), Part.LIMIT)
        known = self.is_raised(done) or any(run.ending in WHOLE for run in at_limit)
        return known and failed < _FAILURES and unusable <= _UNUSABLE_AS_IS

    def runs(self, done: Done, levers: tuple[str, ...], part: Part) -> list[LeverFigures]:
        """Of these levers, made for this."""
        return [
            result
            for step, result in done
            if isinstance(step, LeverStep) and step.levers == levers and step.part is part
        ]

    def whole(self, done: Done, levers: tuple[str, ...], part: Part) -> list[LeverFigures]:
        """Those of them that have a peak of their own."""
        return [run for run in self.runs(done, levers, part) if run.ending in WHOLE and run.peak_bytes is not None]

    def saved(self, done: Done, name: str, runs: int | None = None) -> Saving | None:
        """What a lever saves by itself, by its first `runs` and as many rounds of the service as it is; None: by all."""
        as_is, with_it = self.whole(done, (), Part.ROUND), self.whole(done, (name,), Part.ROUND)
        if runs is not None:
            as_is, with_it = as_is[: runs * self._blocks], with_it[:runs]
        if not as_is or not with_it:
            return None
        return saving(_peaks(as_is), _peaks(with_it), LEVEL)

    def worth_bytes(self, done: Done, runs: int | None = None) -> float:
        """Less than this is no difference worth a setting. `runs`: as in `saved`."""
        as_is = self.whole(done, (), Part.ROUND)
        as_is = as_is if runs is None else as_is[: runs * self._blocks]
        return max(_WORTH_BYTES, self.tolerance * median(_peaks(as_is))) if as_is else _WORTH_BYTES

    def unclear(self, done: Done) -> tuple[str, ...]:
        """Levers whose first look says nothing."""
        found = []
        for name in self.levers:
            first = self.saved(done, name, ROUNDS)
            if (
                first is not None
                and not is_clear(first, self.worth_bytes(done, ROUNDS))
                and not self._is_out(done, name)
            ):
                found.append(name)
        return tuple(found)

    def candidates(self, done: Done) -> tuple[str, ...]:
        """Levers that save by themselves, most first: the whole interval is a saving, the estimate worth a setting."""
        found = {}
        allowed = {Ending.PASSED, *(run.ending for run in self.whole(done, (), Part.ROUND))}
        for name, lever in self.levers.items():
            if lever.elsewhere:
                continue
            saved, runs = self.saved(done, name), self.runs(done, (name,), Part.ROUND)
            serves = all(run.ending in allowed or run.ending is Ending.UNUSABLE for run in runs)
            serves = serves and self._answers_as_well(done, (name,), Part.ROUND)
            if saved is not None and serves and saved.low > 0 and saved.estimate > self.worth_bytes(done):
                found[name] = saved.estimate
        return tuple(sorted(found, key=lambda name: -found[name]))

    def chain(self, done: Done) -> Chain:
        """The best together, as far as it has been tried."""
        candidates = self.candidates(done)
        levers, parts = candidates[:1], [Part.ROUND][: len(candidates)]
        tried = 0
        for name in candidates[1:]:
            if tried == _ADDED_AT_MOST or not compatible([self.levers[one] for one in levers], self.levers[name]):
                continue
            tried += 1
            kept = self._keeps(done, levers, parts[-1], (*levers, name))
            if kept is None:
                return Chain(levers, tuple(parts), (*levers, name), tried)
            if kept:
                levers, parts = (*levers, name), [*parts, Part.TOGETHER]
        return Chain(levers, tuple(parts), None, tried)

    def _keeps(self, done: Done, levers: tuple[str, ...], part: Part, more: tuple[str, ...]) -> bool | None:
        """Whether `more` really saves more than `levers`; None: not known yet. One run that saves nothing is enough."""
        before, runs = _peaks(self.whole(done, levers, part)), self.runs(done, more, Part.TOGETHER)
        whole = self.whole(done, more, Part.TOGETHER)
        allowed = {Ending.PASSED, Ending.UNUSABLE, *(run.ending for run in self.whole(done, (), Part.ROUND))}
        unusable = [run for run in runs if run.ending is Ending.UNUSABLE]
        if any(run.ending not in allowed for run in runs) or len(unusable) > _UNUSABLE:
            return False
        if any(peak >= median(before) for peak in _peaks(whole)) or not self._answers_as_well(
            done, more, Part.TOGETHER
        ):
            return False
        if len(whole) < ROUNDS:
            return None
        return saving(before, _peaks(whole), _KEEP).low > 0

    def _answers_as_well(self, done: Done, levers: tuple[str, ...], part: Part) -> bool:
        """Whether as many answers are right, as far as that is known."""
        return not are_worse(self.runs(done, (), Part.ROUND), self.runs(done, levers, part))

    def _together(self, done: Done) -> Iterator[LeverStep]:
        found = self.chain(done)
        measured = self.measured_bytes(done)
        if found.trying is not None:
            # One of the service as it is with each addition: these runs, too, are held against it.
            if not self.runs(done, found.trying, Part.TOGETHER) and self._bases_together(done) < found.tried:
                yield self._step((), Part.TOGETHER, measured)
            yield self._step(found.trying, Part.TOGETHER, measured)
        elif found.levers and self.is_raised(done):
            for _ in range(self._missing_at_limit(done, found.levers, 2, _UNUSABLE)):
                yield self._step(found.levers, Part.LIMIT, self.limit_bytes)

    def _bases_together(self, done: Done) -> int:
        return len(self.runs(done, (), Part.TOGETHER))

    def _rounds(self, done: Done, levers: tuple[str, ...], rounds: int) -> Iterator[LeverStep]:
        """The places in these rounds that nothing has filled, in order. A run that says nothing fills none."""
        if not levers:
            return
        filled = {name: self._filled(done, (name,)) for name in levers}
        as_is = self._filled(done, ())
        before = ROUNDS if rounds > ROUNDS else 0
        measured = self.measured_bytes(done)
        blocks = self._blocks if not before else max(1, -(-len(levers) // _EVERY))
        least = before * self._blocks
        for number in range(before + 1, rounds + 1):
            for block in range(blocks):
                least += 1
                if as_is < least:
                    yield self._step((), Part.ROUND, measured)
                for name in levers[block::blocks]:
                    yield from self._turn(done, name, number, filled[name], measured)

    def _turn(self, done: Done, name: str, number: int, filled: int, measured: int) -> Iterator[LeverStep]:
        """One lever's turn of a round."""
        if self._is_out(done, name):
            yield from self._at_limit(done, name)
            return
        lever = self.levers[name]
        if number == 1 and lever.bytecode and not self.runs(done, (name,), Part.WARM):
            yield self._step((name,), Part.WARM, max(self.limit_bytes, self.raised_bytes))
        if filled < number:
            yield self._step((name,), Part.ROUND, measured)
        if number == 1:
            yield from self._at_limit(done, name)

    def _at_limit(self, done: Done, name: str) -> Iterator[LeverStep]:
        """A run under the real limit, where sizes are measured under another."""
        if self.is_raised(done) and self.whole(done, (name,), Part.ROUND):
            for _ in range(self._missing_at_limit(done, (name,), 1, _UNUSABLE)):
                yield self._step((name,), Part.LIMIT, self.limit_bytes)

    def _missing_at_limit(self, done: Done, levers: tuple[str, ...], wanted: int, unusable: int) -> int:
        runs = self.runs(done, levers, Part.LIMIT)
        useless = sum(run.ending is Ending.UNUSABLE for run in runs)
        return 0 if useless > unusable else max(0, wanted - (len(runs) - useless))

    def _is_out(self, done: Done, name: str) -> bool:
        """Whether more runs of it would tell nothing more."""
        runs = self.runs(done, (name,), Part.ROUND)
        failed = sum(_is_failed(run) for run in (*runs, *self.runs(done, (name,), Part.WARM)))
        return failed >= _FAILURES or sum(run.ending is Ending.UNUSABLE for run in runs) > _UNUSABLE

    def _filled(self, done: Done, levers: tuple[str, ...]) -> int:
        return sum(run.ending is not Ending.UNUSABLE for run in self.runs(done, levers, Part.ROUND))

    @property
    def _blocks(self) -> int:
        """How often the service as it is runs in a round."""
        return max(_AS_IS_AT_LEAST, -(-len(self.levers) // _EVERY))

    def _step(self, levers: tuple[str, ...], part: Part, limit_bytes: int) -> LeverStep:
        return LeverStep(variant=" + ".join(levers) or AS_IS, levers=levers, part=part, limit_bytes=limit_bytes)


def cut_off(run: LeverFigures) -> bool:
    """Whether the limit ended it or kept it from serving: only then can more memory change anything."""
    return run.ending in MEMORY or (_is_failed(run) and run.at_limit)


def are_worse(as_is: Sequence[LeverFigures], with_it: Sequence[LeverFigures]) -> bool:
    """Whether fewer answers are as they should be, by more than a point."""
    before, after = ([run.quality for run in runs if run.quality is not None] for runs in (as_is, with_it))
    return bool(before and after) and min(after) < max(before) - _POINT


def _is_failed(run: LeverFigures) -> bool:
    return run.ending not in WHOLE and run.ending is not Ending.UNUSABLE


def _peaks(runs: Sequence[LeverFigures]) -> list[float]:
    return [float(run.peak_bytes) for run in runs if run.peak_bytes is not None]


def done_of(record: LeversRecord) -> list[tuple[Step, LeverFigures]]:
    """The record's runs as the policy sees them."""
    return [
        (
            LeverStep(
                variant=" + ".join(run.levers) or AS_IS, levers=run.levers, part=run.part, limit_bytes=run.limit_bytes
            ),
            run.figures,
        )
        for run in record.runs
    ]


def chosen(names: Sequence[str], levers: dict[str, Lever]) -> list[Lever]:
    """The levers of these names, in their order."""
    return [levers[name] for name in names]
