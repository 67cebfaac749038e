"""What the multi-stage image saves against one stage, as a table: `python -m benchmarks.images`, some minutes, as root.

Both images are built here (PYTHON_IMAGE, where set, is the base of both) and run under 512 MiB with swap off. They serve the same
code from the same packages, so memory should be the same: that is measured too, and not assumed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import docker

from profiling.measuring import page_cache
from profiling.measuring.readiness import LOOPBACK, free_port, is_ready
from profiling.measuring.sampler import CgroupReader
from profiling.measuring.sandboxes.wheels import serve_local_wheels
from profiling.units import MIB

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = {
    "oomproof/single-stage": "benchmarks/single-stage.Dockerfile",
    "oomproof/reference": "Dockerfile",
}
"""Tag to Dockerfile; the first is the measure of the second."""
LIMIT_MIB = 512
REPEATS = 3
REQUESTS = 100
CLIENTS = 4
SAMPLES_HZ = 50
STARTUP_S = 120.0
LARGEST_RATIO = 0.75


class Run(NamedTuple):
    """One container's memory in bytes. Loading needs more than answering, so the peaks of both are taken apart."""

    start_charged: int
    start_unreclaimable: int
    load_unreclaimable: int
    charged: int
    """The kernel's own high-water mark of the whole run, page cache included."""
    oom_kills: int
    page_cache: str


def build(client: docker.DockerClient, tag: str, dockerfile: str, wheels: str | None) -> int:
    """Build one variant; the image's size in bytes. The host's network, or the wheels on loopback cannot be reached."""
    arguments = {"PYTHON_IMAGE": os.environ.get("PYTHON_IMAGE"), "PIP_FIND_LINKS": wheels}
    print(f"building {tag} from {dockerfile}", file=sys.stderr)
    image, _ = client.images.build(
        path=str(ROOT),
        dockerfile=dockerfile,
        tag=tag,
        network_mode="host",
        rm=True,
        buildargs={name: value for name, value in arguments.items() if value},
    )
    size: int = image.attrs["Size"]
    return size


def cgroup_of(pid: int) -> tuple[int, Path]:
    """The version and the directory of the memory cgroup that a process is in."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return 1, Path("/sys/fs/cgroup/memory") / path.lstrip("/")
    return 2, Path("/sys/fs/cgroup") / path.lstrip("/")


class Watch:
    """The unreclaimable peak, sampled in a thread: the kernel keeps a high-water mark of charged memory only."""

    def __init__(self, reader: CgroupReader) -> None:
        self._peak = 0
        self._reader = reader
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def take(self) -> int:
        """The peak since the last call, in bytes."""
        peak, self._peak = self._peak, 0
        return peak

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the container ended, and its cgroup with it
            while not self._over.wait(1 / SAMPLES_HZ):
                reading = self._reader.understand(self._reader.look(), self._reader.kernel_memory())
                self._peak = max(self._peak, reading.unreclaimable)


@contextlib.contextmanager
def container_of(client: docker.DockerClient, tag: str, port: int) -> Iterator[Any]:
    """A container of the image, made and not yet started; gone afterwards, whatever happens."""
    container = client.containers.create(
        tag,
        labels={"oomproof": "benchmark"},
        network_mode="host",
        mem_limit=LIMIT_MIB * MIB,
        memswap_limit=LIMIT_MIB * MIB,
        environment={
            "HOST": LOOPBACK,
            "PORT": str(port),
            "MODEL_LIFECYCLE": "singleton",
            "MODEL_CHECKPOINT": "pickle",
        },
    )
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def layers_of(container: Any) -> list[str]:
    """The directories of an overlay's layers on this machine, [] where the engine keeps them otherwise."""
    data = container.attrs["GraphDriver"]["Data"] or {}
    return [path for path in data.get("LowerDir", "").split(":") if path]


