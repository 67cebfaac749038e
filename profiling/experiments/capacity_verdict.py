"""From the trials of a search for capacity to its answer in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiling.capacities import By, CapacityJudgement, CapacityRecord, LimitedBy, LoadTrial, Saturation
from profiling.experiments.bracket import Bracket
from profiling.experiments.capacity import CONFIRMED, Capacity, load_of, policy_of
from profiling.judging.load_lines import memory_in_flight, memory_per_load, saturation
from profiling.judging.load_trials import GROWTH, NOT_KEPT
from profiling.units import format_bytes, format_ms, format_number
from profiling.values import Budget, Outcome

Tried = Sequence[tuple[int, LoadTrial]]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    sentence: str
    limited_by: LimitedBy | None


def judge(record: CapacityRecord, tried: Tried, budget: Budget) -> CapacityJudgement:
    """The answer to what was tried: each trial's load in steps, and what it says. No data is inconclusive, never a pass."""
    policy = policy_of(record)
    found = policy.bracket(tried)
    holds = None if found.passing is None else load_of(record, found.passing)
    failing = None if found.failing is None else load_of(record, found.failing)
    trials = tuple(trial for _, trial in tried)
    limit = next((trial.memory_limit_bytes for trial in trials), None)
    answer = _answer(record, policy, tried, found)
    knee = saturation(trials, record.by)
    return CapacityJudgement(
        by=record.by,
        status=answer.status,
        sentence=answer.sentence,
        holds=holds,
        first_failing=failing,
        limited_by=answer.limited_by,
        memory_limit_bytes=limit,
        trials=trials,
        memory=memory_per_load(trials, record.by, holds),
        memory_in_flight=memory_in_flight(trials, record.by),
        saturation=knee,
        notes=(*_of_search(record, found, answer), *_of_trials(trials, knee, budget)),
    )


def _answer(record: CapacityRecord, policy: Capacity, tried: Tried, found: Bracket) -> _Answer:
    limit = next(
        (f" at {format_bytes(trial.memory_limit_bytes)}" for _, trial in tried if trial.memory_limit_bytes), ""
    )
    holding = "" if found.passing is None else f"{named(record.by, load_of(record, found.passing))}{limit}"
    generator = policy.generator_at(tried)
    if generator is not None:
        load = named(record.by, load_of(record, generator))
        said = f"Holds at least {holding}: at" if holding else "Nothing can be said: already at"
        sentence = f"{said} {load} the load generator was the bottleneck before anything failed."
        return _Answer("inconclusive", sentence, LimitedBy.LOAD_GENERATOR)
    if policy.next_load(tried) is not None:
        so_far = f" So far it holds {holding}." if holding else ""
        return _Answer("inconclusive", f"Nothing can be said: it was ended early.{so_far}", None)
    if found.failing is None:
        return _unbroken(record, found, tried, holding)
    decisive = [trial for steps, trial in tried if steps == found.failing and trial.status == "fail"]
    why, limited_by = _reason(decisive), decisive[0].limited_by
    often = f" ({len(decisive)} of {len(decisive)})"
    load = named(record.by, load_of(record, found.failing))
    if found.failures < CONFIRMED or (holding and found.passes < CONFIRMED):
        sentence = (
            f"Not confirmed: it held {holding or 'nothing'}, and at {load} {why}, but not each end was tried twice."
        )
        return _Answer("inconclusive", sentence, limited_by)
    if not holding:
        return _Answer("fail", f"Does not hold even {load}{limit}: {why}{often}.", limited_by)
    return _Answer("pass", f"Holds {holding}; at {load} {why}{often}.", limited_by)


def _unbroken(record: CapacityRecord, found: Bracket, tried: Tried, holding: str) -> _Answer:
    """Nothing failed."""
    if found.passing is None:
        why = next((trial.why for _, trial in tried if trial.why), "nothing was tried")
        return _Answer("inconclusive", f"Nothing can be said: {why}.", None)
    if found.passing < record.highest or found.passes < CONFIRMED:
        return _Answer("inconclusive", f"Not finished: it holds {holding}, and more was not tried.", None)
    return _Answer("pass", f"Holds at least {holding}: nothing failed up to the most that was asked for.", None)


