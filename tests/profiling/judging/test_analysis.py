import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.plan import LoadPlan
from loadtests.requestlog import RequestOutcome
from loadtests.workers import WorkerSummary
from profiling.judging.analysis import analyse, gap_percentile_ms
from profiling.judging.clients import load_series
from profiling.measuring.samples import UNMEASURED
from profiling.units import MIB
from profiling.values import Phase
from tests.profiling.judging.build import (
    END_S,
    LIMIT,
    LOAD_S,
    READY_S,
    answers,
    at,
    failures,
    requests,
    result,
    samples,
    spread,
    stored,
    summary,
)

# Not answered as expected, though sent.
BAD = [outcome for outcome in RequestOutcome if outcome not in (RequestOutcome.OK, RequestOutcome.NOT_SENT)]
NOTHING = requests([])
NO_SAMPLES = samples(t_s=[])


def test_availability_is_the_share_of_sent_requests_that_were_answered_as_expected() -> None:
    figures = summary(load=np.concatenate([answers(3), failures(1)]))
    assert (figures.requests, figures.failures, figures.availability) == (4, 1, 0.75)


@pytest.mark.parametrize("outcome", BAD)
def test_whatever_is_not_as_expected_is_a_failure(outcome: RequestOutcome) -> None:
    figures = summary(load=np.concatenate([answers(1), requests([3.0], outcome=outcome)]))
    assert (figures.failures, figures.availability) == (1, 0.5)


def test_what_was_never_sent_is_neither_a_request_nor_a_failure() -> None:
    unsent = requests(spread(50), latency_ms=9000.0, outcome=RequestOutcome.NOT_SENT, status=0)
    figures = summary(load=np.concatenate([answers(10), unsent]))
    assert (figures.requests, figures.failures, figures.availability) == (10, 0, 1.0)
    assert figures.p99_ms == pytest.approx(50)


@pytest.mark.parametrize("load", [NOTHING, requests([3.0], outcome=RequestOutcome.NOT_SENT, status=0)])
def test_where_nothing_was_sent_nothing_is_claimed(load: np.ndarray) -> None:
    figures = summary(load=load)
    assert (figures.requests, figures.failures) == (0, 0)
    unknown = (figures.availability, figures.dark_share, figures.rps, figures.p50_ms, figures.growth_bytes_per_request)
    assert unknown == (None,) * 5


def test_percentiles_are_those_of_answers_as_expected_only() -> None:
    refused = requests(spread(900), latency_ms=1.0, outcome=RequestOutcome.CONNECTION_ERROR, status=0)
    slow = requests(spread(101), latency_ms=np.arange(101))
    figures = summary(load=np.concatenate([slow, refused]))
    assert (figures.p50_ms, figures.p95_ms, figures.p99_ms) == pytest.approx((50, 95, 99))


def test_without_one_answer_there_is_no_latency() -> None:
    figures = summary(load=failures(10))
    assert (figures.p50_ms, figures.p95_ms, figures.p99_ms) == (None, None, None)
    assert (figures.availability, figures.rps) == (0.0, 0.0)


def test_latency_counts_from_when_the_request_was_due() -> None:
    late = requests(spread(10), latency_ms=800.0, sent_late_ms=700.0)
    assert summary(load=late).p50_ms == pytest.approx(800)


def test_rps_are_the_answers_as_expected_over_the_load_time() -> None:
    assert summary(load=np.concatenate([answers(300), failures(100)])).rps == pytest.approx(300 / 20)


@pytest.mark.parametrize("answered_seconds", [0, 1, 13, 20])
def test_the_dark_share_is_the_share_of_seconds_without_an_answer(answered_seconds: int) -> None:
    load = np.concatenate([requests(LOAD_S + 0.5 + np.arange(answered_seconds)), failures(60)])
    assert summary(load=load).dark_share == pytest.approx(1 - answered_seconds / 20)