def ask(port: int, queries: list[str]) -> None:
    """POST /chat for each query over one connection. Raises RuntimeError for anything but an answer."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        for query in queries:
            body = json.dumps({"session_id": "benchmark", "query": query})
            connection.request("POST", "/chat", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200 or not json.loads(answer).get("response"):
                raise RuntimeError(f"POST /chat: {response.status} {answer[:200]!r}")
    finally:
        connection.close()


def wait_until_ready(container: Any, port: int) -> None:
    """Raises RuntimeError, with the container's log, when it ended or takes too long."""
    deadline = time.monotonic() + STARTUP_S
    while not is_ready(LOOPBACK, port, "/ready"):
        container.reload()
        if container.status != "running" or time.monotonic() > deadline:
            raise RuntimeError(f"not ready ({container.status}):\n{container.logs(tail=20).decode(errors='replace')}")
        time.sleep(0.05)


def run(client: docker.DockerClient, tag: str) -> Run:
    """Start the image under the limit, from a cold page cache where that can be had, and load it."""
    port = free_port()
    texts = (ROOT / "loadtests" / "queries.txt").read_text(encoding="utf-8").split("\n")
    queries = [text for text in texts if text]
    with container_of(client, tag, port) as container:
        # The container that reads a page of a file first is charged for it: both have to be the first.
        state = page_cache.drop(layers_of(container))
        container.start()
        container.reload()
        version, directory = cgroup_of(container.attrs["State"]["Pid"])
        high_water = directory / ("memory.max_usage_in_bytes" if version == 1 else "memory.peak")
        reader = CgroupReader(version, str(directory))
        with Watch(reader) as watch:
            wait_until_ready(container, port)
            started = int(high_water.read_text()), watch.take()
            share = [queries[number % len(queries)] for number in range(REQUESTS // CLIENTS)]
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(lambda _: ask(port, share), range(CLIENTS)))
            loaded = watch.take(), int(high_water.read_text())
        return Run(*started, *loaded, reader.oom_kills(), str(state.value))


def table(sizes: dict[str, int], runs: dict[str, list[Run]]) -> str:
    """Markdown: a column for each variant, then their ratio. Memory is the median of the runs."""

    def row(what: str, values: list[float], wanted: str = "") -> str:
        cells = " | ".join(f"{value / MIB:,.1f} MiB" for value in values)
        return f"| {what} | {cells} | {values[1] / values[0]:.1%} | {wanted} |"

    def median(field: str) -> list[float]:
        return [statistics.median(getattr(run, field) for run in runs[tag]) for tag in VARIANTS]

    return "\n".join(
        [
            "| | single stage | multi-stage | ratio | wanted |",
            "| --- | --- | --- | --- | --- |",
            row("image size", [sizes[tag] for tag in VARIANTS], f"at most {LARGEST_RATIO:.0%}"),
            row("peak unreclaimable until ready", median("start_unreclaimable")),
            row(f"peak unreclaimable during {REQUESTS} requests", median("load_unreclaimable")),
            row("peak charged until ready, page cache included", median("start_charged")),
            row("peak charged in all, page cache included", median("charged")),
        ]
    )


def main() -> int:
    client = docker.from_env(timeout=1800)
    with serve_local_wheels() as wheels:
        sizes = {tag: build(client, tag, dockerfile, wheels) for tag, dockerfile in VARIANTS.items()}
    runs: dict[str, list[Run]] = {tag: [] for tag in VARIANTS}
    for number in range(REPEATS):
        for tag in VARIANTS:
            runs[tag].append(run(client, tag))
            print(f"run {number + 1} of {tag}: {runs[tag][-1]}", file=sys.stderr)
    every = [one for those in runs.values() for one in those]
    states = ", ".join(sorted({one.page_cache for one in every}))
    base = os.environ.get("PYTHON_IMAGE", "the Dockerfile's own base")
    print(
        f"On {base}; each run under {LIMIT_MIB} MiB with swap off, singleton lifecycle, pickled checkpoint, page cache {states};"
        f" memory is the median of {REPEATS} runs.\n"
    )
    print(table(sizes, runs))
    kills = sum(one.oom_kills for one in every)
    if kills:
        print(f"\n{kills} OOM kills", file=sys.stderr)
    single, multi = sizes.values()
    return 0 if multi <= LARGEST_RATIO * single and not kills else 1


if __name__ == "__main__":
    sys.exit(main())
