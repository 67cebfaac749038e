from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from profiling.judgements import Claim, Verdict
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import judge_comparison, judge_one, run_status
from profiling.units import MIB
from profiling.values import Budget, Outcome
from tests.profiling.judging.build import LIMIT, failures, judged, requests, result, samples, spread

BASE, CANDIDATE = "per-request", "singleton"


def run(
    variant: str,
    *,
    good: int = 200,
    failed: int = 0,
    latency_ms: float = 50.0,
    peak: int = 100 * MIB,
    budget: Budget | None = None,
    **changes: Any,
) -> AnalysedRun:
    load = np.concatenate([requests(spread(good), latency_ms=latency_ms), failures(failed)])
    return judged(result(variant=variant, **changes), samples(unreclaimable=peak), load, budget)


def holds(variant: str = CANDIDATE, **changes: Any) -> AnalysedRun:
    return run(variant, **changes)


def killed(variant: str = BASE, **changes: Any) -> AnalysedRun:
    fields: dict[str, Any] = {"outcome": Outcome.OOM_KILLED, "oom_kills": 3, "good": 5, "failed": 45}
    return run(variant, **fields | changes)


def crashed(variant: str = BASE) -> AnalysedRun:
    return run(variant, outcome=Outcome.CRASHED, stop_reason="ended with exit status 3", good=5, failed=45)


def silent(variant: str = BASE) -> AnalysedRun:
    return run(variant, good=0)


def interrupted(variant: str = BASE) -> AnalysedRun:
    return run(variant, outcome=Outcome.INTERRUPTED, good=20)


def untrusted(variant: str = BASE) -> AnalysedRun:
    return run(variant, load_problem="the load generator used 98 % of a core")


def compare(*runs: AnalysedRun) -> Verdict:
    return judge_comparison(runs, CANDIDATE)


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (holds(), "pass"),
        (killed(), "fail"),
        (crashed(), "fail"),
        (run(BASE, outcome=Outcome.NEVER_READY, good=0), "fail"),
        (run(BASE, outcome=Outcome.TIMED_OUT), "fail"),
        (run(BASE, failed=1), "fail"),
        (interrupted(), "inconclusive"),
        (run(BASE, outcome=Outcome.STOPPED_EARLY), "inconclusive"),
        (untrusted(), "inconclusive"),
        (silent(), "inconclusive"),
        (judged(memory=samples(t_s=[])), "inconclusive"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.summary.outcome.value,
)
def test_the_status_of_one_run(one: AnalysedRun, status: str) -> None:
    assert run_status(one) == status


@pytest.mark.parametrize("budget", [Budget(), Budget(max_failures=1.0)])
def test_zero_requests_are_never_a_pass(budget: Budget) -> None:
    assert run_status(run(CANDIDATE, good=0, budget=budget)) == "inconclusive"


def test_a_failure_goes_before_doubt() -> None:
    assert run_status(run(CANDIDATE, failed=1, load_problem="the load generator used 98 % of a core")) == "fail"


@pytest.mark.parametrize(
    ("one", "status", "said"),
    [
        (holds(), "pass", "holds: 0 kills, all 200 requests answered"),
        (killed(), "fail", "does not hold: OOM-killed 3 times"),
        (crashed(), "fail", "exit status 3"),
        (untrusted(), "inconclusive", "98 % of a core"),
        (silent(), "inconclusive", "Nothing can be said"),
    ],
    ids=["holds", "killed", "crashed", "untrusted", "silent"],
)
def test_one_variant_alone_proves_nothing_but_passes_or_fails_by_itself(
    one: AnalysedRun, status: str, said: str
) -> None:
    alone = judge_comparison([one], one.result.variant)
    assert (alone.claim, alone.status) == (Claim.INCONCLUSIVE, status)
    assert said in alone.sentence
    assert alone == judge_one(one)


@pytest.mark.parametrize(
    ("repeats", "status"),
    [
        ([holds(), killed(CANDIDATE), silent(CANDIDATE)], "fail"),
        ([holds(), silent(CANDIDATE)], "inconclusive"),
        ([holds(), holds()], "pass"),
    ],
)
def test_one_variant_alone_is_as_good_as_its_worst_repeat(repeats: Sequence[AnalysedRun], status: str) -> None:
    assert compare(*repeats).status == status


def test_a_candidate_without_a_run_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=CANDIDATE):
        compare(killed())


def test_proved_is_a_killed_baseline_and_a_candidate_that_answered_everything() -> None:
    verdict = compare(killed(), holds())
    assert (verdict.claim, verdict.status) == (Claim.PROVED, "pass")
    assert (
        "at 512 MiB, per-request is OOM-killed (3 kernel-counted kills, 5 of 50 requests answered)" in verdict.sentence
    )
    assert "singleton survives (0 kills, all 200 requests answered" in verdict.sentence


def test_every_run_has_its_line_of_evidence() -> None:
    evidence = compare(killed(), holds()).evidence
    assert [line.split(":")[0] for line in evidence] == [BASE, CANDIDATE]
    assert "1 kernel-counted kill," in compare(killed(oom_kills=1), holds()).evidence[0]