def test_a_wrong_answer_is_light_too() -> None:
    wrong = requests(spread(200), outcome=RequestOutcome.UNEXPECTED_STATUS, status=500)
    assert summary(load=wrong).dark_share == 0.0


def test_an_answer_after_the_load_lights_no_second() -> None:
    assert summary(load=requests([LOAD_S + 20.5])).dark_share == 1.0


def test_the_last_second_counts_even_where_floats_would_lose_it() -> None:
    start_ns = 21_428_531_267
    what = result(start_ns=0, ready_ns=1, load_start_ns=start_ns, load_end_ns=start_ns + 31_000_000_000)
    only_first = requests([0.0])
    only_first["finished_ns"] = start_ns + 1
    assert summary(what, load=only_first).dark_share == pytest.approx(30 / 31)


def test_peaks_are_the_largest_samples_and_headroom_is_what_is_left() -> None:
    teeth = 100 * MIB + np.arange(END_S * 100)
    figures = summary(memory=samples(unreclaimable=teeth, charged=teeth + 5, working_set=teeth + 3, rss=teeth + 9))
    peak = int(teeth.max())
    assert (figures.peak_unreclaimable_bytes, figures.peak_charged_bytes) == (peak, peak + 5)
    assert (figures.peak_working_set_bytes, figures.peak_rss_bytes) == (peak + 3, peak + 9)
    assert figures.headroom_bytes == LIMIT - peak
    assert figures.samples == 2400


def test_a_peak_at_the_start_counts_as_well() -> None:
    curve = np.full(2400, MIB)
    curve[3] = 300 * MIB
    assert summary(memory=samples(unreclaimable=curve)).peak_unreclaimable_bytes == 300 * MIB


def test_what_was_never_measured_has_no_peak() -> None:
    assert summary(memory=samples(pss=UNMEASURED)).peak_pss_bytes is None
    without = summary(memory=NO_SAMPLES)
    assert (without.samples, without.peak_unreclaimable_bytes, without.headroom_bytes) == (0, None, None)


def test_curves_are_on_the_runs_clock_and_gaps_are_nan() -> None:
    memory = samples(t_s=[0.0, 0.5, 1.5], charged=[1, 2, 3], rss=[UNMEASURED, 20, 30])
    curves = analyse(stored(memory=memory)).memory
    assert curves.t_s.tolist() == [0.0, 0.5, 1.5]
    assert curves.charged.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(curves.rss, [np.nan, 20, 30])


def test_a_run_without_data_has_empty_curves() -> None:
    run = analyse(stored(memory=NO_SAMPLES, load=NOTHING))
    assert (len(run.memory.t_s), len(run.memory.pss), len(run.load.t_s), run.kills_s) == (0, 0, 0, ())


def test_clients_are_counted_second_by_second_on_the_runs_clock() -> None:
    load = np.concatenate(
        [
            requests([2.1, 2.2, 2.3], latency_ms=[10, 10, 30]),
            requests([4.0, 4.9], outcome=RequestOutcome.TIMEOUT, status=0),
        ]
    )
    series = analyse(stored(load=load)).load
    assert series.t_s.tolist() == [2.0, 3.0, 4.0]
    assert series.rps.tolist() == [3, 0, 0]
    assert series.failures.tolist() == [0, 0, 2]
    np.testing.assert_allclose(series.p95_ms, [28, np.nan, np.nan])


def test_users_are_those_of_the_plan() -> None:
    what = result(load=LoadPlan.constant(4, 20.0, ramp_s=4.0))
    assert analyse(stored(what)).load.users.tolist() == [1, 2, 3, 4] + [4] * 16


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(2, 30), st.sampled_from(RequestOutcome)), max_size=20))
def test_the_series_add_up_to_the_figures(ended: list[tuple[float, RequestOutcome]]) -> None:
    load = np.concatenate([NOTHING, *(requests([moment], outcome=outcome) for moment, outcome in ended)])
    run = analyse(stored(load=load))
    assert run.load.rps.sum() + run.load.failures.sum() == run.summary.requests
    assert run.load.failures.sum() == run.summary.failures


