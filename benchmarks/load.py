"""What load driven through the toolkit reaches against Locust alone: `python -m benchmarks.load`, about four minutes.

The same fast server, the same kind of users (FastHttpUser, a closed loop without pauses, POST with a JSON body), in turns
in one run: Locust by itself with a plain locustfile, Locust with ours alone (plan, checks, request log), and a whole run of the
toolkit (cgroup and sampler as well). The server counts, so that nobody counts for himself. With `--processes N` both have N.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
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
from loadtests.plan import LoadPlan, LoadStatus, RequestTemplate
from loadtests.requestlog import RECORD_SIZE, brought_here
from loadtests.workers import Workers
from profiling.measuring.events import Silent
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.readiness import free_port, is_ready
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits, Service, Target

WANTED = 0.95
USERS = 8

SERVER = """
import asyncio, json, sys, time

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s"
CHAT = b'{"response": "hello"}'
seen = [0, 0.0, 0.0]

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        self.data += data
        head, found, rest = self.data.partition(b"\\r\\n\\r\\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0]
        if len(rest) < int(length or 0):
            return
        self.data = b""
        if head.startswith(b"POST"):
            now = time.monotonic()
            seen[0], seen[1], seen[2] = seen[0] + 1, seen[1] or now, now
            body = CHAT
        else:
            body = json.dumps(seen).encode()
            if head.startswith(b"GET /count"):
                seen[:] = [0, 0.0, 0.0]
        self.transport.write(ANSWER % (len(body), body))

async def main():
    server = await asyncio.get_running_loop().create_server(Connection, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()

asyncio.run(main())
"""

PLAIN = """
import time
from locust import FastHttpUser, events, task

spent = []

@events.test_start.add_listener
def begin(**_):
    spent.append(time.process_time())

@events.test_stop.add_listener
def end(**_):
    open("cpu", "w").write(str(time.process_time() - spent[0]))

class Chat(FastHttpUser):
    @task
    def ask(self):
        self.client.post("/chat", json={"session_id": "one", "query": "Where is my parcel?"})
"""

REQUEST = RequestTemplate(queries=("Where is my parcel?",))


class Reached(NamedTuple):
    """Requests per second, and microseconds of the generator's CPU time for each."""

    rps: float
    cpu_us: float


class Counted(NamedTuple):
    """What the server saw: requests, and the seconds from the first to the last."""

    requests: int
    seconds: float

    def with_cpu(self, cpu_s: float) -> Reached:
        return Reached(self.requests / self.seconds if self.seconds else 0.0, cpu_s / max(self.requests, 1) * 1e6)


def counted(port: int) -> Counted:
    """Since it was last asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/count")
        count, first, last = json.loads(connection.getresponse().read())
    return Counted(count, last - first)


def cpu_s(work: Path) -> float:
    """CPU time of the generator, from the first to the last moment of the plan; of several the busiest one's."""
    status = msgspec.json.decode((work / "load-status.json").read_bytes(), type=LoadStatus)
    return (status.cpu_share or 0.0) * ((status.ended_ns or 0) - (status.started_ns or 0)) / 1e9


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
    with serving(folder) as port:
        command = [sys.executable, "-m", "locust", "-f", str(folder / "plain.py"), "--headless", "--only-summary"]
        command += ["--host", f"http://127.0.0.1:{port}", "-u", str(USERS), "-r", str(USERS), "-t", f"{seconds}s"]
        if processes > 1:
            command += ["--processes", str(processes), "--master-port", str(master := free_port())]
            command += ["--master-bind-port", str(master)]
        subprocess.run(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return counted(port).with_cpu(float((folder / "cpu").read_text()))


def plan(seconds: int, processes: int) -> LoadPlan:
    load = LoadPlan.constant(USERS, seconds)
    return load if processes == 1 else msgspec.structs.replace(load, workers=Workers(processes=processes))


def with_log(folder: Path, seconds: int, processes: int) -> Reached:
    """Our users and our log, without a sampler and a limit."""
    with serving(folder) as port, tempfile.TemporaryDirectory(dir=folder) as work:
        log = Path(work) / "requests.bin"
        url = f"http://127.0.0.1:{port}"
        with LoadProcess.start(url, plan(seconds, processes), REQUEST, log, Path(work) / "load") as load:
            load.wait()
        return counted(port).with_cpu(cpu_s(Path(work) / "load"))


def whole(folder: Path, seconds: int, processes: int) -> Reached:
    """A run as any measuring command makes it."""
    command = (sys.executable, str(folder / "server.py"), "{host}", "{port}")
    target = Target(
        name="fast", services=(Service(command=command, directory=str(folder), ready="/"),), request=REQUEST
    )
    port = free_port()
    found: list[Counted] = []

    class Counting(Silent):
        """Asks the server once the load is over and before it is stopped."""

        def notify(self, event: object, /) -> None:
            if getattr(event, "phase", "") == "settle" and not found:
                found.append(counted(port))

    with contextlib.closing(CgroupSandbox()) as sandbox, tempfile.TemporaryDirectory(dir=folder) as out:
        limits = Limits(memory_bytes=128 << 20)
        load = plan(seconds, processes)
        run = RunPlan(name="fast", target=target, limits=limits, load=load, port=port, cold=None, settle_s=0.2)
        measure(run, sandbox, Path(out), Counting())
        return found[0].with_cpu(cpu_s(Path(out) / "load"))


def record_us() -> float:
    """Microseconds that a master spends on the clock and the count of users in one record."""
    block = bytes(RECORD_SIZE) * 1000
    quickest = min(timeit.repeat(lambda: brought_here(block, ahead_ns=5, more_users=3, clock=1), number=20, repeat=10))
    return quickest / 20 / 1000 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ways: dict[str, Callable[[Path, int, int], Reached]] = {
        "Locust alone, a plain locustfile": alone,
        "our users and request log": with_log,
        "a whole run: limit, sampler, request log": whole,
    }
    found: dict[str, list[Reached]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="oomproof-load-") as name:
        folder = Path(name)
        (folder / "server.py").write_text(SERVER)
        (folder / "plain.py").write_text(PLAIN)
        for number in range(asked.rounds):
            order = list(ways) if number % 2 == 0 else list(reversed(ways))  # whoever comes first gets no advantage
            for way in order:
                found[way].append(ways[way](folder, asked.seconds, asked.processes))
    print(
        f"{os.cpu_count()} CPUs, {USERS} users, {asked.processes} process(es), {asked.rounds} rounds of {asked.seconds} s\n"
    )
    print(f"The master of several takes {record_us():.1f} µs to bring one record here.\n")
    print("| | requests/s, median (lowest to highest) | of Locust alone, median of the rounds | CPU per request |")
    print("| --- | --- | --- | --- |")
    base = found["Locust alone, a plain locustfile"]
    for way, reached in found.items():
        rates = [one.rps for one in reached]
        ratio = statistics.median(rate / other.rps for rate, other in zip(rates, base, strict=True))
        mark = "" if reached is base else f" {'✓' if ratio >= WANTED else '✗'} (wanted {WANTED:.0%})"
        cpu_us = statistics.median(one.cpu_us for one in reached)
        rate = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"| {way} | {rate} | {ratio:.1%}{mark} | {cpu_us:,.0f} µs |")


if __name__ == "__main__":
    main()
