from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from profiling.measuring.events import Event, ExperimentStarted, Note, PhaseStarted, RunFinished, RunStarted, Tick
from profiling.units import MIB
from profiling.values import Limits, Outcome
from reports.live import LiveView, PlainLines, draw, make_observer
from reports.progress import Progress

ROOT = Path(__file__).parent.parent.parent


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def tick(at_s: float, *, kills: int = 0, phase: str = "load", requests: int = 27) -> Tick:
    return Tick(
        run="per-request",
        phase=phase,
        elapsed_s=at_s + 3,
        phase_elapsed_s=at_s,
        unreclaimable_bytes=408 * MIB,
        charged_bytes=512 * MIB,
        limit_bytes=512 * MIB,
        oom_kills=kills,
        users=8,
        requests=requests,
        failures=requests,
        rps=0.0,
    )


STARTED = RunStarted(
    run="per-request",
    limits=Limits(memory_bytes=512 * MIB, cpus=0.5),
    sandbox="cgroup-v1",
    planned_users=8,
    planned_load_s=20,
)
FINISHED = RunFinished(
    run="per-request",
    outcome=Outcome.OOM_KILLED,
    oom_kills=5,
    peak_unreclaimable_bytes=512 * MIB,
    limit_bytes=512 * MIB,
    requests=151,
    failures=151,
    reason=None,
)
EVENTS: list[Event] = [
    ExperimentStarted(title="compare", runs=("per-request", "singleton")),
    PhaseStarted(run="", phase="prepare"),
    Note(text="cgroup, since no container engine answers"),
    STARTED,
    PhaseStarted(run="per-request", phase="start"),
    PhaseStarted(run="per-request", phase="load"),
    *[tick(n * 0.25, kills=n // 20) for n in range(80)],
    FINISHED,
]


def test_plain_lines_are_few() -> None:
    out = io.StringIO()
    with PlainLines(out) as observer:
        for event in EVENTS:
            observer.notify(event)
    assert out.getvalue().splitlines() == [
        "compare: per-request, singleton",
        "preparing",
        "cgroup, since no container engine answers",
        "per-request: limit 512 MiB and 0.5 CPUs (cgroup-v1), 8 users for 20 s",
        "per-request: starting",
        "per-request: under load",
        "per-request: under load 5 s, 408 of 512 MiB, 8 users, 27 requests, 0/s, 27 failed, 1 OOM kill",
        "per-request: under load 10 s, 408 of 512 MiB, 8 users, 27 requests, 0/s, 27 failed, 2 OOM kills",
        "per-request: under load 15 s, 408 of 512 MiB, 8 users, 27 requests, 0/s, 27 failed, 3 OOM kills",
        "per-request: OOM-killed, 5 OOM kills, peak 512 of 512 MiB, 0 of 151 answered",
    ]


def test_a_day_has_few_plain_lines_and_tells_its_time_in_hours() -> None:
    out = io.StringIO()
    observer = PlainLines(out)
    for second in range(86_400):
        observer.notify(tick(second))
    lines = out.getvalue().splitlines()
    assert len(lines) < 250
    assert "under load 5 s" in lines[0]
    assert "under load 23 h 5" in lines[-1], "one in ten minutes"


def test_the_live_line_of_a_day_tells_its_time_in_hours() -> None:
    progress = Progress()
    for event in (msgspec.structs.replace(STARTED, planned_load_s=86_400), tick(36_000)):
        progress.apply(event)
    assert shown(progress)[1].endswith("10 h of 24 h")


def test_plain_lines_survive_a_stream_of_few_characters() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainLines(stream).notify(Note(text="peak – 512\nMiB \x1b[2J"))
    assert raw.getvalue() == b"peak ? 512 MiB ?[2J\n"


def shown(progress: Progress, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(draw(progress, width, 12.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n").split("\n")


def test_the_live_lines_say_what_runs_and_what_remains() -> None:
    progress = Progress()
    for event in EVENTS[:-20]:
        progress.apply(event)
    lines = shown(progress)
    assert lines[0].startswith("compare  run 1 of 2  12 s, about ")
    assert "per-request  under load" in lines[1]
    assert lines[1].endswith("15 of 20 s")
    assert "408 of 512 MiB (80 %)" in lines[2]
    assert "charged 512 MiB" in lines[2]
    assert "8 users, 27 requests, 0/s, 27 failed" in lines[3]
    assert "3 OOM kills" in lines[4]
    assert lines[5].strip() == "then singleton"


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_live_line_wraps(width: int) -> None:
    progress = Progress()
    for end in range(len(EVENTS)):
        progress.apply(EVENTS[end])
        assert all(len(line) <= width for line in shown(progress, width))


def test_remaining_time_falls() -> None:
    progress = Progress()
    guesses = []
    for event in EVENTS[:-1]:
        progress.apply(event)
        if isinstance(event, Tick):
            guesses.append(progress.remaining_s or 0)
    assert guesses[-1] < guesses[0]
    assert all(guess >= 0 for guess in guesses)


def test_an_unannounced_run_is_counted() -> None:
    progress = Progress()
    progress.apply(STARTED)
    assert (progress.total, progress.waiting) == (1, ())


def test_which_view_suits_which_stream() -> None:
    assert isinstance(make_observer(Terminal(), {"TERM": "xterm"}), LiveView)
    assert isinstance(make_observer(Terminal(), {"CI": "true"}), PlainLines)
    assert isinstance(make_observer(Terminal(), {"TERM": "dumb"}), PlainLines)
    assert isinstance(make_observer(io.StringIO(), {}), PlainLines)


def test_a_kill_is_shown_at_once_and_in_red() -> None:
    out = Terminal()
    with make_observer(out, {"TERM": "xterm-256color"}) as observer:
        for event in (STARTED, PhaseStarted(run="per-request", phase="load"), tick(1)):
            observer.notify(event)
        before = out.getvalue()
        observer.notify(tick(1.1, kills=1))
        now = out.getvalue()[len(before) :]
    assert "1 OOM kill, counted by the kernel" in now
    assert "\x1b[1;31m" in now


def test_no_colour_if_asked() -> None:
    out = Terminal()
    with make_observer(out, {"TERM": "xterm-256color", "NO_COLOR": "1"}) as observer:
        for event in (STARTED, PhaseStarted(run="per-request", phase="load"), tick(1, kills=2)):
            observer.notify(event)
    assert "2 OOM kills" in out.getvalue()
    assert "\x1b[1;31m" not in out.getvalue()


@pytest.mark.parametrize("ending", ["raise RuntimeError('boom')", "os.kill(os.getpid(), 2); signal.pause()"])
def test_the_terminal_is_restored_whatever_ends_it(ending: str) -> None:
    script = textwrap.dedent(f"""
        import os, signal, sys
        from profiling.measuring.events import Note, PhaseStarted
        from reports.live import make_observer
        with make_observer(sys.stderr, {{"TERM": "xterm"}}) as observer:
            observer.notify(PhaseStarted(run="a", phase="load"))
            {ending}
    """)
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=slave, stdout=slave, stdin=slave)
    os.close(slave)
    output = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.2)
        try:
            chunk = os.read(master, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
        output += chunk
        if not chunk and process.poll() is not None:
            break
    os.close(master)
    assert process.wait(10) != 0
    assert b"\x1b[?25l" in output
    assert output.rindex(b"\x1b[?25h") > output.rindex(b"\x1b[?25l")
    assert b"Traceback" in output