def test_kills_stand_where_the_kernels_count_rose_and_twice_if_it_rose_by_two() -> None:
    counts = samples(t_s=[0, 1, 2, 3, 4], oom_kills=[0, 1, 1, 3, 3])
    assert analyse(stored(result(oom_kills=3), counts)).kills_s == (1.0, 3.0, 3.0)


def test_a_kill_before_the_first_sample_stands_at_it() -> None:
    counts = samples(t_s=[0.5, 1], oom_kills=[1, 1])
    assert analyse(stored(result(oom_kills=1), counts)).kills_s == (0.5,)


@pytest.mark.parametrize("memory", [samples(t_s=[0, 1, 2], oom_kills=[0, 0, 1]), NO_SAMPLES])
def test_kills_after_the_last_sample_stand_at_the_runs_end(memory: np.ndarray) -> None:
    seen = int(memory["oom_kills"].max(initial=0))
    assert analyse(stored(result(oom_kills=3), memory)).kills_s == (2.0,) * seen + (float(END_S),) * (3 - seen)


def test_a_worker_that_went_and_was_replaced_is_a_restart() -> None:
    t_s = np.arange(0, END_S, 0.2)
    born = 2 + (t_s >= 5).astype(int) + (t_s >= 9)
    gone = (t_s >= 5).astype(int) + (t_s >= 9)
    assert summary(memory=samples(t_s=t_s, births=born, exits=gone)).restarts == 2


@pytest.mark.parametrize(
    ("moment", "born", "gone"),
    [(1.0, 1, 1), (23.2, 1, 1), (5.0, 1, 0), (5.0, 0, 1)],
    ids=["before it was ready", "while it was being stopped", "a worker more", "a worker less"],
)
def test_no_restart(moment: float, born: int, gone: int) -> None:
    t_s = np.arange(0, END_S, 0.2)
    after = (t_s >= moment).astype(int)
    assert summary(memory=samples(t_s=t_s, births=2 + born * after, exits=gone * after)).restarts == 0


def test_a_service_that_was_never_ready_has_no_restarts_and_no_startup_time() -> None:
    figures = summary(result(ready_ns=None), samples(births=np.arange(2400), exits=np.arange(2400)))
    assert (figures.restarts, figures.ready, figures.startup_s) == (0, False, None)


def test_moments_are_in_seconds_since_the_start() -> None:
    run = analyse(stored(result(ready_ns=at(1.25))))
    assert (run.ready_s, run.load_s, run.summary.startup_s) == (1.25, (2.0, 22.0), 1.25)


def test_a_load_that_was_cut_off_ends_with_the_run() -> None:
    assert analyse(stored(result(load_end_ns=None))).load_s == (2.0, 24.0)


def test_a_run_that_never_came_to_its_load_has_none() -> None:
    what = result(
        ready_ns=None, load_start_ns=None, load_end_ns=None, phases=(Phase(name="start", start_ns=0, end_ns=1),)
    )
    run = analyse(stored(what, load=NOTHING))
    assert (run.load_s, run.summary.rps, run.summary.dark_share) == (None, None, None)


def test_gaps_are_those_within_the_span() -> None:
    memory = samples(t_s=[0, READY_S, READY_S + 0.01, READY_S + 0.05, 20])
    run = stored(result(load_start_ns=at(READY_S), load_end_ns=at(10)), memory)
    assert [gap_percentile_ms(run, share) for share in (0, 50, 100)] == pytest.approx([10, 25, 40])


def test_users_of_a_lost_worker_are_no_longer_there() -> None:
    lost = WorkerSummary(host="a", pid=1, records=9, lost="ended", lost_users=3, lost_ns=at(LOAD_S + 5.5))
    there = WorkerSummary(host="b", pid=2, records=9)
    users = load_series(stored(result(load_workers=(lost, there)), None, answers(200))).users
    assert users[:5].tolist() == [8] * 5
    assert users[5:20].tolist() == [5] * 15
