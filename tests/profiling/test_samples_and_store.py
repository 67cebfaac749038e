import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests import requestlog
from loadtests.requestlog import RequestOutcome, RequestRecord
from profiling.errors import DataError, ExitCode, OutputError
from profiling.judging.analysis import analyse
from profiling.judging.findings import with_findings
from profiling.measuring import samples, store
from profiling.values import Budget, RunResult
from tests.profiling.judging import build

ROW = (build.at(1), *range(1, len(samples.FIELDS)))
REQUEST = RequestRecord(build.at(3), build.at(4), build.at(5), 400, 5, 6, 200, RequestOutcome.OK)


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: what a full disk does, done by the kernel."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def damage(directory: Path, **changes: object) -> None:
    """Overwrite keys of a stored run.json."""
    path = directory / store.RUN_FILE
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes), encoding="utf-8")


def test_numpy_reads_what_the_sampler_packs() -> None:
    rows = np.frombuffer(samples.RECORD.pack(*ROW), dtype=list(samples.FIELDS))
    assert rows.dtype.itemsize == samples.RECORD.size
    assert rows.tolist() == [ROW]


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    result = build.result(stop_reason="it ended\nby itself: “ü”", oom_kills=3, ready_ns=None)
    store.save(tmp_path, result)
    (tmp_path / store.SAMPLES_FILE).write_bytes(samples.RECORD.pack(*ROW) * 3)
    (tmp_path / store.REQUESTS_FILE).write_bytes(requestlog.pack(REQUEST) * 2)
    run = store.load(tmp_path)
    assert (run.result, run.directory) == (result, tmp_path.resolve())
    assert run.samples.tolist() == [ROW] * 3
    assert [RequestRecord(*row[:-1]) for row in run.requests.tolist()] == [REQUEST] * 2


def test_a_run_without_data_has_empty_arrays_with_all_fields(tmp_path: Path) -> None:
    store.save(tmp_path, build.result())
    run = store.load(tmp_path)
    assert (len(run.samples), len(run.requests)) == (0, 0)
    assert run.samples.dtype.names == tuple(name for name, _ in samples.FIELDS)
    assert run.requests.dtype.names == tuple(name for name, _ in requestlog.FIELDS)


def test_a_run_from_before_pressure_was_read_can_still_be_read_and_judged(tmp_path: Path) -> None:
    old = samples.FIELDS[:-1]
    assert samples.FIELDS[-1][0] == "pressure_full_us"
    store.save(tmp_path, build.result(sample_fields=old))
    (tmp_path / store.SAMPLES_FILE).write_bytes(samples.RECORD.pack(*ROW)[:-8] * 3)
    run = store.load(tmp_path)
    assert run.samples.tolist() == [ROW[:-1]] * 3
    assert with_findings(analyse(run), run, Budget()).summary.samples == 3


@pytest.mark.parametrize("file", [store.SAMPLES_FILE, store.REQUESTS_FILE])
@pytest.mark.parametrize("data", [bytes(2400), b"\xa5" * 2400])
def test_noise_instead_of_data_is_a_data_error(tmp_path: Path, file: str, data: bytes) -> None:
    store.save(tmp_path, build.result())
    (tmp_path / file).write_bytes(data)
    with pytest.raises(DataError, match="outside the run"):
        store.load(tmp_path)


def test_data_that_is_a_directory_is_a_data_error(tmp_path: Path) -> None:
    store.save(tmp_path, build.result())
    (tmp_path / store.SAMPLES_FILE).mkdir()
    with pytest.raises(DataError, match="damaged"):
        store.load(tmp_path)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.integers(0, samples.RECORD.size - 1))
def test_a_torn_last_record_is_dropped(tmp_path_factory: pytest.TempPathFactory, whole: int, torn: int) -> None:
    directory = tmp_path_factory.mktemp("run")
    store.save(directory, build.result())
    record = samples.RECORD.pack(*ROW)
    (directory / store.SAMPLES_FILE).write_bytes(record * whole + record[:torn])
    assert store.load(directory).samples.tolist() == [ROW] * whole


