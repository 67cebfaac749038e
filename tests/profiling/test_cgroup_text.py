import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.measuring.cgroup import (
    V1_ROWS,
    V2_ROWS,
    MemoryReading,
    Pressure,
    RowPicker,
    Stall,
    mlocked,
    parse_keyed,
    parse_limit,
    parse_pressure,
    parse_procs,
    reading_v1,
    reading_v2,
)
from profiling.measuring.sampler import CgroupReader
from profiling.measuring.samples import UNMEASURED
from profiling.units import MIB

GOLDEN = Path(__file__).parents[1] / "golden" / "cgroup"
V1, V2 = GOLDEN / "v1", GOLDEN / "v2"
"""What kernels wrote (v1: Linux 6.18, v2: 6.1) while a service held 8 MiB of anonymous, 4 of shared and 3 of locked file
memory and a child of its had been OOM-killed. `python -m tests.kernel.golden` makes them anew."""
V2_STAT = (V2 / "memory.stat").read_bytes()


def older(text: bytes) -> bytes:
    """memory.stat before Linux 5.18, which brought `kernel` and `vmalloc`."""
    rows = text.splitlines(keepends=True)
    return b"".join(row for row in rows if row.split()[0] not in (b"kernel", b"vmalloc", b"sec_pagetables"))


def plain(directory: Path, name: str) -> dict[str, int]:
    """A flat-keyed file without our parser."""
    return {row.split()[0]: int(row.split()[1]) for row in (directory / name).read_text().splitlines()}


def copied(source: Path, target: Path, stat: bytes | None = None) -> Path:
    """The files of `source` in `target`, with another memory.stat if one is given."""
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    if stat is not None:
        (target / "memory.stat").write_bytes(stat)
    return target


def figures(version: int, directory: Path) -> dict[str, Any]:
    """Everything that our parsers make of a cgroup's files."""
    reader = CgroupReader(version, str(directory))
    made: dict[str, Any] = reader.understand(reader.look(), reader.kernel_memory())._asdict()
    made |= {"oom_kills": reader.oom_kills(), "pids": reader.pids(), "stalled_us": reader.stalled_us()}
    limits = (
        ("memory.max", "memory.swap.max") if version == 2 else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    )
    made |= {name: parse_limit((directory / name).read_bytes()) for name in limits}
    if version == 2:
        pressure = parse_pressure((directory / "memory.pressure").read_bytes())
        made |= {"some": pressure.some._asdict(), "full": pressure.full._asdict()}
    return made


names = st.sampled_from([b"anon", b"file", b"kernel", b"kernel_stack", b"oom", b"oom_kill", b"7", b"sock"])
amounts = st.integers(0, 2**40)
texts = st.lists(st.tuples(names, amounts), unique_by=lambda row: row[0]).map(
    lambda rows: b"".join(b"%s %d\n" % row for row in rows)
)


@pytest.mark.parametrize("name", ["v1", "v2", "v2-before-5.18"])
def test_what_kernels_wrote_becomes_these_figures(tmp_path: Path, name: str) -> None:
    source = GOLDEN / name[:2]
    directory = copied(source, tmp_path, older(V2_STAT)) if name.endswith("5.18") else source
    made = json.dumps(figures(int(name[1]), directory), indent=1) + "\n"
    accepted = GOLDEN / f"{name}.json"
    if os.environ.get("OOMPROOF_BLESS") == "1":
        accepted.write_text(made, encoding="utf-8")
    assert made == accepted.read_text(encoding="utf-8"), f"{name} differs; if it should: OOMPROOF_BLESS=1"


@pytest.mark.parametrize(("version", "directory"), [(1, V1), (2, V2)])
def test_the_figures_are_what_the_service_held(version: int, directory: Path) -> None:
    made = figures(version, directory)
    held = 8 + 4 + 3
    assert held * MIB <= made["unreclaimable"] <= (held + 5) * MIB  # and less than five of the interpreter's own
    assert (made["oom_kills"], made["memory.max" if version == 2 else "memory.limit_in_bytes"]) == (1, 64 * MIB)
    assert made["unreclaimable"] <= made["charged"]
    assert made["shmem"] == pytest.approx(4 * MIB, abs=4096)