def _reason(failed: Sequence[LoadTrial]) -> str:
    """Why a load fails, in a few words: `it is OOM-killed`."""
    first = failed[0]
    if any(trial.oom_kills for trial in failed):
        return "it is OOM-killed" if first.ready else "it is OOM-killed before it is ready"
    if first.limited_by is LimitedBy.ERRORS and first.failures and first.outcome is Outcome.COMPLETED:
        return f"{first.failures:,} of {first.requests:,} requests fail"
    if first.why.startswith(NOT_KEPT):
        return NOT_KEPT
    return first.why


def shown(record: CapacityRecord, judgement: CapacityJudgement) -> tuple[str, ...]:
    """The directories of one run of the largest load that passed and one of the smallest that failed, for the page."""
    wanted = ((judgement.holds, "pass"), (judgement.first_failing, "fail"))
    pairs = list(zip(record.trials, judgement.trials, strict=True))
    found = [
        next((place.directory for place, trial in pairs if (trial.load, trial.status) == side), None) for side in wanted
    ]
    return tuple(name for name in found if name is not None) or tuple(place.directory for place, _ in pairs[-1:])


def evidence(judgement: CapacityJudgement) -> tuple[str, ...]:
    """What a reader should know beside the answer, in a sentence each."""
    return (*memory_words(judgement), *judgement.notes)


def memory_words(judgement: CapacityJudgement) -> tuple[str, ...]:
    """The lines through the memory: what a user or a request costs, and what it foretells."""
    words = []
    for line in (judgement.memory, judgement.memory_in_flight):
        if line is None:
            continue
        if not line.is_straight:
            how = "ever more steeply" if line.bend > 0 else "ever more slowly"
            words.append(f"memory rises {how} with each {line.per}: a straight line through it would foretell nothing")
            continue
        words.append(
            f"memory: {_bytes(line.start_bytes)} + {_bytes(line.bytes_per)} for each {line.per}"
            f" (± {_bytes(line.high - line.bytes_per)}, 95 % interval, {line.points} runs)"
        )
    return tuple(words)


def _bytes(size: float) -> str:
    return "0" if round(size) == 0 else format_bytes(size)


def _of_search(record: CapacityRecord, found: Bracket, answer: _Answer) -> list[str]:
    """What a reader should know of how near the answer is to the border."""
    notes = []
    if found.unsteady:
        low, high = (load_of(record, steps) for steps in found.unsteady)
        where = f"at {named(record.by, low)}" if low == high else f"from {short(low)} to {named(record.by, high)}"
        notes.append(f"{where} some runs passed and others failed: the border is not sharp")
    if answer.status == "pass" and found.failing is not None and not found.is_narrow:
        notes.append(
            "the gap between the two was not narrowed further: --max-trials was reached, or runs contradict each other"
        )
    return notes


def _of_trials(trials: Sequence[LoadTrial], knee: Saturation | None, budget: Budget) -> list[str]:
    notes = []
    if knee is not None:
        late = f", with {short(knee.largest)} a p95 of {format_ms(knee.p95_ms)}" if knee.p95_ms is not None else ""
        free = "" if budget.max_p95_ms is not None else "; without --max-p95 that is no failure"
        notes.append(
            f"from about {format_number(knee.users)} users on throughput stays at {format_number(knee.rps)} requests/s: more"
            f" users only wait longer{late}{free}"
        )
    growing = sum(
        any(finding.id == GROWTH and finding.level == "fail" for finding in trial.findings) for trial in trials
    )
    if growing:
        notes.append(
            f"in {growing} of {len(trials)} runs memory grew with each request: what holds for the length of a run may not"
            " hold for longer"
        )
    return notes


def named(by: By, load: float) -> str:
    """A load in words: `1 user`, `24 users`, `12.5 requests/s`."""
    if by is By.RATE:
        return f"{short(load)} requests/s"
    return "1 user" if load == 1 else f"{short(load)} users"


def short(load: float) -> str:
    """The number alone."""
    return f"{load:,.0f}" if load == int(load) else f"{load:,.1f}"
