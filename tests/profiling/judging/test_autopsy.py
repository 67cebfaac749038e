from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.requestlog import RequestOutcome
from profiling.autopsies import Autopsy, Kill
from profiling.judging.autopsy import KILLS_AT_MOST, autopsy, in_flight, kill_moments, open_spans
from profiling.judging.cause import sentence
from profiling.measuring.store import StoredRun
from profiling.profiles import CaptureEnd, Frame, HeldMemory, Profile
from profiling.units import MIB
from profiling.values import KernelKill, KernelLog, Outcome, Phase, RunResult, Service, Target, Watched

from .build import END_S, HZ, LIMIT, LOAD_S, Records, at, requests, result, samples, stored

EPOCH_NS = 1_700_000_000_000_000_000
"""Added to CLOCK_MONOTONIC."""
LATE_S = 0.1
"""The count of kills is read so much later."""


def teeth(*kills_s: float, seen_s: float = LATE_S, anon: int = 500 * MIB) -> Records:
    """Memory that is all but full until each kill and then falls in two samples; the count follows."""
    t_s = np.arange(0, END_S, 1 / HZ)
    held = np.full(len(t_s), float(anon))
    for kill_s in kills_s:
        first = int(np.searchsorted(t_s, kill_s, side="right"))
        held[first] = anon / 2
        held[first + 1 : first + 20] = anon / 20
    count = sum((t_s >= kill_s + seen_s).astype(int) for kill_s in kills_s)
    return samples(t_s=t_s, anon=held, shmem=0, kernel=9 * MIB, file=3 * MIB, charged=held + 12 * MIB, oom_kills=count)


def killed(*, count: int = 1, **changes: Any) -> RunResult:
    return result(**{"outcome": Outcome.OOM_KILLED, "oom_kills": count, "epoch_offset_ns": EPOCH_NS} | changes)


def line(pid: int, name: str = "gunicorn", cgroup: str = "oomproof-1", mib: int = 480) -> KernelKill:
    return KernelKill(
        cgroup=cgroup, pid=pid, name=name, log_s=10.0 + pid, anon_rss_bytes=mib * MIB, line=f"Killed {pid}"
    )


def log(*lines: KernelKill, own_pids: bool = True) -> KernelLog:
    return KernelLog(source="/dev/kmsg", kills=lines, own_pids=own_pids)


def held(*sizes: int, line: int = 31, allocations: int = 10, mapped: int = 0, function: str = "load") -> HeldMemory:
    frame = Frame(function=function, file="shop/model.py", line=line)
    return HeldMemory(
        bytes=sum(sizes), allocations=allocations, frame=frame, stack=(frame,), by_thread=sizes, mapped_bytes=mapped
    )


def end(pid: int | None, kill_s: float | None, *lines: HeldMemory, **more: Any) -> CaptureEnd:
    last_ns = None if kill_s is None else at(kill_s) + EPOCH_NS
    more = {"rss_bytes": 490 * MIB} | more
    return CaptureEnd(capture=f"capture.bin.{pid}", pid=pid, last_ns=last_ns, held=lines, **more)


def traced(*ends: CaptureEnd) -> Profile:
    return Profile(variant="singleton", status="recorded", ends=ends)


def of(run: StoredRun, profile: Profile | None = None) -> Autopsy:
    found = autopsy(run, profile)
    assert found is not None
    return found


def test_a_run_without_a_kill_has_no_autopsy() -> None:
    assert autopsy(stored(result())) is None


def test_a_fall_of_the_memory_dates_a_kill_to_one_sample() -> None:
    (kill,) = of(stored(killed(), teeth(5.004))).kills
    assert kill.at_s == pytest.approx(5.0)
    assert kill.within_s == pytest.approx(0.01)
    assert kill.at == "2023-11-15T00:10:05.000+00:00"
    assert kill.phase == "load"
    assert kill.memory is not None
    assert (kill.memory.anon_bytes, kill.memory.charged_bytes, kill.memory.limit_bytes) == (500 * MIB, 512 * MIB, LIMIT)


