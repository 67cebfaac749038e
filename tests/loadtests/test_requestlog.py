import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.requestlog import (
    FIELDS,
    FLUSH_INTERVAL_S,
    RECORD_SIZE,
    RequestLogWriter,
    RequestOutcome,
    RequestRecord,
    brought_here,
    count_records,
    pack,
    read_records,
    sort_by_end,
    unpack,
)

moments = st.integers(0, 2**63 - 1)
records = st.builds(
    RequestRecord,
    intended_ns=moments,
    sent_ns=moments,
    finished_ns=moments,
    response_bytes=st.integers(0, 2**32 - 1),
    user=st.integers(0, 2**32 - 1),
    active_users=st.integers(0, 2**16 - 1),
    status=st.integers(0, 599),
    outcome=st.sampled_from(RequestOutcome),
    clock=st.integers(0, 255),
)
ONE = RequestRecord(10, 20, 30, 400, 5, 6, 200, RequestOutcome.OK)


def test_the_record_is_40_bytes_and_a_multiple_of_8() -> None:
    assert RECORD_SIZE == 40
    assert np.dtype(FIELDS).itemsize == RECORD_SIZE


@given(records)
def test_a_record_survives_packing(record: RequestRecord) -> None:
    assert unpack(pack(record)) == record


@given(st.lists(records, max_size=5))
def test_numpy_reads_the_same_from_the_fields(many: list[RequestRecord]) -> None:
    rows = np.frombuffer(b"".join(map(pack, many)), dtype=np.dtype(FIELDS))
    assert [tuple(row)[:9] for row in rows.tolist()] == [tuple(record) for record in many]


def test_counts_too_large_for_their_field_are_clipped() -> None:
    big = ONE._replace(response_bytes=2**40, active_users=10**6, status=99_999)
    assert unpack(pack(big)) == ONE._replace(response_bytes=2**32 - 1, active_users=2**16 - 1, status=0)


@given(st.lists(records, max_size=50), st.integers(0, RECORD_SIZE - 1))
def test_a_torn_last_record_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, many: list[RequestRecord], torn: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "requests.bin"
    path.write_bytes(b"".join(map(pack, many)) + pack(ONE)[:torn])
    assert list(read_records(path)) == many
    assert count_records(path) == len(many)


def test_more_records_than_one_block(tmp_path: Path) -> None:
    path = tmp_path / "requests.bin"
    many = [ONE._replace(user=user) for user in range(3000)]
    path.write_bytes(b"".join(map(pack, many)) + b"torn")
    assert list(read_records(path)) == many


def test_a_writer_appends_and_closes_twice(tmp_path: Path) -> None:
    path = tmp_path / "requests.bin"
    for user in (1, 2):
        with RequestLogWriter(path) as log:
            log.append(ONE._replace(user=user))
            log.close()
    assert [record.user for record in read_records(path)] == [1, 2]


def test_a_writer_goes_on_after_a_torn_record(tmp_path: Path) -> None:
    path = tmp_path / "requests.bin"
    path.write_bytes(pack(ONE) + pack(ONE)[:17])
    with RequestLogWriter(path) as log:
        log.append(ONE._replace(user=9))
    assert list(read_records(path)) == [ONE, ONE._replace(user=9)]


def test_records_are_flushed_once_they_are_due(tmp_path: Path) -> None:
    path = tmp_path / "requests.bin"
    with RequestLogWriter(path) as log:
        opened = time.monotonic()
        while count_records(path) == 0:
            log.append(ONE)
            assert time.monotonic() - opened < FLUSH_INTERVAL_S + 10
        assert time.monotonic() - opened >= FLUSH_INTERVAL_S


def test_what_was_flushed_outlives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "requests.bin"
    program = (
        "import os, sys, pathlib; from loadtests.requestlog import *\n"
        f"log = RequestLogWriter(pathlib.Path({str(path)!r}))\n"
        "[log.append(RequestRecord(1, 2, 3, 4, user, 6, 200, RequestOutcome.OK)) for user in range(7)]\n"
        "log.flush(); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == -9
    assert [record.user for record in read_records(path)] == list(range(7))


def test_a_failed_write_loses_nothing(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full")
    full = RequestLogWriter(Path("/dev/full"))
    full.append(ONE)
    with pytest.raises(OSError, match="No space"):
        full.flush()
    path = tmp_path / "requests.bin"
    replacement = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(replacement, full._fd)
    os.close(replacement)
    full.close()
    assert list(read_records(path)) == [ONE]


def test_a_missing_log_has_no_records(tmp_path: Path) -> None:
    assert count_records(tmp_path / "none") == 0


@given(st.lists(records, max_size=5), st.integers(-(10**9), 10**9), st.integers(0, 70_000), st.integers(0, 255))
def test_records_of_a_worker_are_brought_here(made: list[RequestRecord], ahead: int, more: int, clock: int) -> None:
    """Whatever the clock, no latency changes."""
    early = [record._replace(intended_ns=1 << 40, sent_ns=1 << 41, finished_ns=1 << 42) for record in made]
    data = brought_here(b"".join(map(pack, early)), ahead_ns=ahead, more_users=more, clock=clock)
    got = [unpack(data[at : at + RECORD_SIZE]) for at in range(0, len(data), RECORD_SIZE)]
    assert got == [
        record._replace(
            intended_ns=(1 << 40) - ahead,
            sent_ns=(1 << 41) - ahead,
            finished_ns=(1 << 42) - ahead,
            active_users=min(record.active_users + more, 0xFFFF),
            clock=clock,
        )
        for record in early
    ]


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, RECORD_SIZE - 1), st.integers(1, 13))
def test_records_are_sorted_by_their_end(ends: list[int], torn: int, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.bin"
        made = [ONE._replace(finished_ns=end, user=number) for number, end in enumerate(ends)]
        path.write_bytes(b"".join(map(pack, made)) + b"x" * torn)
        sort_by_end(path, block)
        assert list(read_records(path)) == sorted(made, key=lambda record: record.finished_ns), (
            "equal ends stay in turn"
        )
        assert [entry.name for entry in Path(folder).iterdir()] == ["requests.bin"]
