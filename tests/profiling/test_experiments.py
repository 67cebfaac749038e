import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests import requestlog
from profiling.errors import DataError, OutputError
from profiling.experiments import record
from profiling.experiments.compare import Compare
from profiling.experiments.policy import Step, carry_out
from profiling.experiments.record import Experiment
from profiling.judgements import Claim
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import judge_comparison
from profiling.measuring import store
from profiling.profiles import Frame, HeldMemory, Profile
from profiling.units import MIB
from profiling.values import Budget, Outcome, Phase
from tests.profiling.judging import build

names = st.lists(st.text("abc", min_size=1), min_size=1, max_size=4, unique=True)


def runs(policy: Compare) -> list[Step]:
    """What is carried out where no run says anything."""
    return [step for step, _ in carry_out(policy, lambda step: None)]


def test_a_comparison_runs_in_turns_and_profiles_last() -> None:
    assert runs(Compare(["a", "b"], repeats=2)) == [
        Step(variant="a", repeat=1),
        Step(variant="b", repeat=1),
        Step(variant="a", repeat=2),
        Step(variant="b", repeat=2),
        Step(variant="b", profile=True),
        Step(variant="a", profile=True),
    ]


def test_without_profiling_there_are_only_runs() -> None:
    assert [step.profile for step in runs(Compare(["a", "b"], profile=False))] == [False, False]


@settings(deadline=None)
@given(names, st.integers(1, 4), st.booleans())
def test_every_variant_gets_the_same_number_of_runs_in_the_same_order(
    variants: list[str], repeats: int, profile: bool
) -> None:
    done = runs(Compare(variants, repeats=repeats, profile=profile))
    measured = [step for step in done if not step.profile]
    assert [step.variant for step in measured] == variants * repeats
    assert [step.repeat for step in measured] == [turn for turn in range(1, repeats + 1) for _ in variants]
    assert [step.variant for step in done[len(measured) :]] == variants[::-1] * profile


@pytest.mark.parametrize(("variants", "repeats"), [([], 1), (["a", "a"], 1), (["a"], 0)])
def test_a_comparison_that_makes_no_sense_is_a_value_error(variants: list[str], repeats: int) -> None:
    with pytest.raises(ValueError, match="a comparison needs"):
        Compare(variants, repeats=repeats)


def test_each_step_is_done_before_the_next_is_asked_for() -> None:
    class Until:
        """Asks for one more until the third is done."""

        def next_step(self, done: Sequence[tuple[Step, None]]) -> Step | None:
            events.append(f"asked after {len(done)}")
            return Step(variant=str(len(done))) if len(done) < 3 else None

    events: list[str] = []
    carry_out(Until(), lambda step: events.append(f"did {step.variant}"))
    assert events == ["asked after 0", "did 0", "asked after 1", "did 1", "asked after 2", "did 2", "asked after 3"]


def stuck(variant: str) -> AnalysedRun:
    """At the limit, nothing answered, not killed."""
    memory = build.samples(unreclaimable=505 * MIB, refault_file=np.arange(2400) * 1000)
    return build.judged(build.result(variant=variant), memory, build.failures(8))


@pytest.mark.parametrize("hangs", [1, 2, 3])
def test_a_baseline_that_hangs_at_the_limit_is_run_again_at_most_twice(hangs: int) -> None:
    killed = build.judged(build.result(variant="a", outcome=Outcome.OOM_KILLED, oom_kills=1), None, build.failures(8))
    baseline = iter([*[stuck("a")] * hangs, killed])
    done = carry_out(
        Compare(["a", "b"]),
        lambda step: (
            None if step.profile else next(baseline) if step.variant == "a" else build.judged(build.result(variant="b"))
        ),
    )
    steps = [step for step, _ in done]
    assert [step.repeat for step in steps if step.variant == "a" and not step.profile] == list(
        range(1, min(hangs, 2) + 2)
    )
    again = [step for step in steps if step.repeat > 1]
    assert again
    assert not any(step.cold for step in again), "as after a restart: the page cache is kept"
    assert [step.variant for step in steps if step.profile] == ["b", "a"], "the passes still come last"
    verdict = judge_comparison([run for _, run in done if run], "b")
    assert verdict.claim is (Claim.PROVED if hangs < 3 else Claim.INCONCLUSIVE)
    assert "hung at the limit" in verdict.sentence


def test_a_candidate_that_hangs_at_the_limit_has_failed_and_is_not_run_again() -> None:
    done = carry_out(
        Compare(["a", "b"], profile=False), lambda step: stuck(step.variant) if step.variant == "b" else None
    )
    assert len(done) == 2


def test_a_step_that_raises_ends_the_experiment() -> None:
    done: list[str] = []

    def do(step: Step) -> None:
        if step.variant == "b":
            raise KeyboardInterrupt
        done.append(step.variant)

    with pytest.raises(KeyboardInterrupt):
        carry_out(Compare(["a", "b", "c"]), do)
    assert done == ["a"]


def save_run(directory: Path, name: str, *, load: Any, **changes: Any) -> str:
    """A measured run as it stands on disk; answers with the name of its directory."""
    made = store.make_directory(directory / name)
    store.save(made, build.result(variant=name, **changes))
    (made / store.SAMPLES_FILE).write_bytes(build.samples(unreclaimable=200 * MIB).tobytes())
    (made / store.REQUESTS_FILE).write_bytes(load.tobytes())
    return name


