"""A long run is read a block at a time and thinned out for its curves; its figures are the same, to the last digit."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadtests.requestlog import RequestOutcome
from profiling.judging.analysis import analyse, gap_percentile_ms
from profiling.judging.answers import contract, timeouts
from profiling.judging.autopsy import autopsy
from profiling.judging.checks import check
from profiling.judging.findings import with_findings
from profiling.judging.levels import at_rest, startup_peak, under_load
from profiling.judging.regression import figures
from profiling.measuring import blocks, samples, store
from profiling.measuring.store import StoredRun
from profiling.measuring.thinning import thin
from profiling.units import MIB
from profiling.values import Budget, Limits, Outcome, Phase, RunResult, ServiceResult
from tests.profiling.judging import build

SETTLE = Phase(name="settle", start_ns=build.at(22), end_ns=build.at(23))


def write(directory: Path, result: RunResult, memory: np.ndarray | None, load: np.ndarray) -> Path:
    store.make_directory(directory)
    store.save(directory, result)
    if memory is not None:
        (directory / store.SAMPLES_FILE).write_bytes(memory.tobytes())
    (directory / store.REQUESTS_FILE).write_bytes(load.tobytes())
    return directory


def memory(seed: int, *, kills: bool) -> np.ndarray:
    """Memory with noise and a small leak; where it is killed it falls."""
    random = np.random.default_rng(seed)
    rows = build.samples()
    grown = np.arange(len(rows)) * 1000
    for name in ("unreclaimable", "anon", "charged", "rss"):
        rows[name] = 200 * MIB + grown + random.integers(0, MIB, len(rows))
    rows["rss"][:50] = samples.UNMEASURED
    rows["refault_file"] = rows["pressure_full_us"] = np.cumsum(random.integers(0, 9, len(rows)))
    if kills:
        for number, index in enumerate((700, 1501, 1502), 1):
            rows["anon"][index:] -= 20 * MIB
            rows["oom_kills"][index + 9 :] = number
            rows["births"][index + 11 :] = rows["exits"][index + 9 :] = number
    return rows


def load(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    good = build.requests(build.spread(1500), latency_ms=random.lognormal(3, 1, 1500))
    rows = np.concatenate([good, build.failures(20)])
    rows["intended_ns"] -= random.integers(0, 10**7, len(rows))
    return rows[np.argsort(rows["finished_ns"] + random.integers(0, 3 * 10**9, len(rows)))]  # in no strict order


def read(directory: Path, patch: pytest.MonkeyPatch, *, long: bool) -> StoredRun:
    patch.setattr(store, "LONG", 300 if long else 10**6)
    patch.setattr(store, "thin", functools.partial(thin, bins=20))
    patch.setattr(blocks, "BLOCK", 128 if long else 10**6)
    return store.load(directory)


def said(run: StoredRun) -> dict[str, object]:
    """Everything that is said of a run."""
    analysed = with_findings(analyse(run), run, Budget())
    return {
        "summary": analysed.summary,
        "services": [part.summary for part in analysed.services],
        "kills": analysed.kills_s,
        "autopsy": autopsy(run),
        "levels": (startup_peak(run), under_load(run), at_rest(run)),
        "figures": figures(analysed, run),
        "gaps": [gap_percentile_ms(run, share) for share in (0, 50, 99, 100)],
        "checks": check(analysed, run, Budget()),
        "answers": [point(analysed, run, Budget()) for point in (contract, timeouts)],
        "load": [array.tolist() for array in (analysed.load.rps, analysed.load.failures, analysed.load.users)],
        "p95": analysed.load.p95_ms.tolist(),
    }


@pytest.mark.parametrize("old", [False, True], ids=["", "without pressure"])
@pytest.mark.parametrize("kills", [False, True], ids=["", "killed"])
@pytest.mark.parametrize("seed", range(3))
def test_the_figures_of_a_long_run_are_those_of_all_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, kills: bool, old: bool
) -> None:
    rows = memory(seed, kills=kills)
    result = build.result(oom_kills=3 if kills else 0, epoch_offset_ns=0)
    result = msgspec.structs.replace(result, phases=(*result.phases[:2], SETTLE, result.phases[2]))
    if old:
        rows = rows[[name for name, _ in samples.FIELDS[:-1]]].astype(list(samples.FIELDS[:-1]))
        result = msgspec.structs.replace(result, sample_fields=samples.FIELDS[:-1])
    write(tmp_path, result, rows, load(seed))
    whole = read(tmp_path, monkeypatch, long=False)
    assert len(whole.samples) == whole.count == len(rows)
    expected = said(whole)
    thinned = read(tmp_path, monkeypatch, long=True)
    monkeypatch.setattr("profiling.judging.clients._SORTED_AT_MOST", 100)
    assert len(thinned.samples) < thinned.count / 2, "most are left out"
    assert thinned.count == len(rows)
    np.testing.assert_equal(said(thinned), expected)


def test_so_are_those_of_several_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = build.result().target.service
    limits = Limits(memory_bytes=build.LIMIT)
    services = tuple(msgspec.structs.replace(web, name=name, limits=limits) for name in ("web", "worker"))
    own = {
        "limits": limits, "oom_kills": 0, "kills_certain": True, "engine_oom_flag": None, "exit_status": None,
        "ready_ns": build.at(2), "listening_ns": build.at(1), "kernel_peak_charged_bytes": None, "clean_end": True,
    }  # fmt: skip
    result = build.result(services=tuple(ServiceResult(name=service.name, **own) for service in services))
    result = msgspec.structs.replace(result, target=msgspec.structs.replace(result.target, services=services))
    write(tmp_path, result, None, load(1))
    for number, service in enumerate(services):
        place = store.make_directory(tmp_path / store.SERVICES_DIRECTORY / service.name)
        rows = memory(number, kills=False)
        rows["t_ns"] += number * 3_000_000
        (place / store.SAMPLES_FILE).write_bytes(rows[: len(rows) - 200 * number].tobytes())
    expected = said(read(tmp_path, monkeypatch, long=False))
    monkeypatch.setattr("profiling.measuring.totals._WINDOW_NS", 10**9)
    monkeypatch.setattr(store, "_MADE", {})
    np.testing.assert_equal(said(read(tmp_path, monkeypatch, long=True)), expected)


def test_a_long_run_is_thinned_once_and_again_when_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = memory(1, kills=False)
    write(tmp_path, build.result(), rows[:1000], load(1))
    monkeypatch.setattr(store, "LONG", 300)
    first = store.load(tmp_path)
    assert store.load(tmp_path).samples is first.samples
    with (tmp_path / store.SAMPLES_FILE).open("ab") as file:
        file.write(rows[1000:].tobytes())
    assert (first.count, store.load(tmp_path).count) == (1000, len(rows))


def on_the_way(**changes: object) -> RunResult:
    """As it is written down when the load begins."""
    began = (Phase(name="start", start_ns=build.START_NS, end_ns=build.at(2)),)
    now = Phase(name="load", start_ns=build.at(2), end_ns=build.at(2.1))
    return build.result(
        outcome=Outcome.INTERRUPTED, end_ns=now.end_ns, load_end_ns=None, phases=(*began, now), **changes
    )


def test_of_a_run_whose_tool_was_killed_the_samples_say_how_far_it_came(tmp_path: Path) -> None:
    rows = build.samples()
    rows["oom_kills"][1500:] = 2
    refused = build.requests([23.5, 23.6], outcome=RequestOutcome.CONNECTION_ERROR, status=0)
    run = store.load(write(tmp_path, on_the_way(), rows, np.concatenate([build.answers(1500), refused])))
    last_ns = int(rows["t_ns"][-1])
    assert (run.result.end_ns, run.result.oom_kills, run.result.outcome) == (last_ns, 2, Outcome.INTERRUPTED)
    assert run.result.phases[-1].end_ns == last_ns
    assert run.result.load_end_ns == last_ns - 10**9, "in its last second it was being ended"
    assert (analyse(run).summary.requests, analyse(run).summary.failures) == (1500, 0)
    assert analyse(run).summary.rps == pytest.approx(1500 / 20.99, rel=0.01)


def test_a_run_that_was_ended_by_ctrl_c_keeps_its_own_end(tmp_path: Path) -> None:
    ended = msgspec.structs.replace(on_the_way(), end_ns=build.at(30))
    run = store.load(write(tmp_path, ended, build.samples(), build.answers(10)))
    assert (run.result.end_ns, run.result.load_end_ns) == (build.at(30), build.at(2.1))
    assert run.result.phases == ended.phases


def test_a_run_that_was_interrupted_after_its_load_keeps_all_its_requests(tmp_path: Path) -> None:
    result = build.result(outcome=Outcome.INTERRUPTED)
    late = build.requests([22.5, 23.0], latency_ms=2000)
    run = store.load(write(tmp_path, result, build.samples(), np.concatenate([build.answers(10), late])))
    assert analyse(run).summary.requests == 12


def test_a_run_that_completed_is_taken_as_it_was_written(tmp_path: Path) -> None:
    rows = build.samples()
    rows["oom_kills"] = 5
    assert store.load(write(tmp_path, build.result(), rows, build.answers(9))).result == build.result()