def test_without_a_fall_it_is_known_to_the_reading_of_the_count() -> None:
    rows = samples(anon=100 * MIB, oom_kills=(np.arange(0, END_S, 1 / HZ) >= 6).astype(int))
    (kill,) = of(stored(killed(), rows)).kills
    assert kill.at_s == pytest.approx(5.8)
    assert kill.within_s == pytest.approx(0.2)


@given(st.lists(st.integers(10, 70), min_size=1, max_size=6, unique=True))
def test_each_kill_has_its_own_fall(places: list[int]) -> None:
    kills_s = sorted(0.3 * place + 0.004 for place in places)
    seen_s = 0.05
    moments = kill_moments(stored(killed(count=len(kills_s)), teeth(*kills_s, seen_s=seen_s)))
    assert len(moments) == len(kills_s)
    for kill_s, moment in zip(kills_s, moments, strict=True):
        assert moment.after_ns <= at(kill_s) + 1e6
        assert at(kill_s) <= moment.before_ns + 1e6
        assert moment.before_ns - moment.after_ns <= 0.2e9


def test_two_kills_counted_at_once_have_their_own_falls() -> None:
    rows = teeth(5.004, 5.304, seen_s=0.5)
    rows["oom_kills"] = np.where(rows["t_ns"] >= at(5.5), 2, 0)
    moments = kill_moments(stored(killed(count=2), rows))
    assert [moment.after_ns for moment in moments] == [at(5.0), at(5.3)]


def test_kills_after_the_last_sample_are_not_lost() -> None:
    found = of(stored(killed(count=2), teeth(5.004)))
    assert [kill.number for kill in found.kills] == [1, 2]
    assert found.kills[1].at_s == pytest.approx(END_S - 1 / HZ)


def test_nothing_was_sampled() -> None:
    (kill,) = of(stored(killed(load_start_ns=None, ready_ns=None), samples(t_s=[]), requests([]))).kills
    assert kill.memory is None
    assert kill.requests is None
    assert kill.sentence == "Before the first request: the kernel killed a process of a service."


def flights() -> Records:
    """At 5.0 s: one that was answered before, one that is open, two that break at the kill, one sent later, one never sent."""
    return np.concatenate(
        [
            requests([4.9], latency_ms=500),
            requests([6.0], latency_ms=1200),
            requests([5.006], latency_ms=300, outcome=RequestOutcome.CONNECTION_ERROR, status=0),
            requests([5.2], latency_ms=250, outcome=RequestOutcome.TIMEOUT, status=0),
            requests([5.5], latency_ms=100),
            requests([6.0], latency_ms=1500, outcome=RequestOutcome.NOT_SENT, status=0),
        ]
    )


def test_requests_in_flight() -> None:
    (kill,) = of(stored(killed(), teeth(5.004), flights())).kills
    assert kill.requests is not None
    assert (kill.requests.count, kill.requests.broken) == (3, 2)
    assert kill.requests.ages_s == (0.304, 0.21, 0.06)
    assert kill.requests.path == "POST /chat"
    assert kill.sentence.startswith("3 requests were in flight: ")


@given(
    st.lists(
        st.tuples(
            st.floats(2.1, 21), st.floats(1, 3000), st.sampled_from([RequestOutcome.OK, RequestOutcome.CONNECTION_ERROR])
        ),
        max_size=30,
    )
)  # fmt: skip
def test_no_request_is_in_flight_that_was_sent_later_or_ended_before(some: list[tuple[float, float, Any]]) -> None:
    rows = np.concatenate(
        [requests([end_s], latency_ms=ms, outcome=what) for end_s, ms, what in some] or [requests([])]
    )
    run = stored(killed(), teeth(5.004), rows)
    (moment,) = kill_moments(run)
    found = in_flight(run, moment, open_spans(run))
    assert found is not None
    surely = (rows["sent_ns"] < moment.after_ns) & (rows["finished_ns"] > moment.before_ns)
    at_most = (rows["sent_ns"] <= moment.before_ns) & (rows["finished_ns"] >= moment.after_ns)
    assert surely.sum() <= found.count <= at_most.sum()
    assert list(found.ages_s) == sorted(found.ages_s, reverse=True)


