"""However a load generator ends: its log can be read, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.plan import (
    LoadEnd,
    LoadPlan,
)
from loadtests.requestlog import count_records
from tests.loadtests.bench import PATIENCE_S, ROOT, Bench, gone, outcomes, until
from tests.loadtests.servers import serving


def test_a_killed_generator_leaves_a_readable_log(bench: Bench) -> None:
    with serving() as server, bench.start(server.url, LoadPlan.constant(2, 60.0)) as load:
        until(lambda: count_records(bench.log))
        os.kill(load.pid, signal.SIGKILL)
        summary = load.wait(PATIENCE_S)
    assert (summary.ended, summary.exit_code) == (LoadEnd.FAILED, -signal.SIGKILL)
    assert summary.message
    assert summary.records == len(bench.records()) > 0
    assert outcomes(bench.records()).keys() == {"OK"}


def test_a_generator_that_hangs_is_killed_at_the_deadline(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    blocking = bench.directory / "blocking.py"
    blocking.write_text(
        "from gevent import monkey\nfrom locust import FastHttpUser, task\n"
        "class Blocking(FastHttpUser):\n    @task\n    def ask(self):\n"
        "        self.client.get('/')\n"
        "        while True: pass\n"
    )
    with serving() as server, bench.start(server.url, LoadPlan.constant(1, 0.1), locustfile=blocking) as load:
        until(lambda: server.received)
        monkeypatch.setattr(load, "_deadline", time.monotonic() + 0.3)
        summary = load.wait(PATIENCE_S)
        assert gone(load.pid)
    assert (summary.ended, summary.exit_code) == (LoadEnd.OVERDUE, -signal.SIGKILL)


def test_a_log_that_cannot_be_written_is_a_failure(bench: Bench) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full")
    bench.log = Path("/dev/full")
    with serving() as server, bench.start(server.url, LoadPlan.constant(1, 60.0)) as load:
        summary = load.wait(PATIENCE_S)
    assert summary.ended is LoadEnd.FAILED
    assert summary.message is not None
    assert "request log" in summary.message
    assert "No space left" in summary.message


@pytest.mark.parametrize("held", [True, False])
def test_it_quits_when_the_tool_is_killed(bench: Bench, held: bool) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from loadtests.driver import LoadProcess; from loadtests.plan import *\n"
        "url, log, work, held = sys.argv[1:]\n"
        "load = LoadProcess.start(url, LoadPlan.constant(2, 60.0), RequestTemplate(), Path(log), Path(work),"
        " hold=held == 'True')\n"
        "while not load.ready: time.sleep(0.01)\n"
        "print(load.pid, flush=True); time.sleep(60)\n"
    )
    with serving() as server:
        tool = subprocess.Popen(
            [sys.executable, "-c", program, server.url, str(bench.log), str(bench.work), str(held)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert tool.stdout is not None
            pid = int(tool.stdout.readline())
            if not held:
                until(lambda: count_records(bench.log))
            assert not gone(pid)
        finally:
            tool.kill()
            tool.communicate()
        until(lambda: gone(pid))
        assert bool(server.received) is not held
