from pathlib import Path

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

# Linux 6.18, v1: a Python process with a 3 MiB file and 1 MiB of shared memory locked, while some of the file's pages
# had not yet been moved to the unevictable list.
V1_STAT = b"""\
cache 5439488
rss 14577664
rss_huge 0
shmem 2097152
mapped_file 5242880
dirty 4096
writeback 0
workingset_refault_anon 0
workingset_refault_file 47
swap 0
swapcached 0
pgpgin 4892
pgpgout 771
pgfault 5017
pgmajfault 1
inactive_anon 15552512
active_anon 4096
inactive_file 4096
active_file 1241088
unevictable 3145728
hierarchical_memory_limit 9223372036854771712
hierarchical_memsw_limit 9223372036854771712
total_cache 5439488
total_rss 14577664
total_rss_huge 0
total_shmem 2097152
total_mapped_file 5242880
total_dirty 4096
total_writeback 0
total_workingset_refault_anon 0
total_workingset_refault_file 47
total_swap 0
total_swapcached 0
total_pgpgin 4892
total_pgpgout 771
total_pgfault 5017
total_pgmajfault 1
total_inactive_anon 15552512
total_active_anon 4096
total_inactive_file 4096
total_active_file 1241088
total_unevictable 3145728
"""
V1 = {
    "memory.stat": V1_STAT,
    "memory.usage_in_bytes": b"20295680\n",
    "memory.kmem.usage_in_bytes": b"241664\n",
    "memory.kmem.tcp.usage_in_bytes": b"8192\n",
    "memory.oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
V1_READING = MemoryReading(
    charged=20295680,
    anon=14577664,
    file=5439488,
    shmem=2097152,
    kernel=241664 + 8192,
    working_set=20295680 - 4096,
    unreclaimable=14577664 + 2097152 + (3145728 - (14577664 + 2097152 - 15552512 - 4096)) + 241664 + 8192,
    refault_file=47,
)

# Rows and order as in Documentation/admin-guide/cgroup-v2.rst of Linux 6.1: 1 MiB of a file is locked.
V2_STAT = b"""\
anon 104857600
file 31457280
kernel 9437184
kernel_stack 524288
pagetables 1048576
sec_pagetables 0
percpu 65536
sock 131072
vmalloc 0
shmem 4194304
file_mapped 20971520
file_dirty 0
file_writeback 0
swapcached 0
anon_thp 0
file_thp 0
shmem_thp 0
inactive_anon 106954752
active_anon 2097152
inactive_file 16777216
active_file 9437184
unevictable 1048576
slab_reclaimable 5242880
slab_unreclaimable 2097152
slab 7340032
workingset_refault_anon 0
workingset_refault_file 12
workingset_activate_anon 0
workingset_activate_file 0
pgfault 31000
pgmajfault 3
"""
# Before Linux 5.18 there is no `kernel`, before 5.11 no `pagetables` either.
V2_OLD_STAT = b"".join(
    row
    for row in V2_STAT.splitlines(keepends=True)
    if row.split()[0] not in (b"kernel", b"pagetables", b"sec_pagetables")
)
V2 = {
    "memory.stat": V2_STAT,
    "memory.current": b"145752064\n",
    "memory.events": b"low 0\nhigh 0\nmax 41\noom 3\noom_kill 3\noom_group_kill 0\n",
}
V2_READING = MemoryReading(
    charged=145752064,
    anon=104857600,
    file=31457280,
    shmem=4194304,
    kernel=9437184,
    working_set=145752064 - 16777216,
    unreclaimable=104857600 + 4194304 + 1048576 + (9437184 - 5242880) + 131072,
    refault_file=12,
)
V2_OLD_READING = V2_READING._replace(
    kernel=524288 + 65536 + 2097152 + 5242880,
    unreclaimable=104857600 + 4194304 + 1048576 + (524288 + 65536 + 2097152) + 131072,
)

names = st.sampled_from([b"anon", b"file", b"kernel", b"kernel_stack", b"oom", b"oom_kill", b"7", b"sock"])
amounts = st.integers(0, 2**40)
texts = st.lists(st.tuples(names, amounts), unique_by=lambda row: row[0]).map(
    lambda rows: b"".join(b"%s %d\n" % row for row in rows)
)


@pytest.mark.parametrize(
    ("version", "files", "reading", "kills"),
    [(1, V1, V1_READING, 2), (2, V2, V2_READING, 3), (2, V2 | {"memory.stat": V2_OLD_STAT}, V2_OLD_READING, 3)],
    ids=["v1", "v2", "v2-without-kernel-row"],
)
def test_the_files_of_a_cgroup_become_these_figures(
    tmp_path: Path, version: int, files: dict[str, bytes], reading: MemoryReading, kills: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    reader = CgroupReader(version, str(tmp_path))
    assert reader.understand(reader.look(), reader.kernel_memory()) == reading
    assert reader.oom_kills() == kills


def test_a_reader_sees_what_changed_since(tmp_path: Path) -> None:
    for name, text in V2.items():
        (tmp_path / name).write_bytes(text)
    reader = CgroupReader(2, str(tmp_path))
    before = reader.understand(reader.look(), 0)
    (tmp_path / "memory.stat").write_bytes(V2_STAT.replace(b"anon 104857600", b"anon 104865792"))
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
    for name, text in V2.items():
        (tmp_path / name).write_bytes(text)
    assert CgroupReader(2, str(tmp_path)).stalled_us() == UNMEASURED
    (tmp_path / "memory.pressure").write_bytes(
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert CgroupReader(2, str(tmp_path)).stalled_us() == 7


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