def test_the_order_of_the_runs_does_not_matter() -> None:
    assert compare(killed(), holds()).sentence == compare(holds(), killed()).sentence


def test_a_baseline_that_survived_is_said_with_what_the_candidate_gains() -> None:
    verdict = compare(holds(BASE, latency_ms=1100.0, peak=300 * MIB), holds(latency_ms=70.0))
    assert (verdict.claim, verdict.status) == (Claim.BASELINE_SURVIVED, "pass")
    assert verdict.sentence.startswith("Not proved: per-request survives 8 users at 512 MiB as well.")
    assert "100 MiB instead of 300 MiB" in verdict.sentence
    assert "70 ms instead of 1.10 s at the median, 16 times as fast" in verdict.sentence


def test_a_candidate_that_is_hardly_faster_is_not_called_faster() -> None:
    assert "times as fast" not in compare(holds(BASE, latency_ms=60.0), holds(latency_ms=50.0)).sentence


@pytest.mark.parametrize("candidate", [killed(CANDIDATE), crashed(CANDIDATE), run(CANDIDATE, failed=1)])
@pytest.mark.parametrize("baseline", [killed(), holds(BASE)])
def test_a_candidate_that_fails_has_failed_whatever_the_baseline_does(
    baseline: AnalysedRun, candidate: AnalysedRun
) -> None:
    verdict = compare(baseline, candidate)
    assert (verdict.claim, verdict.status) == (Claim.CANDIDATE_FAILED, "fail")
    assert next(found.message for found in candidate.summary.findings if found.level == "fail") in verdict.sentence


def test_a_candidate_that_fails_once_in_three_has_failed() -> None:
    assert compare(killed(), holds(), killed(), killed(CANDIDATE), killed(), holds()).claim is Claim.CANDIDATE_FAILED


def test_a_candidate_that_failed_requests_did_not_answer_everything() -> None:
    lenient = run(CANDIDATE, good=198, failed=2, budget=Budget(max_failures=0.05))
    assert run_status(lenient) == "pass"
    assert compare(killed(), lenient).claim is not Claim.PROVED


@pytest.mark.parametrize(
    "candidate",
    [silent(CANDIDATE), interrupted(CANDIDATE), untrusted(CANDIDATE)],
    ids=["silent", "interrupted", "untrusted"],
)
@pytest.mark.parametrize("baseline", [killed(), holds(BASE)], ids=["killed", "survived"])
def test_a_candidate_of_which_nothing_is_known_proves_nothing(baseline: AnalysedRun, candidate: AnalysedRun) -> None:
    verdict = compare(baseline, candidate)
    assert (verdict.claim, verdict.status) == (Claim.INCONCLUSIVE, "inconclusive")
    assert "singleton" in verdict.sentence


@pytest.mark.parametrize(
    "baseline",
    [crashed(), silent(), interrupted(), untrusted(), run(BASE, good=0, failed=50)],
    ids=["crashed", "silent", "interrupted", "untrusted", "answered nothing"],
)
def test_a_baseline_that_neither_died_of_memory_nor_served_proves_nothing(baseline: AnalysedRun) -> None:
    verdict = compare(baseline, holds())
    assert (verdict.claim, verdict.status) == (Claim.INCONCLUSIVE, "inconclusive")
    assert "per-request" in verdict.sentence


def test_a_baseline_killed_by_another_limit_proves_nothing_about_this_one() -> None:
    elsewhere = killed(kernel_peak_charged_bytes=LIMIT // 2)
    assert compare(elsewhere, holds()).claim is Claim.INCONCLUSIVE


def test_repeats_prove_only_if_all_of_them_agree() -> None:
    assert compare(killed(), holds(), killed(), holds()).claim is Claim.PROVED
    assert compare(holds(BASE), holds(), holds(BASE), holds()).claim is Claim.BASELINE_SURVIVED


@pytest.mark.parametrize(
    "baselines", [(killed(), holds(BASE)), (holds(BASE), killed())], ids=["killed first", "killed last"]
)
def test_a_baseline_killed_only_sometimes_contradicts_itself(baselines: tuple[AnalysedRun, AnalysedRun]) -> None:
    verdict = compare(*baselines, holds(), holds())
    assert (verdict.claim, verdict.status) == (Claim.INCONCLUSIVE, "inconclusive")
    assert "contradict" in verdict.sentence


@pytest.mark.parametrize("other", [holds("lazy"), crashed("lazy"), silent("lazy")], ids=["holds", "crashed", "silent"])
def test_one_killed_baseline_among_several_is_a_proof_that_names_it(other: AnalysedRun) -> None:
    verdict = compare(other, killed(), holds())
    assert verdict.claim is Claim.PROVED
    assert "per-request is OOM-killed" in verdict.sentence


def test_the_baseline_that_spoils_the_comparison_is_the_one_that_is_named() -> None:
    verdict = compare(holds("lazy"), crashed(), holds())
    assert verdict.claim is Claim.INCONCLUSIVE
    assert "per-request: crashed" in verdict.sentence