def test_unreclaimable_on_v2_is_the_sum_that_the_docs_name() -> None:
    row = plain(V2, "memory.stat")
    locked = row["unevictable"] - (row["anon"] + row["shmem"] - row["inactive_anon"] - row["active_anon"])
    rest = locked + row["sock"] - row["slab_reclaimable"]
    assert figures(2, V2)["unreclaimable"] == row["anon"] + row["shmem"] + row["kernel"] + rest


def test_before_5_18_the_kernels_own_is_added_up_from_its_parts(tmp_path: Path) -> None:
    row = plain(V2, "memory.stat")
    made = figures(2, copied(V2, tmp_path, older(V2_STAT)))
    assert made["kernel"] == sum(
        row[name] for name in ("kernel_stack", "pagetables", "percpu", "slab_unreclaimable", "slab_reclaimable")
    )


def test_unreclaimable_on_v1_is_the_sum_that_the_docs_name() -> None:
    row = plain(V1, "memory.stat")
    on_lists = row["total_inactive_anon"] + row["total_active_anon"]
    locked = max(0, row["total_unevictable"] - (row["total_rss"] + row["total_shmem"] - on_lists))
    kernel = sum(int((V1 / f"memory.kmem.{name}usage_in_bytes").read_text()) for name in ("", "tcp."))
    assert figures(1, V1)["unreclaimable"] == row["total_rss"] + row["total_shmem"] + locked + kernel


def test_a_reader_sees_what_changed_since(tmp_path: Path) -> None:
    reader = CgroupReader(2, str(copied(V2, tmp_path)))
    before = reader.understand(reader.look(), 0)
    anon = b"anon %d" % before.anon
    (tmp_path / "memory.stat").write_bytes(V2_STAT.replace(anon, b"anon %d" % (before.anon + 8192), 1))
    assert reader.understand(reader.look(), 0).anon - before.anon == 8192


def test_a_flat_keyed_file() -> None:
    assert parse_keyed(b"low 0\nmax 7\noom_kill 2\n") == {b"low": 0, b"max": 7, b"oom_kill": 2}
    assert parse_keyed(b"") == {}


@pytest.mark.parametrize("text", [b"max", b"max 7\noom_kill", b"max seven\n", b"max 1 oom\n"])
def test_what_is_not_flat_keyed_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_keyed(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [(b"max\n", None), (b"9223372036854771712\n", None), (b"536870912\n", 512 * 2**20), (b"0\n", 0)],
)
def test_a_limit_that_no_machine_has_is_none(text: bytes, limit: int | None) -> None:
    assert parse_limit(text) == limit


def test_process_ids_stand_one_a_line() -> None:
    assert parse_procs(b"1\n40\n39\n") == [1, 40, 39]
    assert parse_procs(b"") == []


def test_pressure_has_a_line_for_some_and_one_for_all() -> None:
    text = b"some avg10=6.54 avg60=1.25 avg300=0.26 total=840819\nfull avg10=5.00 avg60=1.00 avg300=0.20 total=700000\n"
    assert parse_pressure(text) == Pressure(some=Stall(6.54, 1.25, 0.26, 840819), full=Stall(5.0, 1.0, 0.2, 700000))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=",
        b"some avg10=nan avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        b"low 0\nhigh 0\n",
    ],
)
def test_what_is_no_pressure_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="pressure"):
        parse_pressure(text)


def test_a_kernel_without_pressure_leaves_it_unmeasured(tmp_path: Path) -> None:
    (copied(V2, tmp_path) / "memory.pressure").unlink()
    assert CgroupReader(2, str(tmp_path)).stalled_us() == UNMEASURED
    assert CgroupReader(1, str(V1)).stalled_us() == UNMEASURED


@settings(deadline=None)
@given(st.lists(names, min_size=1, unique=True), st.lists(texts, min_size=1, max_size=4))
def test_a_picker_reads_as_a_plain_parse_does_whatever_moves_comes_or_goes(
    wanted: list[bytes], readings: list[bytes]
) -> None:
    picker = RowPicker(*wanted)
    for text in readings:
        assert picker.pick(text) == [parse_keyed(text).get(name, 0) for name in wanted]


