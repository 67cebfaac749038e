"""What several tests need: values for a run, and a look at what a run left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema

from commands import schemas
from loadtests.plan import LoadPlan, RequestTemplate
from profiling.measuring.events import Event
from profiling.measuring.measure import RunPlan
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.placement import find_placement
from profiling.values import Limits, Service, Target

ROOT = Path(__file__).parents[1]
TARGETS = ROOT / "tests" / "targets"
MIB = 2**20


def target(script: str, *, startup_timeout_s: float = 20.0, **env: str) -> Target:
    """A service of tests/targets."""
    return Target(
        name=script,
        services=(
            Service(
                command=(sys.executable, f"{script}.py"),
                directory=str(TARGETS),
                env=env,
                ready="/",
                startup_timeout_s=startup_timeout_s,
            ),
        ),
        request=RequestTemplate(expect_json_schema={"type": "object", "required": ["response"]}),
    )


def plan(service: Target, *, memory_mib: int = 128, users: int = 2, duration_s: float = 2.0, **more: object) -> RunPlan:
    load = LoadPlan.constant(users, duration_s, request_timeout_s=5.0, stop_timeout_s=2.0)
    limits = Limits(memory_bytes=memory_mib * MIB)
    settings = {"cold": False, **more}
    return RunPlan(name=service.name, target=service, limits=limits, load=load, **settings)  # type: ignore[arg-type]


def our_cgroups() -> list[Path]:
    """Cgroups that bear our name and belong to this process or to a dead one: other living tools may work beside us."""
    parents = {Path(path) for path in find_placement().parents.values()}
    found = [entry for parent in parents for entry in parent.iterdir() if entry.name.startswith("oomproof-")]
    mine = tree.owned_name("x").rpartition("-")[0]
    return [entry for entry in found if entry.name.startswith(mine) or tree.is_orphan(entry.name)]


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Until it holds; fails if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def run_cli(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """The tool as a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **env},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def assert_of_schema(document: object, name: str) -> None:
    """That what was printed with --json is as `report --schema NAME` says."""
    found = sorted(jsonschema.Draft202012Validator(schemas.schema(name)).iter_errors(document), key=str)
    assert not found, [f"{error.json_path}: {error.message}" for error in found]


class Recorder:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event, /) -> None:
        self.events.append(event)