def experiment(directory: Path, **changes: Any) -> Experiment:
    """A proof on disk: one variant killed, the other not."""
    killed = save_run(directory, "per-request", load=build.failures(30), outcome=Outcome.OOM_KILLED, oom_kills=2)
    survives = save_run(directory, "singleton", load=build.answers(200))
    fields: dict[str, Any] = {
        "command": "compare",
        "argv": ("cli.py", "compare"),
        "candidate": "singleton",
        "budget": Budget(),
        "created_at": "2026-11-22T09:31:12+00:00",
        "runs": (killed, survives),
    }
    return Experiment(**fields | changes)


def test_an_experiment_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    frame = Frame(function="load", file="/srv/shop/model.py", line=31)
    profile = Profile(
        variant="per-request",
        status="recorded",
        outcome=Outcome.OOM_KILLED,
        held_at="kill",
        held=(HeldMemory(bytes=7, allocations=2, frame=frame, stack=(frame,), by_thread=(4, 3)),),
    )
    made = experiment(tmp_path, profiles=(profile,), budget=Budget(max_p95_ms=2000.0), elapsed_s=61.5)
    record.save(tmp_path, made)
    assert record.load(tmp_path) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == [record.FILE_NAME, "per-request", "singleton"]


def test_a_report_is_made_from_what_is_on_disk(tmp_path: Path) -> None:
    record.save(tmp_path, experiment(tmp_path))
    page = record.report(tmp_path, record.load(tmp_path))
    assert (page.verdict.claim, page.candidate, page.command) == (Claim.PROVED, "singleton", "compare")
    assert [run.summary.name for run in page.runs] == ["per-request", "singleton"]
    assert [len(run.memory.t_s) for run in page.runs] == [2400, 2400]
    assert [[found.id for found in run.summary.findings] for run in page.runs] == [["oom-kill", "failures"], []]
    assert page.beside_share is None


def test_a_report_can_be_made_after_the_directory_was_moved(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    record.save(tmp_path / "old", experiment(tmp_path / "old"))
    moved = (tmp_path / "old").rename(tmp_path / "new")
    page = record.report(moved, record.load(moved))
    assert page.directory == str(moved.resolve())
    assert [run.summary.run_dir for run in page.runs] == [str(moved / name) for name in ("per-request", "singleton")]


def test_the_paths_of_a_report_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiment(tmp_path)
    monkeypatch.chdir(tmp_path)
    page = record.report(Path(), made)
    assert page.directory == str(tmp_path.resolve())
    assert all(os.path.isabs(run.summary.run_dir) for run in page.runs)


def test_the_budget_of_the_experiment_judges_its_runs(tmp_path: Path) -> None:
    made = experiment(tmp_path, budget=Budget(max_peak_bytes=199 * MIB))
    assert record.report(tmp_path, made).verdict.claim is Claim.CANDIDATE_FAILED


def test_the_time_beside_the_runs_is_a_share_of_their_start_up_and_load(tmp_path: Path) -> None:
    # Each of the two runs and of the pass is 2 s of start-up and 20 s of load.
    memray = save_run(tmp_path, "per-request-memray", load=build.answers(1))
    made = experiment(tmp_path, passes=(memray,), elapsed_s=66 * 1.25)
    assert record.report(tmp_path, made).beside_share == pytest.approx(0.25)


def test_no_time_in_runs_gives_no_share(tmp_path: Path) -> None:
    other = (Phase(name="stop", start_ns=0, end_ns=10**9),)
    only = save_run(tmp_path, "singleton", load=build.answers(1), phases=other)
    made = experiment(tmp_path, runs=(only,), elapsed_s=5.0)
    store.save(tmp_path / only, build.result(phases=other))
    assert record.report(tmp_path, made).beside_share is None


def test_an_experiment_that_ended_before_its_first_run_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no run"):
        record.report(tmp_path, experiment(tmp_path, runs=()))


def test_an_experiment_that_ended_before_its_candidate_shows_what_there_is_and_proves_nothing(tmp_path: Path) -> None:
    shown = record.report(tmp_path, experiment(tmp_path, runs=("per-request",)))
    assert (shown.candidate, shown.verdict.claim) == ("per-request", Claim.INCONCLUSIVE)


def test_a_run_or_a_pass_that_is_missing_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run"):
        record.report(tmp_path, experiment(tmp_path, runs=("singleton", "gone"), elapsed_s=1.0))
    with pytest.raises(DataError, match="is no run"):
        record.report(tmp_path, experiment(tmp_path, passes=("gone",), elapsed_s=1.0))


@pytest.mark.parametrize("raw", [None, b"", b"[]", b'{"schema_version": 1}', b"\xff", b'{"command": "\xff"}'])
def test_what_is_no_experiment_is_a_data_error(tmp_path: Path, raw: bytes | None) -> None:
    if raw is not None:
        (tmp_path / record.FILE_NAME).write_bytes(raw)
    with pytest.raises(DataError, match="no readable experiment"):
        record.load(tmp_path)


def test_an_experiment_of_another_schema_is_a_data_error(tmp_path: Path) -> None:
    record.save(tmp_path, experiment(tmp_path))
    path = tmp_path / record.FILE_NAME
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_version": 2}), encoding="utf-8")
    with pytest.raises(DataError, match="schema version"):
        record.load(tmp_path)


def test_an_experiment_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        record.save(tmp_path / "missing", experiment(tmp_path))


def test_the_request_log_of_a_run_is_read_as_loadtests_wrote_it(tmp_path: Path) -> None:
    name = save_run(tmp_path, "singleton", load=build.answers(3))
    assert requestlog.count_records(tmp_path / name / store.REQUESTS_FILE) == 3
    assert record.load_run(tmp_path / name, Budget()).summary.requests == 3
