"""What is said of something that was only watched."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import judge_one
from profiling.judging.watches import of_watch
from profiling.values import Environment, Outcome, Watched
from tests.helpers import MIB
from tests.reports.factory import singleton


def watched(
    *, limit: int | None = 512 * MIB, assumed: bool = False, kills: int | None = 0, requests: int = 0, **summary: object
) -> AnalysedRun:
    """A run of the factory as if it had been watched: its peak is about 409 MiB."""
    run = singleton()
    peak = run.summary.peak_unreclaimable_bytes or 0
    given = Watched(what="container web (docker)", kind="container", limit_bytes=limit, assumed=assumed, kills_before=0)
    changed = {
        "memory_limit_bytes": limit,
        "headroom_bytes": None if limit is None else limit - peak,
        "oom_kills": kills,
        "requests": requests,
        "failures": 0,
        "findings": (),
        **summary,
    }
    return dataclasses.replace(
        run,
        summary=msgspec.structs.replace(run.summary, **changed),
        result=msgspec.structs.replace(run.result, watched=given, load=None, oom_kills=kills),
    )


def test_a_quiet_watch_without_a_kill_passes_though_nothing_was_sent() -> None:
    verdict = judge_one(watched())
    assert verdict.status == "pass"
    assert verdict.sentence.startswith("container web (docker) held for ")
    assert "0 kills" in verdict.sentence
    assert "of 512 MiB" in verdict.sentence


def test_without_samples_nothing_is_said() -> None:
    verdict = judge_one(watched(samples=0, peak_unreclaimable_bytes=None))
    assert (verdict.status, "nothing was sampled" in verdict.sentence) == ("inconclusive", True)


def test_neither_a_limit_nor_a_count_is_no_pass() -> None:
    verdict = judge_one(watched(limit=None, kills=None))
    assert (verdict.status, "nothing limits it" in verdict.sentence) == ("inconclusive", True)


def test_a_count_without_a_limit_is_a_pass() -> None:
    assert judge_one(watched(limit=None)).status == "pass"


def test_what_ended_does_not_pass() -> None:
    verdict = judge_one(watched(outcome=Outcome.CRASHED, stop_reason="the container ended while it was watched"))
    assert (verdict.status, "the container ended while it was watched" in verdict.sentence) == ("fail", True)


@pytest.mark.parametrize(("assumed", "found"), [(True, ["over-limit"]), (False, [])])
def test_only_a_limit_that_no_kernel_keeps_can_be_exceeded(assumed: bool, found: list[str]) -> None:
    assert [finding.id for finding in of_watch(watched(limit=64 * MIB, assumed=assumed))] == found


@pytest.mark.parametrize(
    ("swap", "found"), [("on: what is swapped out", ["swap"]), ("off (this machine has none)", [])]
)
def test_swap_that_hides_memory_is_told(swap: str, found: list[str]) -> None:
    run = watched()
    assert isinstance(run.result.environment, Environment)
    environment = msgspec.structs.replace(run.result.environment, swap=swap)
    run = dataclasses.replace(run, result=msgspec.structs.replace(run.result, environment=environment))
    assert [finding.id for finding in of_watch(run)] == found


def test_a_run_that_was_no_watch_has_none_of_it() -> None:
    assert of_watch(singleton()) == []
