import errno
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.measuring.cgroup import MemoryReading
from profiling.measuring.sampler import Sampler, run
from profiling.measuring.samples import FIELDS, UNMEASURED

MS = 1_000_000
PERIOD = 10 * MS
START = 5_000_000 * MS
FLUSHED_WITHIN = 260 * MS
CENSUS = 200 * MS
PSS_TURN = 5_000 * MS


class Clock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.now = START
        self.oversleeps_ns = 0

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += round(seconds * 1e9) + self.oversleeps_ns


class FakeReader:
    """A cgroup by hand. Charged memory is the number of the look; the other figures follow from it."""

    def __init__(self, clock: Clock, costs_ns: Sequence[int] = (), ends_after: int | None = None) -> None:
        self.clock, self.costs_ns, self.ends_after = clock, costs_ns, ends_after
        self.looks: list[int] = []
        self.processes: list[int] = []
        self.rss_of: dict[int, int] = {}
        self.pss_of: dict[int, int] = {}
        self.pss_asked: list[int] = []
        self.kills = self.kernel = self.stalled = self.census_costs_ns = 0

    def look(self) -> int:
        if self.ends_after is not None and len(self.looks) >= self.ends_after:
            raise OSError(errno.ENODEV, "the cgroup is gone")
        self.looks.append(self.clock.now)
        if len(self.looks) <= len(self.costs_ns):
            self.clock.now += self.costs_ns[len(self.looks) - 1]
        return len(self.looks)

    def understand(self, seen: object, kernel: int) -> MemoryReading:
        assert isinstance(seen, int)
        return MemoryReading(seen, seen + 1, seen + 2, seen + 3, kernel, seen + 4, seen + 5, seen + 6)

    def kernel_memory(self) -> int:
        return self.kernel

    def oom_kills(self) -> int:
        return self.kills

    def stalled_us(self) -> int:
        return self.stalled

    def pids(self) -> list[int]:
        self.clock.now += self.census_costs_ns
        return list(self.processes)

    def rss(self, pid: int) -> int | None:
        return self.rss_of.get(pid)

    def pss(self, pid: int) -> int | None:
        self.pss_asked.append(pid)
        return self.pss_of.get(pid)


class Loop:
    """`run` on a fake machine until a moment of its clock."""

    def __init__(self, reader: FakeReader, clock: Clock, until_ns: int) -> None:
        self.clock, self.reader, self.until_ns = clock, reader, until_ns
        self.written: list[tuple[int, bytes]] = []
        self.asked: list[int] = []

    def over(self) -> bool:
        self.asked.append(self.clock.now)
        return self.clock.now >= self.until_ns

    def write(self, data: bytes) -> None:
        self.written.append((self.clock.now, data))

    def go(self, write: Callable[[bytes], object] | None = None) -> int:
        sampler = Sampler(self.reader, self.clock)
        return run(sampler, write or self.write, self.clock.sleep, self.over, self.clock, PERIOD)

    @property
    def rows(self) -> np.ndarray:
        return records(b"".join(data for _, data in self.written))


def loop(
    *, costs_ms: Sequence[float] = (), until_ms: float = 1000, ends_after: int | None = None, oversleeps_ms: int = 0
) -> Loop:
    clock = Clock()
    clock.oversleeps_ns = oversleeps_ms * MS
    reader = FakeReader(clock, [round(cost * MS) for cost in costs_ms], ends_after)
    return Loop(reader, clock, START + round(until_ms * MS))


def records(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=list(FIELDS))


def starts_ms(made: Loop) -> list[float]:
    return [(t - START) / MS for t in made.reader.looks]


def test_looks_that_cost_time_do_not_shift_the_next() -> None:
    made = loop(costs_ms=[3] * 200)
    made.go()
    assert starts_ms(made)[:20] == [10.0 * number for number in range(20)]


def test_sleeping_too_long_does_not_add_up() -> None:
    made = loop(oversleeps_ms=4)
    made.go()
    assert starts_ms(made)[1:20] == [10.0 * number + 4 for number in range(1, 20)]