def test_the_paths_of_a_locust_file_are_not_known() -> None:
    run = stored(killed(), teeth(5.004), flights())
    target = msgspec.structs.replace(run.result.target, locustfile="/srv/shop/load.py")
    (kill,) = of(stored(killed(target=target), teeth(5.004), flights())).kills
    assert kill.requests is not None
    assert kill.requests.path is None


def test_the_kernels_log_names_the_process_and_its_pid_the_capture() -> None:
    run = stored(killed(count=2, capture="capture.bin", kernel_log=log(line(7), line(8))), teeth(5.004, 9.004))
    found = of(run, traced(end(8, 9.0, held(90 * MIB)), end(7, 5.0, held(80 * MIB)), end(9, 9.0, held(70 * MIB))))
    assert [kill.process and kill.process.pid for kill in found.kills] == [7, 8]
    assert [kill.held[0].bytes for kill in found.kills] == [80 * MIB, 90 * MIB]
    assert found.kills[0].process is not None
    assert (found.kills[0].process.name, found.kills[0].process.anon_rss_bytes) == ("gunicorn", 480 * MIB)
    assert found.sentence == found.kills[1].sentence, "the one of which most is known"
    assert found.memray


def test_another_process_than_a_recorded_one_was_killed() -> None:
    run = stored(killed(capture="capture.bin", kernel_log=log(line(77, "node"))), teeth(5.004))
    (kill,) = of(run, traced(end(7, 5.0, held(80 * MIB)))).kills
    assert kill.held == ()
    assert "programs that are started anew" in kill.held_note
    assert kill.process is not None
    assert kill.process.name == "node"


@pytest.mark.parametrize("kernel_log", [None, KernelLog(source=None, problem="no such file"), log(own_pids=False)])
def test_without_the_kernels_word_the_records_that_end_at_the_kill_are_the_processs(
    kernel_log: KernelLog | None,
) -> None:
    run = stored(killed(count=2, capture="capture.bin", kernel_log=kernel_log), teeth(5.004, 9.004))
    ends = traced(end(8, 8.9, held(90 * MIB)), end(7, 4.2, held(80 * MIB)), end(9, 15.0, held(70 * MIB)))
    found = of(run, ends)
    assert [kill.process and kill.process.pid for kill in found.kills] == [7, 8]
    assert [kill.process and kill.process.told_by for kill in found.kills] == ["capture", "capture"]
    assert [kill.process and kill.process.name for kill in found.kills] == [None, None]


def test_host_pids_are_no_pids_of_a_container() -> None:
    """The log's pid 7 is another process than the container's."""
    run = stored(
        killed(count=2, capture="capture.bin", kernel_log=log(line(7), line(8), own_pids=False)), teeth(5.004, 9.004)
    )
    found = of(run, traced(end(7, 9.0, held(90 * MIB)), end(1, 5.0, held(80 * MIB))))
    assert [kill.process and kill.process.pid for kill in found.kills] == [1, 7]
    assert [kill.process and kill.process.name for kill in found.kills] == ["gunicorn", "gunicorn"]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_killed_at_one_moment_the_larger_is_whose_records_say_so(turned: bool) -> None:
    victims = [line(811, mib=16), line(812, mib=100)]
    ends = [end(8, 5.0, held(1), rss_bytes=20 * MIB), end(9, 4.9, held(2), rss_bytes=110 * MIB)]
    if turned:
        victims.reverse()
        ends.reverse()
    rows = teeth(5.004)
    rows["oom_kills"] *= 2
    kills = of(
        stored(killed(count=2, capture="capture.bin", kernel_log=log(*victims, own_pids=False)), rows), traced(*ends)
    ).kills
    assert {(kill.process.anon_rss_bytes, kill.capture) for kill in kills if kill.process} == {
        (16 * MIB, "capture.bin.8"),
        (100 * MIB, "capture.bin.9"),
    }


