"""Users that come and go, and requests that are due whatever the answers."""

import itertools
import socket
import threading
import time

from loadtests.plan import (
    LoadPlan,
    Stage,
)
from loadtests.requestlog import RequestOutcome
from tests.loadtests.bench import PATIENCE_S, Bench, outcomes, until
from tests.loadtests.servers import Received, hang, ok, serving


def test_users_follow_the_plan_up_and_down(bench: Bench) -> None:
    """Trap 5 again: the ramp is part of the duration, and a plan is not rounded to Locust's seconds."""
    plan = LoadPlan((Stage(1, 0.3), Stage(5, 0.8, 0.5), Stage(2, 0.5), Stage(3, 0.4)), think_time_s=0.005)
    with serving() as server:
        summary, records = bench.run(server.url, plan)
    assert summary.started_ns is not None
    assert summary.ended_ns is not None
    # Afterwards users leave one by one while the last answers come in.
    seen = [record.active_users for record in records if record.finished_ns < summary.ended_ns]
    changes = [users for users, _ in itertools.groupby(seen)]
    up = changes[: changes.index(5) + 1]
    assert up[0] == 1
    assert up == sorted(up)
    assert len(up) > 2  # not in one leap
    assert changes[-2:] == [2, 3]
    assert max(seen) == 5
    assert summary.ended_ns - summary.started_ns >= 2.0e9
    # Not before the plan says so. How soon after it is a matter of timing, and not tested.
    first_with_five = next(record for record in records if record.active_users == 5)
    assert first_with_five.finished_ns - summary.started_ns >= 0.3e9 + 0.5e9 * 3 / 4


def test_users_that_are_still_leaving_do_not_count_as_those_to_come(bench: Bench) -> None:
    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        time.sleep(0.5)  # so that the fall of the plan is over before the last user has left
        return ok(connection, received, closing)

    plan = LoadPlan((Stage(5, 0.3), Stage(1, 0.1), Stage(4, 60.0)), stop_timeout_s=PATIENCE_S)
    with serving(behave) as server, bench.start(server.url, plan) as load:
        until(lambda: len({record.user for record in bench.records() if record.active_users == 4} - set(range(5))) == 3)
        load.kill()


def test_an_open_loop_counts_from_the_due_time(bench: Bench) -> None:
    """Trap 9."""
    with serving() as server:
        summary, records = bench.run(server.url, LoadPlan.constant(4, 1.0, rate=50))
    # On a busy machine the last ones may find the plan over.
    assert outcomes(records).keys() <= {"OK", "NOT_SENT"}
    assert outcomes(records)["OK"] > 25
    assert summary.started_ns is not None
    due = sorted(record.intended_ns - summary.started_ns for record in records)
    assert due == [n * 20_000_000 for n in range(50)]
    assert all(record.sent_ns >= record.intended_ns for record in records)


def test_an_open_loop_does_not_hide_a_stalled_service(bench: Bench) -> None:
    """Trap 9: what was due and could not be sent is in the log, and what was sent late says so."""
    answering = threading.Event()

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        if answering.is_set():
            return hang(connection, received, closing)
        time.sleep(0.3)  # the stall itself, not a wait
        answering.set()
        return ok(connection, received, closing)

    with serving(behave) as server:
        summary, records = bench.run(server.url, LoadPlan.constant(1, 1.0, rate=20, stop_timeout_s=0.1))
    assert outcomes(records) == {"OK": 1, "CUT_AT_END": 1, "NOT_SENT": 18}
    assert summary.started_ns is not None
    due = sorted(record.intended_ns - summary.started_ns for record in records)
    assert due == [n * 50_000_000 for n in range(20)]
    late = next(record for record in records if record.outcome is RequestOutcome.CUT_AT_END)
    assert late.sent_ns - late.intended_ns >= 0.2e9


def test_one_stall_of_a_second_is_felt_by_all_that_were_due_in_it(bench: Bench) -> None:
    """Trap 9, coordinated omission: a closed loop would have noted as many slow answers as it has users."""
    turn, stalls = threading.Lock(), []
    begun = time.monotonic_ns()

    def behave(connection: socket.socket, received: Received, closing: threading.Event) -> bool:
        with turn:
            if not stalls and begun and time.monotonic_ns() - begun > 0.5e9:
                stalls.append(time.monotonic_ns())
                time.sleep(1.0)  # the stall itself, not a wait
                stalls.append(time.monotonic_ns())
        return ok(connection, received, closing)

    users, rate = 4, 40
    with (
        serving(behave) as server,
        bench.start(server.url, LoadPlan.constant(users, 3.0, rate=rate), hold=True) as load,
    ):
        until(lambda: load.ready)
        begun = time.monotonic_ns()
        load.release()
        load.wait(PATIENCE_S)
    records = [record for record in bench.records() if record.outcome is RequestOutcome.OK]
    start, end = stalls
    due = [record for record in records if start <= record.intended_ns < end]
    assert len(due) > 0.5 * rate, "they were sent after the stall, and are in the log"
    assert all(record.finished_ns >= end for record in due)
    slow_by_due = sum(record.finished_ns - record.intended_ns > 0.2e9 for record in due)
    slow_by_send = sum(record.finished_ns - record.sent_ns > 0.2e9 for record in due)
    assert slow_by_send <= users, "no more can have been under way"
    assert slow_by_due >= 0.7 * len(due) > 3 * users
