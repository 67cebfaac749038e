"""What load driven through the toolkit reaches against Locust alone: `python -m benchmarks.load`, about six minutes.

The same fast server, the same kind of users (FastHttpUser, a closed loop without pauses, POST with a JSON body), in turns
in one run: Locust by itself with a plain locustfile, the same locustfile with our request log, our own users (plan, checks,
request log), and whole runs of the toolkit with either (cgroup, sampler and live view as well). With `--processes N` all have N.

All are looked at from outside in the same way, for `--seconds` in the middle of the load: requests as the server counts them, and
the CPU time of each process as the kernel accounts for it. The requests per second hang on what else the machine does; CPU time
per request does so much less.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtests.driver import LoadProcess
from loadtests.plan import LoadPlan, RequestTemplate
from loadtests.requestlog import RECORD_SIZE, brought_here
from loadtests.workers import Workers
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.readiness import free_port, is_ready
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits, Service, Target
from reports.live import LiveView

WANTED = 0.95
USERS = 8

SERVER = """
import asyncio, sys

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s"
CHAT = b'{"response": "hello"}'
seen = 0

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        global seen
        self.data += data
        head, found, rest = self.data.partition(b"\\r\\n\\r\\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0]
        if len(rest) < int(length or 0):
            return
        self.data = b""
        if head.startswith(b"POST"):
            seen += 1
            body = CHAT
        else:
            body = b"%d" % seen
        self.transport.write(ANSWER % (len(body), body))

async def main():
    server = await asyncio.get_running_loop().create_server(Connection, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()

asyncio.run(main())
"""

PLAIN = """
from locust import FastHttpUser, task

class Chat(FastHttpUser):
    @task
    def ask(self):
        self.client.post("/chat", json={"session_id": "one", "query": "Where is my parcel?"})
"""

REQUEST = RequestTemplate(queries=("Where is my parcel?",))


WARM_UP_S, RESERVE_S = 0.5, 2.5
"""Of the load before and after the time that counts; the latter so long, since on a busy machine we may look late."""
PATIENCE_S = 60.0
TRIES = 5
TICKS = os.sysconf("SC_CLK_TCK")


class Reached(NamedTuple):
    """Requests per second, and microseconds of CPU time for each of them: of Locust, of the server, of all else of ours."""

    rps: float
    locust_us: float
    server_us: float
    other_us: float


class TooLateError(Exception):
    """The load was over before we looked for the last time."""


class Look(NamedTuple):
    """How it stands: ns of CLOCK_MONOTONIC, requests so far, CPU seconds so far of (Locust, server, all else)."""

    at_ns: int
    requests: int
    cpu_s: tuple[float, float, float]


def answered(port: int) -> int:
    """Requests that the server has answered so far; 0 while it does not listen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection), contextlib.suppress(ConnectionError):
        connection.request("GET", "/seen")
        return int(connection.getresponse().read())
    return 0


def look(port: int) -> Look:
    """`else` is this process as well: the toolkit's own work is done in it."""
    spent = [0.0, 0.0, 0.0]
    sending = False
    for pid in (os.getpid(), *tree.descendants(os.getpid(), tree.parents())):
        with contextlib.suppress(OSError):  # gone meanwhile
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            kind = 0 if b"\0locust\0" in command else 1 if b"server.py" in command else 2
            spent[kind] += (int(fields[11]) + int(fields[12])) / TICKS  # utime and stime, proc_pid_stat(5)
            sending |= kind == 0 and fields[0] != "Z"
    if not sending:
        raise TooLateError
    return Look(time.monotonic_ns(), answered(port), (spent[0], spent[1], spent[2]))


def watched(port: int, seconds: int) -> Reached:
    """What is reached, for so many seconds, by a load that somebody is about to send. Raises TooLateError."""
    limit = time.monotonic() + PATIENCE_S
    while not answered(port):
        if time.monotonic() > limit:
            raise TimeoutError("nothing was sent")
        time.sleep(0.05)
    ends = time.monotonic() + WARM_UP_S + seconds + RESERVE_S
    time.sleep(WARM_UP_S)
    first = look(port)
    time.sleep(seconds)
    last = look(port)
    if time.monotonic() > ends - 1:  # the load began a little before we saw it
        raise TooLateError
    requests = last.requests - first.requests
    cpu_us = [(after - before) / requests * 1e6 for before, after in zip(first.cpu_s, last.cpu_s, strict=True)]
    return Reached(requests / (last.at_ns - first.at_ns) * 1e9, *cpu_us)


@contextlib.contextmanager
def watching(port: int, seconds: int) -> Iterator[concurrent.futures.Future[Reached]]:
    """Beside what is done within; its answer is there afterwards."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool.submit(watched, port, seconds)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(folder / "server.py"), "127.0.0.1", str(port)])
    try:
        while not is_ready("127.0.0.1", port, "/"):
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def alone(folder: Path, seconds: int, processes: int) -> Reached:
    """Locust as somebody would start it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    with serving(folder) as port, watching(port, seconds) as reached:
        command = [sys.executable, "-m", "locust", "-f", str(folder / "plain.py"), "--headless", "--only-summary"]
        command += [
            "--host",
            f"http://127.0.0.1:{port}",
            "-u",
            str(USERS),
            "-r",
            str(USERS),
            "-t",
            f"{math.ceil(WARM_UP_S + seconds + RESERVE_S)}s",
        ]
        if processes > 1:
            command += ["--processes", str(processes), "--master-port", str(master := free_port())]
            command += ["--master-bind-port", str(master)]
        subprocess.run(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return reached.result()


def plan(seconds: int, processes: int) -> LoadPlan:
    load = LoadPlan.constant(USERS, math.ceil(WARM_UP_S + seconds + RESERVE_S))
    return load if processes == 1 else msgspec.structs.replace(load, workers=Workers(processes=processes))


def with_log(folder: Path, seconds: int, processes: int, locustfile: Path | None = None) -> Reached:
    """The request log, without a sampler and a limit; our users, or those of `locustfile`."""
    with (
        serving(folder) as port,
        tempfile.TemporaryDirectory(dir=folder) as work,
        watching(port, seconds) as reached,
        LoadProcess.start(
            f"http://127.0.0.1:{port}",
            plan(seconds, processes),
            REQUEST,
            Path(work) / "requests.bin",
            Path(work) / "load",
            locustfile=locustfile,
        ) as load,
    ):
        load.wait()
    return reached.result()


def whole(folder: Path, seconds: int, processes: int, locustfile: Path | None = None) -> Reached:
    """A run as any measuring command makes it, on a terminal."""
    command = (sys.executable, str(folder / "server.py"), "{host}", "{port}")
    service = Service(command=command, directory=str(folder), ready="/")
    target = Target(
        name="fast", services=(service,), request=REQUEST, locustfile=str(locustfile) if locustfile else None
    )
    port = free_port()
    limits = Limits(memory_bytes=128 << 20)
    load = plan(seconds, processes)
    run = RunPlan(name="fast", target=target, limits=limits, load=load, port=port, cold=None, settle_s=0.2)
    with (
        contextlib.closing(CgroupSandbox()) as sandbox,
        tempfile.TemporaryDirectory(dir=folder) as out,
        Path(os.devnull).open("w", encoding="utf-8") as terminal,
        watching(port, seconds) as reached,
        LiveView(terminal, colour=True) as view,
    ):
        measure(run, sandbox, Path(out), view)
    return reached.result()


def record_us() -> float:
    """Microseconds that a master spends on the clock and the count of users in one record."""
    block = bytes(RECORD_SIZE) * 1000
    quickest = min(timeit.repeat(lambda: brought_here(block, ahead_ns=5, more_users=3, clock=1), number=20, repeat=10))
    return quickest / 20 / 1000 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each load that count")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = "Locust alone, a plain locustfile"
    found: dict[str, list[Reached]] = {}
    with tempfile.TemporaryDirectory(prefix="oomproof-load-") as name:
        folder = Path(name)
        (folder / "server.py").write_text(SERVER)
        plain = folder / "plain.py"
        plain.write_text(PLAIN)
        ways: dict[str, Callable[[], Reached]] = {
            base: lambda: alone(folder, asked.seconds, asked.processes),
            "that locustfile with our request log": lambda: with_log(folder, asked.seconds, asked.processes, plain),
            "our users and request log": lambda: with_log(folder, asked.seconds, asked.processes),
            "a whole run of that locustfile": lambda: whole(folder, asked.seconds, asked.processes, plain),
            "a whole run of our users": lambda: whole(folder, asked.seconds, asked.processes),
        }
        for number in range(asked.rounds):
            order = list(ways) if number % 2 == 0 else list(reversed(ways))  # whoever comes first gets no advantage
            for way in order:
                found.setdefault(way, []).append(in_time(ways[way]))
    print(
        f"{os.cpu_count()} CPUs, {USERS} users, {asked.processes} process(es), {asked.rounds} rounds of {asked.seconds} s\n"
    )
    print(f"The master of several takes {record_us():.1f} µs to bring one record here.\n")
    print(
        "| | requests/s, median (lowest to highest) | of Locust alone, median of the rounds (lowest to highest)"
        " | Locust's CPU per request, median | against Locust alone | server, all else |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for way in ways:
        print(row(way, found[way], found[base]))


def in_time(way: Callable[[], Reached]) -> Reached:
    """What it reached, made again where the machine was so busy that we looked too late."""
    for _ in range(TRIES):
        with contextlib.suppress(TooLateError):
            return way()
    raise SystemExit("this machine is too busy: each load was over before it could be looked at")


def row(way: str, found: list[Reached], base: list[Reached]) -> str:
    """One way's line of the table; `base`: what was reached beside it in each round."""
    rates = [one.rps for one in found]
    ratios = [one.rps / other.rps for one, other in zip(found, base, strict=True)]
    ratio = statistics.median(ratios)
    mark = "" if found is base else f" {'✓' if ratio >= WANTED else '✗'}"
    costs = statistics.median(one.locust_us / other.locust_us for one, other in zip(found, base, strict=True))
    locust_us, server_us, other_us = (statistics.median(one[kind] for one in found) for kind in (1, 2, 3))
    return (
        f"| {way} | {statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        f" | {ratio:.1%} ({min(ratios):.0%} to {max(ratios):.0%}){mark}"
        f" | {locust_us:,.0f} µs | {costs:.0%} | {server_us:,.0f} µs, {other_us:,.0f} µs |"
    )


if __name__ == "__main__":
    main()