def test_what_was_stored_cannot_be_changed_by_reading_it(tmp_path: Path) -> None:
    store.save(tmp_path, build.result())
    (tmp_path / store.SAMPLES_FILE).write_bytes(samples.RECORD.pack(*ROW))
    with pytest.raises(ValueError, match="read-only"):
        store.load(tmp_path).samples["anon"] = 0


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    for kills in (1, 2):
        store.save(tmp_path, build.result(oom_kills=kills))
    assert store.load(tmp_path).result.oom_kills == 2
    assert [path.name for path in tmp_path.iterdir()] == [store.RUN_FILE]


def test_a_directory_without_a_run_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(DataError, match="is no run") as caught:
            store.load(directory)
        assert caught.value.exit_code is ExitCode.CANNOT_RUN


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema_version": 1, "name": "\xff"}', b'{"schema_version": 1}'],
)
def test_a_damaged_run_is_a_data_error(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / store.RUN_FILE).write_bytes(raw)
    with pytest.raises(DataError, match="is damaged"):
        store.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"outcome": "fine"}, {"oom_kills": "3"}, {"surprise": 1}, {"limits": {}}, {"sample_fields": [["t_ns", "<q9"]]}],
)
def test_a_run_with_a_wrong_value_is_a_data_error(tmp_path: Path, changes: dict[str, object]) -> None:
    store.save(tmp_path, build.result())
    damage(tmp_path, **changes)
    with pytest.raises(DataError, match="is damaged"):
        store.load(tmp_path)


def test_a_run_from_before_openapi_documents_were_checked_can_still_be_read(tmp_path: Path) -> None:
    store.save(tmp_path, build.result())
    document = json.loads((tmp_path / store.RUN_FILE).read_bytes())
    del document["openapi"], document["target"]["openapi"]
    (tmp_path / store.RUN_FILE).write_text(json.dumps(document))
    assert store.load(tmp_path).result == build.result()


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_run_of_another_schema_is_refused_by_its_version(tmp_path: Path, version: object) -> None:
    store.save(tmp_path, build.result())
    damage(tmp_path, schema_version=version)
    with pytest.raises(DataError, match="schema version"):
        store.load(tmp_path)


def test_a_run_of_a_later_schema_is_refused_by_its_version_even_if_it_is_not_understood(tmp_path: Path) -> None:
    (tmp_path / store.RUN_FILE).write_bytes(b'{"schema_version": 9, "what": ["is", "this"]}')
    with pytest.raises(DataError, match="schema version 9"):
        store.load(tmp_path)


def test_a_directory_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    made = store.make_directory(tmp_path / "a" / "b")
    assert made == (tmp_path / "a" / "b").resolve()
    assert store.make_directory(made) == made
    assert list(made.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/oomproof")):
        with pytest.raises(OutputError, match="cannot be written to") as caught:
            store.make_directory(path)
        assert "--out" in caught.value.hint


def test_a_full_disk_is_noticed_before_anything_is_measured(tmp_path: Path) -> None:
    with disk_with_room_for(100), pytest.raises(OutputError, match="cannot be written to"):
        store.make_directory(tmp_path / "runs")


def test_a_full_disk_keeps_no_probe(tmp_path: Path) -> None:
    with disk_with_room_for(100), pytest.raises(OutputError):
        store.make_directory(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    store.save(tmp_path, build.result(oom_kills=1))
    with disk_with_room_for(100), pytest.raises(OutputError, match="could not be written"):
        store.save(tmp_path, build.result(oom_kills=2))
    assert store.load(tmp_path).result.oom_kills == 1
    assert [path.name for path in tmp_path.iterdir()] == [store.RUN_FILE]


def test_what_cannot_be_replaced_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError):
        store.write_atomically(tmp_path / "taken", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").is_dir()


def test_writing_where_there_is_no_directory_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for parent in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(OutputError, match="could not be written"):
            store.write_atomically(parent / "run.json", b"{}")


def test_the_stored_text_is_plain_json_with_readable_outcomes(tmp_path: Path) -> None:
    store.save(tmp_path, build.result())
    document = json.loads((tmp_path / store.RUN_FILE).read_bytes())
    assert (document["schema_version"], document["outcome"]) == (1, "completed")
    assert msgspec.convert(document, RunResult) == build.result()