def test_a_log_that_lacks_lines_is_quoted_and_matched_to_none() -> None:
    found = of(stored(killed(count=2, kernel_log=log(line(8))), teeth(5.004, 9.004)))
    assert [kill.process for kill in found.kills] == [None, None]
    assert "names 1 processes for 2 counted kills" in found.kernel_log
    assert "gunicorn (pid 8)" in found.kernel_log


def test_an_unreadable_log_is_said() -> None:
    found = of(stored(killed(kernel_log=KernelLog(source=None, problem="/dev/kmsg: no such file")), teeth(5.004)))
    assert found.kernel_log == "cannot be read here (/dev/kmsg: no such file)"


def test_runs_of_an_earlier_version_have_an_autopsy() -> None:
    found = of(stored(killed(epoch_offset_ns=None, kernel_log=None), teeth(5.004), flights()))
    (kill,) = found.kills
    assert kill.at is None
    assert kill.at_s == pytest.approx(5.0)
    assert found.kernel_log == "not read"
    run = stored(killed(epoch_offset_ns=None, capture="capture.bin", count=2), teeth(5.004, 9.004))
    assert all(not kill.held for kill in of(run, traced(end(7, 5.0, held(MIB)), end(8, 9.0, held(MIB)))).kills)


def test_a_capture_that_reached_its_limit_shows_the_moment_at_which_it_did() -> None:
    run = stored(killed(capture="capture.bin", kernel_log=log(line(7))), teeth(12.004), flights())
    (kill,) = of(run, traced(end(7, 5.0, held(90 * MIB, 90 * MIB), cut=True))).kills
    assert kill.records_end_s == pytest.approx(7.0)
    assert kill.sentence == (
        "No request was in flight; 7 s before, when recording ended, model.py:31 (load) held 2 × 90 MiB"
        " (one for each of 2 threads)."
    )


def test_kills_of_one_kind_are_marked() -> None:
    lines = log(line(1), line(2), line(3, "node"), line(4))
    run = stored(killed(count=4, capture="capture.bin", kernel_log=lines), teeth(4.004, 6.004, 8.004, 10.004))
    ends = traced(end(1, 4.0, held(MIB)), end(2, 6.0, held(2 * MIB)), end(4, 10.0, held(MIB, line=99)))
    assert [kill.like for kill in of(run, ends).kills] == [None, 1, None, None]


def test_a_great_many_kills_are_counted_but_not_all_shown() -> None:
    found = of(stored(killed(count=KILLS_AT_MOST + 3), samples(anon=MIB)))
    assert (len(found.kills), found.not_shown) == (KILLS_AT_MOST, 3)


def test_of_several_services_each_has_its_own_kills() -> None:
    services = tuple(Service(command=("./serve",), directory="/srv", name=name) for name in ("web", "worker"))
    whole = killed(count=2, kernel_log=log(line(1, cgroup="web"), line(2, "rq", cgroup="worker")))

    def part(name: str, kill_s: float) -> StoredRun:
        own = tuple(kill for kill in whole.kernel_log.kills if kill.cgroup == name) if whole.kernel_log else ()
        return stored(killed(name=name, kernel_log=log(*own)), teeth(kill_s))

    target = Target(name="shop", services=services[:1], request=whole.target.request)
    run = StoredRun(
        directory=stored().directory,
        result=msgspec.structs.replace(whole, target=target),
        samples=teeth(5.004, 9.004),
        requests=flights(),
        parts=(part("web", 9.004), part("worker", 5.004)),
    )
    found = of(run)
    assert [(kill.number, kill.service, kill.process and kill.process.name) for kill in found.kills] == [
        (1, "worker", "rq"),
        (2, "web", "gunicorn"),
    ]


