"""An experiment on disk: `experiment.json` beside its runs, and from there to a report, with nothing measured again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiling.autopsies import Autopsy
from profiling.capacities import LoadTrial
from profiling.errors import DataError
from profiling.experiments import (
    capacity_record,
    capacity_verdict,
    gate_record,
    grid_record,
    grid_verdict,
    imports,
    levers_record,
    levers_verdict,
    size_record,
    size_verdict,
)
from profiling.experiments.gate_verdict import judge
from profiling.experiments.size import Size
from profiling.judgements import Claim, Verdict
from profiling.judging.analysis import analyse
from profiling.judging.autopsy import autopsy
from profiling.judging.checklist import judge_checks
from profiling.judging.checks import check
from profiling.judging.findings import with_findings
from profiling.judging.imports.blame import with_imports
from profiling.judging.limits import tried
from profiling.judging.report import AnalysedRun, Report
from profiling.judging.verdict import judge_comparison
from profiling.manifests.secrets import redacted_words
from profiling.measuring import store
from profiling.profiles import Profile
from profiling.regressions import GateVerdict
from profiling.sizing import SizeVerdict, Tried
from profiling.values import SCHEMA_VERSION, Budget, Value

FILE_NAME = "experiment.json"
COMPARE = "compare"
VERIFY = "verify"
OBSERVE = "observe"
GATE = "gate"
CAPACITY = "capacity"
SIZE = "size"
LEVERS = "levers"
_STATUS_OF_GATE = {
    GateVerdict.PASS: "pass",
    GateVerdict.IMPROVED: "pass",
    GateVerdict.REGRESSED: "fail",
    GateVerdict.OVER_BUDGET: "fail",
    GateVerdict.INCONCLUSIVE: "inconclusive",
}
_STATUS_OF_SIZE = {
    SizeVerdict.SIZED: "pass",
    SizeVerdict.NEVER_PASSES: "fail",
    SizeVerdict.INCONCLUSIVE: "inconclusive",
}
_PHASES_OF_A_RUN = ("start", "load")


class Experiment(Value, frozen=True, kw_only=True):
    """What was run together. Directories are relative to the experiment's own."""

    schema_version: int = SCHEMA_VERSION
    command: str
    argv: tuple[str, ...]
    candidate: str
    budget: Budget
    created_at: str
    runs: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    """Directories of the memray passes."""
    profiles: tuple[Profile, ...] = ()
    imports: str | None = None
    """Directory of the imports' recording, where the service was killed before it was ready."""
    interrupted: bool = False
    """Ended by Ctrl-C or a signal: what is there is whole, but not all that was asked for."""
    elapsed_s: float | None = None
    """Wall time of all of it, up to the rendering of the report."""


def save(directory: Path, experiment: Experiment) -> None:
    """Write `experiment.json`, the command line without what looks like a secret. Raises OutputError."""
    shown = msgspec.structs.replace(experiment, argv=redacted_words(experiment.argv))
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(shown), indent=1))


def mark_interrupted(directory: Path) -> None:
    """Note in `experiment.json` that it was ended early. Raises OutputError."""
    save(directory, msgspec.structs.replace(load(directory), interrupted=True))


def with_elapsed(experiment: Experiment, elapsed_s: float) -> Experiment:
    """The same experiment with the wall time that all of it took."""
    return msgspec.structs.replace(experiment, elapsed_s=elapsed_s)


