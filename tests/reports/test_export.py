from __future__ import annotations

import csv
import io

from reports.export import load_csv, series_csv
from tests.reports.factory import never_ready, per_request


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_memory_curves_have_units_and_one_row_per_sample() -> None:
    run = per_request()
    table = rows(series_csv(run))
    assert len(table) == run.memory.t_s.size
    assert list(table[0]) == [
        "t_s", "charged_bytes", "unreclaimable_bytes", "working_set_bytes", "rss_bytes", "pss_bytes", "anon_bytes",
        "file_bytes", "shmem_bytes", "kernel_bytes", "processes", "oom_kills",
    ]  # fmt: skip
    assert int(table[100]["unreclaimable_bytes"]) == round(float(run.memory.unreclaimable[100]))
    assert float(table[100]["t_s"]) == 1.0
    assert table[-1]["oom_kills"] == "6"


def test_unmeasured_is_empty() -> None:
    table = rows(series_csv(per_request()))
    assert table[0]["rss_bytes"] != ""
    assert table[1]["rss_bytes"] == ""
    assert rows(load_csv(per_request()))[0]["p95_ms"] == ""


def test_load_has_one_row_per_second() -> None:
    table = rows(load_csv(per_request()))
    assert len(table) == 20
    assert list(table[0]) == ["t_s", "users", "answers_per_s", "failures_per_s", "p95_ms"]


def test_nothing_measured_is_a_header() -> None:
    assert series_csv(never_ready()).count("\n") == 1
    assert load_csv(never_ready()).count("\n") == 1
