"""`imports`: starts of one program in fresh interpreters, cold and warm by turns, then with single imports put off."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiling.errors import CannotRunError, DataError
from profiling.experiments.policy import Step, carry_out
from profiling.import_costs import COLD, LAZY, WARM, ImportCosts, ImportsRun, ImportStart
from profiling.judging.imports import recording
from profiling.judging.imports.costs import Recorded, candidates, costs, problem
from profiling.judging.imports.tree import start as tree_of
from profiling.manifests.secrets import redacted_words
from profiling.measuring import store
from profiling.measuring.capture import CannotTrackError
from profiling.measuring.events import Note, Observer
from profiling.measuring.imports.command import RECORDING
from profiling.measuring.imports.kernel import counters_lag, default_limit
from profiling.measuring.imports.start import ImportPlan, Starter, open_starter
from profiling.measuring.sandboxes.base import Sandbox
from profiling.units import format_bytes
from profiling.values import Limits, Outcome, Target

FILE_NAME = "imports.json"


class ImportStep(Step, frozen=True, kw_only=True):
    """One start to make; its variant is COLD, WARM or LAZY."""

    lazy: str | None = None
    """FILE:LINE of the import statement that is to be put off."""

    @property
    def directory(self) -> str:
        return f"{self.variant}-{self.repeat}"


class Imports:
    """Cold and warm starts in turns, so that a machine that slows down slows both; then the import statements whose
    modules hold most, each put off in a start of its own. What does not end well is not made again."""

    def __init__(self, *, repeats: int, cold: bool, lazy: int, modules: Sequence[str] = ()) -> None:
        """`lazy`: how many statements to put off at most; `modules`: what is imported, if it is no command.

        Raises ValueError for fewer than one repeat."""
        if repeats < 1:
            raise ValueError("imports need at least one start")
        kinds = (COLD, WARM) if cold else (WARM,)
        self._planned = [ImportStep(variant=kind, repeat=turn) for turn in range(1, repeats + 1) for kind in kinds]
        self._lazy = lazy
        self._modules = tuple(modules)
        self._putoffs: list[str] | None = None

    def next_step(self, done: Sequence[tuple[Step, Recorded]]) -> ImportStep | None:
        if any(not self._went_well(start) for _, start in done if start.how.kind != LAZY):
            return None
        if len(done) < len(self._planned):
            return self._planned[len(done)]
        if self._putoffs is None:
            found = candidates([start for _, start in done])
            self._putoffs = [putoff.line for putoff in found[: self._lazy]]
        number = len(done) - len(self._planned)
        if number < len(self._putoffs):
            return ImportStep(variant=LAZY, repeat=number + 1, lazy=self._putoffs[number])
        return None

    def _went_well(self, start: Recorded) -> bool:
        return start.how.outcome is Outcome.COMPLETED and problem(start, self._modules, 0) is None


def make(
    policy: Imports, starter: Starter, directory: Path, run: ImportsRun, observer: Observer
) -> tuple[ImportsRun, list[Recorded]]:
    """Make the starts that the policy asks for; `imports.json` is up to date after each. Raises as `Starter.make`."""
    made: list[ImportStart] = []

    def one(step: Step) -> Recorded:
        nonlocal run
        assert isinstance(step, ImportStep)
        start = starter.make(directory / step.directory, step.variant, step.lazy, observer)
        made.append(start)
        run = msgspec.structs.replace(run, starts=tuple(made))
        save(directory, run)
        recorded = _recorded(directory, start)
        observer.notify(Note(text=_said(step, recorded)))
        return recorded

    done = carry_out(policy, one)
    return run, [recorded for _, recorded in done]


def _said(step: ImportStep, start: Recorded) -> str:
    name = f"{step.variant} start {step.repeat}" if step.lazy is None else f"{step.lazy} put off"
    ended = "" if start.how.outcome is Outcome.COMPLETED else f", {start.how.outcome.value}"
    return (
        f"{name}: {len(start.tree.loads):,} modules, {format_bytes(start.tree.anon)} anonymous, "
        f"{format_bytes(start.tree.file)} of files, {start.tree.ns / 1e9:.1f} s{ended}"
    )


def _recorded(directory: Path, start: ImportStart) -> Recorded:
    return Recorded(start, tree_of(recording.read(directory / start.directory / RECORDING)))


_AFTER_KILL_S = 10.0


def after_kill(plan: ImportPlan, sandbox: Sandbox, directory: Path, argv: tuple[str, ...], observer: Observer) -> None:
    """One start of a service that was killed before it was ready, with more memory, for ten seconds at most: which imports
    took it? Where that cannot be told, the reason is stored. Raises OutputError, KeyboardInterrupt."""
    store.make_directory(directory)
    try:
        starter = open_starter(plan, sandbox, directory)
        make(
            Imports(repeats=1, cold=False, lazy=0),
            starter,
            directory,
            described(plan, starter, sandbox, argv),
            observer,
        )
    except (CannotTrackError, CannotRunError) as error:
        reason = error.message if isinstance(error, CannotRunError) else str(error)
        save(directory, msgspec.structs.replace(described(plan, None, sandbox, argv), skipped=reason))


def plan_after_kill(target: Target, sandbox: Sandbox) -> ImportPlan:
    limit = default_limit(within_session=sandbox.image is None)
    return ImportPlan(
        name=target.name,
        target=target,
        limits=Limits(memory_bytes=limit),
        timeout_s=_AFTER_KILL_S,
        walk=counters_lag(),
    )


def described(plan: ImportPlan, starter: Starter | None, sandbox: Sandbox, argv: tuple[str, ...]) -> ImportsRun:
    """What is about to be recorded, without what looks like a secret. `starter`: None where the program cannot be entered."""
    service = plan.target.service
    return ImportsRun(
        name=plan.name,
        modules=plan.modules,
        command=redacted_words(starter.command if starter else service.command),
        interpreter=starter.interpreter if starter else None,
        directory=starter.directory if starter else service.directory,
        sandbox=sandbox.name,
        sandbox_reason=sandbox.reason,
        limit_bytes=plan.limits.memory_bytes,
        walked=plan.walk,
        argv=redacted_words(argv),
        created_at=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def save(directory: Path, run: ImportsRun) -> None:
    """Write `imports.json`. Raises OutputError."""
    store.write_atomically(directory / FILE_NAME, msgspec.json.format(msgspec.json.encode(run), indent=1))


def load(directory: Path) -> ImportsRun:
    """Read `imports.json`. Raises DataError."""
    try:
        raw = (directory / FILE_NAME).read_bytes()
        store.check_version(directory / FILE_NAME, raw)
        return msgspec.json.decode(raw, type=ImportsRun)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{directory} holds no readable recording of imports ({error})", "name a directory that `imports` printed"
        ) from error


def load_costs(directory: Path, run: ImportsRun) -> ImportCosts:
    """What the imports cost, by what is on disk."""
    return costs(run, [_recorded(directory, start) for start in run.starts])