@settings(deadline=None, max_examples=25)
@given(st.permutations(V2_STAT.splitlines(keepends=True)))
def test_a_picker_does_not_depend_on_the_order_of_rows(rows: list[bytes]) -> None:
    picker = RowPicker(*V2_ROWS)
    expected = picker.pick(V2_STAT)
    assert picker.pick(b"".join(rows)) == expected
    assert picker.pick(V2_STAT) == expected


def test_a_picker_refuses_a_text_that_was_cut_off() -> None:
    picker = RowPicker(b"anon", b"file")
    assert picker.pick(b"anon 1\nfile 2\n") == [1, 2]
    with pytest.raises(ValueError, match="odd number"):
        picker.pick(b"anon 1\nfile")


@settings(deadline=None)
@given(amounts, amounts, amounts, amounts, amounts)
def test_locked_memory_is_never_negative(unevictable: int, anon: int, shmem: int, inactive: int, active: int) -> None:
    assert mlocked(unevictable, anon, shmem, inactive, active) >= 0


class Pages:
    """Memory as the kernel holds it, so that the rows of memory.stat agree with each other."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.anon, self.locked_anon, self.shmem, self.locked_shmem = [draw(amounts) for _ in range(4)]
        self.active, self.file_lists, self.locked_file = [draw(amounts) for _ in range(3)]
        self.slab_reclaimable, self.other_kernel, self.sock = [draw(amounts) for _ in range(3)]
        self.active = min(self.active, self.anon + self.shmem)

    def v2(self) -> MemoryReading:
        rows = {
            b"anon": self.anon + self.locked_anon,
            b"shmem": self.shmem + self.locked_shmem,
            b"file": self.shmem + self.locked_shmem + self.file_lists + self.locked_file,
            b"active_anon": self.active,
            b"inactive_anon": self.anon + self.shmem - self.active,
            b"inactive_file": self.file_lists,
            b"unevictable": self.locked_anon + self.locked_shmem + self.locked_file,
            b"sock": self.sock,
            b"slab_reclaimable": self.slab_reclaimable,
        }
        kernel = self.other_kernel + self.slab_reclaimable
        charged = rows[b"anon"] + rows[b"file"] + kernel + self.sock
        return reading_v2([rows.get(name, 0) for name in V2_ROWS], kernel, charged)

    def v1(self) -> MemoryReading:
        rows = {
            b"total_rss": self.anon + self.locked_anon,
            b"total_shmem": self.shmem + self.locked_shmem,
            b"total_cache": self.shmem + self.locked_shmem + self.file_lists + self.locked_file,
            b"total_active_anon": self.active,
            b"total_inactive_anon": self.anon + self.shmem - self.active,
            b"total_inactive_file": self.file_lists,
            b"total_unevictable": self.locked_anon + self.locked_shmem + self.locked_file,
        }
        kernel = self.other_kernel + self.slab_reclaimable + self.sock
        charged = rows[b"total_rss"] + rows[b"total_cache"] + kernel
        return reading_v1([rows.get(name, 0) for name in V1_ROWS], kernel, charged)

    @property
    def unreclaimable(self) -> int:
        user = self.anon + self.locked_anon + self.shmem + self.locked_shmem + self.locked_file
        return user + self.other_kernel + self.sock


pages = st.composite(Pages)()


@settings(deadline=None)
@given(pages)
def test_v2_counts_what_cannot_be_reclaimed_exactly_once(there: Pages) -> None:
    reading = there.v2()
    assert reading.unreclaimable == there.unreclaimable
    assert reading.unreclaimable == reading.charged - there.file_lists - there.slab_reclaimable


@settings(deadline=None)
@given(pages)
def test_v1_counts_it_once_with_reclaimable_slab_on_top(there: Pages) -> None:
    reading = there.v1()
    assert reading.unreclaimable == there.unreclaimable + there.slab_reclaimable
    assert reading.unreclaimable == reading.charged - there.file_lists


@settings(deadline=None)
@given(st.lists(amounts, min_size=len(V2_ROWS), max_size=len(V2_ROWS)), amounts, amounts)
def test_rows_that_disagree_give_no_negative_figure(rows: list[int], kernel: int, charged: int) -> None:
    assert min(reading_v2(rows, kernel, charged)) >= 0
    assert min(reading_v1(rows[: len(V1_ROWS)], kernel, charged)) >= 0


percents = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
stalls = st.builds(Stall, percents, percents, percents, st.integers(0, 2**63))


def stall_line(kind: bytes, stall: Stall) -> bytes:
    return (
        kind
        + f" avg10={stall.avg10:.2f} avg60={stall.avg60:.2f} avg300={stall.avg300:.2f} total={stall.total_us}\n".encode()
    )


@given(stalls, stalls, st.permutations([0, 1, 2]))
def test_pressure_comes_back_as_it_was_written_whatever_the_order_and_whatever_else_there_is(
    some: Stall, full: Stall, order: list[int]
) -> None:
    lines = [stall_line(b"some", some), stall_line(b"full", full), b"half avg10=1.00 total=7\n"]
    assert parse_pressure(b"".join(lines[place] for place in order)) == Pressure(some, full)


@given(texts, st.randoms())
def test_a_flat_keyed_file_comes_back_as_it_was_written_in_any_order(text: bytes, random: Random) -> None:
    rows = text.splitlines(keepends=True)
    assert b"".join(b"%s %d\n" % row for row in parse_keyed(text).items()) == text
    random.shuffle(rows)
    assert parse_keyed(b"".join(rows)) == parse_keyed(text)


@given(st.lists(st.integers(1, 2**22)))
def test_process_ids_come_back_as_they_were_written(pids: list[int]) -> None:
    assert parse_procs(b"".join(b"%d\n" % pid for pid in pids)) == pids


@given(st.integers(0, 2**62 - 1))
def test_a_limit_comes_back_as_it_was_written(limit: int) -> None:
    assert parse_limit(b"%d\n" % limit) == limit


@given(st.dictionaries(st.sampled_from([b"zswap", b"thp_fault_alloc", b"hugetlb", b"anon_new"]), amounts, min_size=1))
def test_rows_that_a_later_kernel_adds_change_nothing(rows: dict[bytes, int]) -> None:
    added = b"".join(b"%s %d\n" % row for row in rows.items())
    picker = RowPicker(*V2_ROWS)
    assert picker.pick(added + V2_STAT) == picker.pick(V2_STAT) == picker.pick(V2_STAT + added)


PARSERS: list[Callable[[bytes], object]] = [
    parse_keyed, parse_limit, parse_procs, parse_pressure, RowPicker(b"anon", b"oom_kill").pick,
]  # fmt: skip
# Bytes at random, and real texts that were cut and glued.
real = st.sampled_from([path.read_bytes() for path in sorted(GOLDEN.glob("v*/*"))])
garbage = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda a, cut, b: a[:cut] + b, real, st.integers(0, 200), st.binary(max_size=8)),
    st.builds(lambda a, cut, b: a[:cut] + b, real, st.integers(0, 200), real),
)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=garbage)
def test_garbage_is_understood_or_a_value_error_and_nothing_else(parse: Callable[[bytes], object], text: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse(text)


@given(st.lists(amounts, min_size=len(V2_ROWS), max_size=len(V2_ROWS)), amounts, amounts)
def test_unreclaimable_lies_within_what_it_is_made_of(values: list[int], kernel: int, charged: int) -> None:
    row = dict(zip(V2_ROWS, values, strict=True))
    known = row[b"anon"] + row[b"shmem"] + row[b"sock"] + max(0, kernel - row[b"slab_reclaimable"])
    assert known <= reading_v2(values, kernel, charged).unreclaimable <= known + row[b"unevictable"]
    old = dict(zip(V1_ROWS, values, strict=False))
    known = old[b"total_rss"] + old[b"total_shmem"] + kernel
    in_v1 = reading_v1(values[: len(V1_ROWS)], kernel, charged)
    assert known <= in_v1.unreclaimable <= known + old[b"total_unevictable"]