def test_missed_looks_are_left_out_and_not_bunched_up() -> None:
    made = loop(costs_ms=[0, 35, 0])
    made.go()
    assert starts_ms(made)[:4] == [0.0, 10.0, 50.0, 60.0]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 60 * MS), max_size=40))
def test_every_look_is_on_the_first_deadline_that_can_be_kept(costs_ns: list[int]) -> None:
    clock = Clock()
    made = Loop(FakeReader(clock, costs_ns), clock, START + 300 * MS)
    made.go()
    looks = made.reader.looks
    for before, after, cost in zip(looks, looks[1:], costs_ns, strict=False):
        periods = max(1, -(-cost // PERIOD))
        assert after - before == periods * PERIOD


def test_every_look_becomes_one_record_stamped_when_it_was_made() -> None:
    made = loop(costs_ms=[3] * 200)
    count = made.go()
    assert count == len(made.rows) == len(made.reader.looks)
    assert made.rows["t_ns"].tolist() == [look + 3 * MS for look in made.reader.looks]
    assert made.rows["charged"].tolist() == list(range(1, count + 1))


def test_a_census_does_not_shift_the_stamp_of_its_look() -> None:
    made = loop(until_ms=0)
    made.reader.census_costs_ns = 4 * MS
    made.go()
    assert made.rows["t_ns"].tolist() == [START]


def test_the_figures_of_a_look_stand_in_their_fields() -> None:
    made = loop(until_ms=0)
    made.reader.kernel = 900
    made.go()
    row = made.rows[0]
    assert [row[name] for name in ("charged", "anon", "file", "shmem", "kernel")] == [1, 2, 3, 4, 900]
    assert [row[name] for name in ("working_set", "unreclaimable", "refault_file")] == [5, 6, 7]


def test_no_record_is_held_back_for_much_longer_than_a_quarter_of_a_second() -> None:
    made = loop(until_ms=2000)
    made.go()
    held_ns = [at - t for at, data in made.written for t in records(data)["t_ns"].tolist()]
    assert max(held_ns) <= FLUSHED_WITHIN
    assert len(made.written) <= 10  # and not written one by one


def test_the_end_is_asked_for_a_few_times_a_second_and_kept_to() -> None:
    made = loop(until_ms=1000)
    made.go()
    assert 4 <= len(made.asked) <= 6
    assert made.clock.now - made.until_ns <= FLUSHED_WITHIN


@pytest.mark.parametrize("looks", [0, 1, 7, 60])
def test_all_looks_are_kept_when_the_cgroup_goes(looks: int) -> None:
    made = loop(ends_after=looks)
    assert made.go() == looks
    assert made.rows["charged"].tolist() == list(range(1, looks + 1))


@pytest.mark.parametrize("failing", [1, 2, 1000])
def test_a_full_disk_is_not_taken_for_the_end_of_the_cgroup(failing: int) -> None:
    made = loop()
    left = iter(range(failing))

    def write(data: bytes) -> None:
        if next(left, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        made.write(data)

    with pytest.raises(OSError, match="No space left"):
        made.go(write)


class Watched:
    """A sampler over a cgroup whose processes come and go between censuses."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader(self.clock)
        self.sampler = Sampler(self.reader, self.clock)

    def census(self, *processes: int, after_ns: int = CENSUS) -> np.void:
        self.clock.now += after_ns
        self.reader.processes = list(processes)
        return self.look()

    def look(self) -> np.void:
        self.sampler.look()
        row: np.void = records(self.sampler.records())[-1]
        return row


def test_a_census_counts_who_came_and_who_went() -> None:
    watched = Watched()
    seen = [watched.census(*pids) for pids in ((), (1,), (1, 2, 3), (1, 4), (1, 4), ())]
    assert [row["processes"] for row in seen] == [0, 1, 3, 2, 2, 0]
    assert [row["births"] for row in seen] == [0, 1, 3, 4, 4, 4]
    assert [row["exits"] for row in seen] == [0, 0, 0, 2, 2, 4]


@settings(deadline=None)
@given(st.lists(st.frozensets(st.integers(1, 9)), max_size=12))
def test_births_without_exits_are_the_processes_that_are_there(censuses: list[frozenset[int]]) -> None:
    watched = Watched()
    for there in censuses:
        row = watched.census(*there)
        assert row["births"] - row["exits"] == row["processes"] == len(there)


def test_between_two_censuses_the_last_one_holds() -> None:
    watched = Watched()
    watched.reader.kills = 1
    assert watched.census(1)["oom_kills"] == 1
    watched.reader.kills, watched.reader.kernel, watched.reader.stalled, watched.reader.processes = 2, 70, 900, [1, 2]
    watched.clock.now += CENSUS - 1
    row = watched.look()
    assert [row[name] for name in ("oom_kills", "kernel", "pressure_full_us", "processes")] == [1, 0, 0, 1]
    watched.clock.now += 1
    row = watched.look()
    assert [row[name] for name in ("oom_kills", "kernel", "pressure_full_us", "processes")] == [2, 70, 900, 2]


def test_rss_is_the_sum_over_those_that_are_still_there() -> None:
    watched = Watched()
    assert watched.census()["rss"] == UNMEASURED
    watched.reader.rss_of = {1: 100, 2: 20}
    assert watched.census(1, 2)["rss"] == 120
    assert watched.census(1, 2, 3)["rss"] == 120
    assert watched.census(3)["rss"] == UNMEASURED


def test_pss_is_a_sum_only_once_every_process_was_read() -> None:
    watched = Watched()
    watched.reader.pss_of = {1: 100, 2: 20, 3: 3}
    seen = [watched.census(1, 2, 3, after_ns=PSS_TURN)["pss"] for _ in range(4)]
    assert seen == [UNMEASURED, UNMEASURED, 123, 123]


def test_pss_is_read_in_turns_the_oldest_reading_first() -> None:
    watched = Watched()
    watched.reader.pss_of = {1: 100, 2: 20, 3: 3}
    for _ in range(7):
        watched.census(1, 2, 3, after_ns=PSS_TURN)
    assert watched.reader.pss_asked == [1, 2, 3, 1, 2, 3, 1]


def test_pss_is_read_of_one_process_per_turn_however_many_censuses_there_are() -> None:
    watched = Watched()
    watched.reader.pss_of = {1: 100}
    for _ in range(2 * PSS_TURN // CENSUS):
        watched.census(1)
    assert len(watched.reader.pss_asked) == 2


def test_a_newcomer_is_read_next_and_until_then_there_is_no_sum() -> None:
    watched = Watched()
    watched.reader.pss_of = {1: 100, 2: 20, 3: 3}
    watched.census(1, 2, after_ns=PSS_TURN)
    assert watched.census(1, 2, after_ns=PSS_TURN)["pss"] == 120
    assert watched.census(1, 2, 3)["pss"] == UNMEASURED
    assert watched.census(1, 2, 3, after_ns=PSS_TURN)["pss"] == 123
    assert watched.reader.pss_asked == [1, 2, 3]


def test_whoever_is_gone_leaves_the_sum() -> None:
    watched = Watched()
    watched.reader.pss_of = {1: 100, 2: 20}
    watched.census(1, 2, after_ns=PSS_TURN)
    watched.census(1, 2, after_ns=PSS_TURN)
    assert watched.census(1)["pss"] == 100
    assert watched.census()["pss"] == UNMEASURED


def test_a_process_that_may_not_be_read_leaves_no_sum() -> None:
    watched = Watched()
    watched.reader.pss_of = {1: 100}
    assert [watched.census(1, 2, after_ns=PSS_TURN)["pss"] for _ in range(3)] == [UNMEASURED] * 3


def test_records_are_handed_out_once() -> None:
    watched = Watched()
    watched.sampler.look()
    assert len(records(watched.sampler.records())) == 1
    assert watched.sampler.records() == b""