def load(directory: Path) -> Experiment:
    """Read `experiment.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=Experiment)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable experiment ({error})", "name a directory that a measuring command printed"
        ) from error


def load_run(directory: Path, budget: Budget) -> AnalysedRun:
    """One run from disk, analysed, with its findings. Raises DataError."""
    stored = store.load(directory)
    return with_findings(analyse(stored), stored, budget)


def report(directory: Path, experiment: Experiment) -> Report:
    """The report of an experiment, from what is on disk. Raises DataError if a run cannot be read or there is none."""
    experiment = _without_what_never_began(directory, experiment)
    own = {GATE: _gated, CAPACITY: _searched, SIZE: _sized, LEVERS: _levered}.get(experiment.command)
    if own is not None and experiment.runs:
        return own(directory, experiment)
    if experiment.command == COMPARE and experiment.runs and (directory / grid_record.FILE_NAME).exists():
        return _in_a_grid(directory, experiment)
    runs = [load_run(directory / name, experiment.budget) for name in experiment.runs]
    if not runs:
        raise DataError(f"{directory} has no run: the experiment ended before its first", "make it again")
    if experiment.command == VERIFY:
        return _verification(directory, experiment, runs[0])
    candidate = experiment.candidate
    if not any(run.result.variant == candidate for run in runs):
        candidate = runs[-1].result.variant  # interrupted before the candidate's turn: what there is can still be seen
    return Report(
        command=experiment.command,
        verdict=judge_comparison(runs, candidate),
        candidate=None if experiment.command == OBSERVE else candidate,
        runs=tuple(runs),
        profiles=experiment.profiles,
        argv=redacted_words(experiment.argv),  # as it was given, when it was not read from disk
        created_at=experiment.created_at,
        beside_share=_beside_share(directory, experiment, runs),
        directory=str(directory.resolve()),
        autopsies=_autopsies(directory, experiment),
    )


def _without_what_never_began(directory: Path, experiment: Experiment) -> Experiment:
    """A run is noted before it is made: of a tool that was killed in between the last one has nothing."""
    if (
        experiment.elapsed_s is None
        and experiment.runs
        and not (directory / experiment.runs[-1] / store.RUN_FILE).exists()
    ):
        return msgspec.structs.replace(experiment, runs=experiment.runs[:-1])
    return experiment


def _autopsies(directory: Path, experiment: Experiment) -> tuple[Autopsy, ...]:
    """Of the passes first: they know the lines."""
    found = [autopsy(run, _profile_of(run, directory, experiment)) for run in _stored(directory, experiment)]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: not one.memray))


def _stored(directory: Path, experiment: Experiment) -> list[store.StoredRun]:
    return [store.load(directory / name) for name in (*experiment.passes, *experiment.runs)]


def _profile_of(run: store.StoredRun, directory: Path, experiment: Experiment) -> Profile | None:
    """What was found in the captures of a memray pass, with whole paths."""
    if run.result.capture is None:
        return None
    found = (profile for profile in experiment.profiles if profile.variant == run.result.variant)
    profile = next((one for one in found if one.status == "recorded"), None)
    return profile and profile.with_paths(lambda path: str((directory / path).resolve()))


def _verification(directory: Path, experiment: Experiment, run: AnalysedRun) -> Report:
    """The report of `verify`: one run, judged by its checklist."""
    run = _with_imports(directory, experiment, run)
    checks = check(run, store.load(directory / experiment.runs[0]), experiment.budget)
    return Report(
        command=experiment.command,
        verdict=judge_checks(run, checks),
        candidate=None,
        runs=(run,),
        profiles=experiment.profiles,
        argv=experiment.argv,
        created_at=experiment.created_at,
        beside_share=_beside_share(directory, experiment, [run]),
        directory=str(directory.resolve()),
        checks=checks,
        autopsies=_autopsies(directory, experiment),
    )


def _gated(directory: Path, experiment: Experiment) -> Report:
    """The report of `gate`: a run of each side, and what all of them say."""
    gated = gate_record.load(directory)
    found = judge(gated)
    names = [run.directory for run in gate_record.shown(gated)] or list(experiment.runs[:1])
    runs = [load_run(directory / name, experiment.budget) for name in names]
    sides = [f"{name}: {side.label}" for name, side in (("base", found.base), ("head", found.head)) if side]
    return Report(
        command=experiment.command,
        verdict=Verdict(
            claim=Claim.INCONCLUSIVE,
            status=_STATUS_OF_GATE[found.verdict],
            sentence=found.sentence,
            evidence=(*sides, *found.notes),
        ),
        candidate=experiment.candidate,
        runs=tuple(runs),
        profiles=experiment.profiles,
        argv=redacted_words(experiment.argv),
        created_at=experiment.created_at,
        beside_share=None,
        directory=str(directory.resolve()),
        autopsies=_autopsies(directory, experiment),
        gate=found,
    )


def _searched(directory: Path, experiment: Experiment) -> Report:
    """The report of `capacity`: a run on each side of the border, and what all of them say."""
    record = capacity_record.load(directory)
    tried = capacity_record.judged(directory, record, experiment.budget)
    found = capacity_verdict.judge(record, tried, experiment.budget)
    places = capacity_verdict.shown(record, found) or experiment.runs[:1]
    verdict = Verdict(
        claim=Claim.INCONCLUSIVE,
        status=found.status,
        sentence=found.sentence,
        evidence=capacity_verdict.evidence(found),
    )
    return dataclasses.replace(_with_some_shown(directory, experiment, verdict, places), capacity=found)


def _with_some_shown(directory: Path, experiment: Experiment, verdict: Verdict, places: tuple[str, ...]) -> Report:
    """The report of a search of which only some runs, those in `places`, are shown in full."""
    return Report(
        command=experiment.command,
        verdict=verdict,
        candidate=None,
        runs=tuple(load_run(directory / name, experiment.budget) for name in places),
        profiles=experiment.profiles,
        argv=redacted_words(experiment.argv),
        created_at=experiment.created_at,
        beside_share=None,
        directory=str(directory.resolve()),
        autopsies=_autopsies(directory, msgspec.structs.replace(experiment, runs=places)),
    )


def load_tried(directory: Path, budget: Budget) -> tuple[AnalysedRun, Tried]:
    """One run of a search for a limit from disk, and what it says of its limit. Raises DataError."""
    stored = store.load(directory)
    run = with_findings(analyse(stored), stored, budget)
    return run, tried(run, stored)


def _sized(directory: Path, experiment: Experiment) -> Report:
    """The report of `size`: what all runs say, and of the runs one on each side of the border."""
    every, trials = zip(*(load_tried(directory / name, experiment.budget) for name in experiment.runs), strict=True)
    size = Size(size_record.load(directory), experiment.candidate, experiment.budget.min_headroom)
    found = size_verdict.judge(size, trials)
    shown = size_verdict.shown(found)
    return Report(
        command=experiment.command,
        verdict=Verdict(
            claim=Claim.INCONCLUSIVE,
            status=_STATUS_OF_SIZE[found.verdict],
            sentence=found.sentence,
            evidence=found.evidence,
        ),
        candidate=None,
        runs=tuple(every[number] for number in shown),
        profiles=experiment.profiles,
        argv=redacted_words(experiment.argv),
        created_at=experiment.created_at,
        beside_share=_beside_share(directory, experiment, every),
        directory=str(directory.resolve()),
        autopsies=_autopsies(
            directory, msgspec.structs.replace(experiment, runs=tuple(experiment.runs[number] for number in shown))
        ),
        size=found,
        trials=tuple(run.summary for run in every),
    )


def _levered(directory: Path, experiment: Experiment) -> Report:
    """The report of `levers`: what all runs say; of the runs one as it is, one with the best levers together."""
    asked = levers_record.load(directory)
    found = levers_verdict.judge(asked)
    places = levers_verdict.shown(asked) or experiment.runs[:1]
    verdict = Verdict(claim=Claim.INCONCLUSIVE, status=found.status, sentence=found.sentence, evidence=found.evidence)
    return dataclasses.replace(_with_some_shown(directory, experiment, verdict, places), levers=found)


def _in_a_grid(directory: Path, experiment: Experiment) -> Report:
    """The report of `compare --grid`: what all runs say, and of the runs one that holds and one that does not."""
    asked = grid_record.load(directory)
    every: dict[str, AnalysedRun] = {}
    trials: dict[int, list[LoadTrial]] = {}
    for number, cell in enumerate(asked.cells):
        for name in cell.directories:
            if name in experiment.runs:
                every[name], trial = grid_record.judge_run(directory / name, asked, experiment.budget)
                trials.setdefault(number, []).append(trial)
    found = grid_verdict.judge(asked, trials)
    pages = {run.summary.run_dir: name for name, run in every.items()}
    names = tuple(pages[str(found.cells[number].run)] for number in grid_verdict.shown(found))
    return Report(
        command=experiment.command,
        verdict=Verdict(
            claim=grid_verdict.claim(found), status=found.status, sentence=found.sentence, evidence=found.evidence
        ),
        candidate=None,
        runs=tuple(every[name] for name in names),
        profiles=(),
        argv=redacted_words(experiment.argv),
        created_at=experiment.created_at,
        beside_share=_beside_share(directory, experiment, list(every.values())),
        directory=str(directory.resolve()),
        autopsies=_autopsies(directory, msgspec.structs.replace(experiment, runs=names)),
        grid=found,
        trials=tuple(every[name].summary for name in experiment.runs),
    )


def _with_imports(directory: Path, experiment: Experiment, run: AnalysedRun) -> AnalysedRun:
    """The run with what its imports took, where that was recorded."""
    if experiment.imports is None or not (directory / experiment.imports / imports.FILE_NAME).exists():
        return run
    place = directory / experiment.imports
    return with_imports(run, imports.load_costs(place, imports.load(place)), str(place.resolve()))


def _beside_share(directory: Path, experiment: Experiment, runs: Sequence[AnalysedRun]) -> float | None:
    """Time beside start-up and load of the runs and passes, as a share of theirs."""
    if experiment.elapsed_s is None:
        return None
    results = [run.result for run in runs] + [store.load(directory / name).result for name in experiment.passes]
    spent = sum(
        (phase.end_ns - phase.start_ns) / 1e9
        for result in results
        for phase in result.phases
        if phase.name in _PHASES_OF_A_RUN
    )
    return (experiment.elapsed_s - spent) / spent if spent else None
