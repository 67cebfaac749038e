"""Parts of `gate` and `self-check`: a stored baseline, ballast of known size, gates replayed from a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pytest

from commands.baseline import update
from commands.gate import gate
from commands.gate_baseline import doubts, load_baseline
from commands.job import Job, gate_job, make_job
from commands.options import DURATION_S, GATE_DURATION_S
from commands.self_check import record_pools, self_check
from profiling.errors import ConfigError, DataError
from profiling.experiments.replay import replay
from profiling.measuring import environment, store
from profiling.measuring.events import Silent
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.regressions import Baseline, GateVerdict
from profiling.units import MIB
from profiling.values import Environment
from tests.helpers import TARGETS, our_cgroups
from tests.profiling.test_gate import figures

_MANY: dict[str, click.Command] = {"gate": gate, "baseline update": update, "self-check": self_check}


def job(directory: Path, **options: Any) -> Job:
    path = directory / "oomproof.toml"
    path.write_text(
        f"[target]\nname = 'shop'\ncommand = ['python3', 'ballast.py']\ndirectory = '{TARGETS}'\nready = '/'\n"
        "memory = '128MiB'\n[target.env]\nBALLAST_MIB = '32'\n[load]\nusers = 1\nduration = '1s'\n"
    )
    given = {"checkpoint": None, "memory": None, "cpus": None, "port": None} | options
    return make_job(target=str(path), command=(), **given)


def baseline(**changes: Any) -> Baseline:
    here = Environment(
        tool_version="1", **environment.machine(), memory_total_bytes=1, sandbox_reason="asked for", swap="off"
    )
    fields = {
        "created_at": "2026-11-22T09:31:12+00:00",
        "target": "shop",
        "revision": "",
        "memory_limit_bytes": 128 * MIB,
        "users": 1,
        "duration_s": 1.0,
        "rate": None,
        "sandbox": "cgroup-v1",
        "environment": here,
        "runs": (figures(40),) * 7,
    }
    return Baseline(**fields | changes)


def test_a_baseline_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(msgspec.json.encode(baseline()))
    assert load_baseline(path, job(tmp_path)) == baseline()
    assert doubts(baseline()) == ""


def test_many_runs_have_a_shorter_load_where_none_is_said(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"checkpoint": None, "memory": None, "cpus": None, "port": None}
    assert gate_job(target="reference", **nothing).load.duration_s == GATE_DURATION_S < DURATION_S
    assert make_job(target="reference", command=(), **nothing).load.duration_s == DURATION_S
    assert gate_job(target="reference", duration=3.0, **nothing).load.duration_s == 3.0
    config = tmp_path / "oomproof.toml"
    config.write_text("[target]\ncommand = ['x']\nmemory = '64MiB'\n[load]\nduration = '7s'\n")
    assert gate_job(target=str(config), **nothing).load.duration_s == 7.0
    help_of = {
        name: next(option for option in command.params if option.name == "duration") for name, command in _MANY.items()
    }
    assert {name: f"{GATE_DURATION_S:g}s" in (option.help or "") for name, option in help_of.items()} == dict.fromkeys(
        _MANY, True
    )


@pytest.mark.parametrize("changes", [{"memory_limit_bytes": 64 * MIB}, {"users": 8}, {"rate": 5.0}, {"target": "x"}])
def test_a_baseline_under_another_limit_or_load_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(msgspec.json.encode(baseline(**changes)))
    with pytest.raises(ConfigError, match="the baseline was made of"):
        load_baseline(path, job(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"schema_version": 99}', b"\xff"])
def test_what_is_no_baseline_is_said_to_be_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "baseline.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError):
        load_baseline(path, job(tmp_path))


def test_a_baseline_of_another_machine_is_doubted() -> None:
    elsewhere = msgspec.structs.replace(baseline().environment, kernel="Plan 9 4", cpu_count=999)
    said = doubts(baseline(environment=elsewhere))
    assert "kernel Plan 9 4 then" in said
    assert "cpu count 999 then" in said


def test_ballast_weighs_what_was_planted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = our_cgroups()
    sandbox = CgroupSandbox(why="asked for")
    try:
        pools = record_pools(job(tmp_path), sandbox, tmp_path, Silent(), shares=(0.0, 0.25), runs=1)
    finally:
        sandbox.close()
    without, with_it = (pool[0] for pool in pools.runs)
    assert pools.problem == ""
    assert 8 * MIB < pools.sizes[1] < 16 * MIB
    for key in ("peak_bytes", "rest_bytes", "startup_peak_bytes"):
        assert getattr(with_it, key) - getattr(without, key) == pytest.approx(pools.sizes[1], abs=0.5 * MIB), key
    assert store.load(tmp_path / "1-25-percent").result.clean_end, "the ballast went with the service"
    assert our_cgroups() == before


def test_replayed_gates_say_what_the_pool_shows() -> None:
    rng = np.random.default_rng(5)
    base, head = ([figures(size * (1 + rng.normal(0, 0.001))) for _ in range(20)] for size in (100, 103))
    settings = {"tolerance": 0.01, "growth_tolerance_bytes": 1024.0, "max_turns": 12}
    same = [replay(base, base, rng, **settings) for _ in range(50)]  # type: ignore[arg-type]
    more = [replay(base, head, rng, **settings) for _ in range(50)]  # type: ignore[arg-type]
    assert {gate.verdict for gate in same} == {GateVerdict.PASS}
    assert {gate.verdict for gate in more} == {GateVerdict.REGRESSED}
    assert {gate.runs for gate in more} == {16}
