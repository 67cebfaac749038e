"""Runs plans in the Locust subprocess against real servers, and looks at what came of it."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtests.driver import LoadProcess
from loadtests.plan import (
    LoadPlan,
    LoadSummary,
    RequestTemplate,
)
from loadtests.requestlog import RequestRecord, read_records

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0  # only ever reached by a failing test


def until(condition: Callable[[], Any]) -> Any:
    """Waits for something that is bound to happen."""
    limit = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.01)
    return result


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # an orphan's zombie may wait for a slow init


class Bench:
    """Runs plans and keeps their logs apart."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.log = directory / "requests.bin"
        self.work = directory / "work"

    def start(
        self,
        url: str,
        plan: LoadPlan,
        request: RequestTemplate | None = None,
        locustfile: Path | None = None,
        *,
        hold: bool = False,
    ) -> LoadProcess:
        return LoadProcess.start(
            url, plan, request or RequestTemplate(), self.log, self.work, locustfile=locustfile, hold=hold
        )

    def run(self, *args: Any, **kwargs: Any) -> tuple[LoadSummary, list[RequestRecord]]:
        with self.start(*args, **kwargs) as load:
            return load.wait(PATIENCE_S), self.records()

    def records(self) -> list[RequestRecord]:
        return list(read_records(self.log))

    @property
    def output(self) -> str:
        return (self.work / "load-output.log").read_text()


def outcomes(records: list[RequestRecord]) -> Counter[str]:
    return Counter(record.outcome.name for record in records)


def gone_group(bench: Bench) -> bool:
    """No process is left that works for this load."""
    job = str(bench.work / "load-job.json").encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if job in environment.read_bytes() and not gone(int(environment.parent.name)):
                return False
    return True