def kill(**changes: Any) -> Kill:
    (usual,) = of(
        stored(killed(capture="capture.bin", kernel_log=log(line(7))), teeth(5.004), flights()), traced(end(7, 5.0))
    ).kills
    return msgspec.structs.replace(usual, **changes)


WHOLE = "of the process's 480 MiB."


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((held(*[90 * MIB] * 4),), f"model.py:31 (load) held 4 × 90 MiB (one for each of 4 threads) {WHOLE}"),
        ((held(*[90 * MIB] * 4, 1000),), f"model.py:31 (load) held 4 × 90 MiB (one for each of 4 threads) {WHOLE}"),
        (
            (held(90 * MIB, 90 * MIB, 40 * MIB),),
            f"model.py:31 (load) held 220 MiB (40 MiB to 90 MiB for each of 3 threads) {WHOLE}",
        ),
        ((held(200 * MIB),), f"model.py:31 (load) held 200 MiB (10 allocations) {WHOLE}"),
        ((held(200 * MIB, allocations=1),), f"model.py:31 (load) held 200 MiB (one allocation) {WHOLE}"),
        ((held(700 * MIB),), "model.py:31 (load) held 700 MiB (10 allocations)."),
        (
            (held(20 * MIB),),
            "no line held most of the 480 MiB; the largest, model.py:31 (load), held 20 MiB (10 allocations).",
        ),
        (
            (held(200 * MIB, mapped=150 * MIB), held(160 * MIB, line=9)),
            f"model.py:9 (load) held 160 MiB (10 allocations) {WHOLE}",
        ),
        (
            (held(300 * MIB, mapped=150 * MIB),),
            f"model.py:31 (load) held 300 MiB (10 allocations; 150 MiB of it mapped, touched or not) {WHOLE}",
        ),
        ((), "the kernel killed gunicorn (pid 7), which held 480 MiB."),
    ],
)
def test_the_sentence(lines: tuple[HeldMemory, ...], said: str) -> None:
    assert sentence(kill(held=lines)) == f"3 requests were in flight: {said}"


def test_a_comprehension_is_named_after_its_function() -> None:
    inner = Frame(function="<listcomp>", file="shop/model.py", line=31)
    outer = Frame(function="load", file="shop/model.py", line=31)
    lines = msgspec.structs.replace(held(200 * MIB), frame=inner, stack=(outer, inner))
    assert "model.py:31 (load) held" in sentence(kill(held=(lines,)))


@given(st.lists(st.integers(0, 600 * MIB), min_size=1, max_size=8), st.integers(0, 600 * MIB))
def test_a_sentence_never_says_more_threads_or_bytes_than_there_are(sizes: list[int], mapped: int) -> None:
    sizes.sort(reverse=True)
    text = sentence(kill(held=(held(*sizes, mapped=min(mapped, sum(sizes))),)))
    assert "model.py:31 (load)" in text
    for count in range(len(sizes) + 1, 20):
        assert f"{count} threads" not in text


def test_before_the_load_no_request_is_spoken_of() -> None:
    run = stored(killed(load_start_ns=None, ready_ns=None, kernel_log=log(line(7))), teeth(1.004), requests([]))
    (found,) = of(run).kills
    assert found.at_s < LOAD_S
    assert found.sentence == "Before the first request: the kernel killed gunicorn (pid 7), which held 480 MiB."


def test_what_was_only_watched_has_its_kills_since_then() -> None:
    watched = Watched(what="process 4711", kind="process", limit_bytes=None, kills_before=2)
    rows = teeth(5.004)
    rows["oom_kills"] += 2
    phases = (Phase(name="watch", start_ns=at(0), end_ns=at(END_S)),)
    run = killed(watched=watched, limits=None, load=None, load_start_ns=None, load_end_ns=None, phases=phases)
    (found,) = of(stored(run, rows, requests([]))).kills
    assert found.at_s == pytest.approx(5.0)
    assert found.memory is not None
    assert found.memory.limit_bytes is None
    assert found.sentence.startswith("While it was watched: the kernel killed a process")
