"""What is measured: frozen values, units in the names. What comes of it is in `judgements.py` and `profiles.py`.

Bytes are ints, fractions are 0..1, times in `_ns` are CLOCK_MONOTONIC, `None` means unmeasured.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from loadtests.plan import LoadPlan, RequestTemplate
from loadtests.workers import WorkerSummary

SCHEMA_VERSION = 1


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all values: immutable, compared by content, unknown keys refused."""


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    OOM_KILLED = "oom-killed"  # the kernel counted a kill, even if the service recovered
    CRASHED = "crashed"  # the service ended by itself
    NEVER_READY = "never-ready"  # alive, but no successful `ready` within the start-up timeout
    TIMED_OUT = "timed-out"  # the load did not end within its deadline
    STOPPED_EARLY = "stopped-early"
    INTERRUPTED = "interrupted"


class PageCache(StrEnum):
    COLD = "cold"
    WARM = "warm"
    UNKNOWN = "unknown"


class Limits(Value, frozen=True, kw_only=True):
    """What the service may use."""

    memory_bytes: int
    cpus: float | None = None
    pids: int | None = None
    oom_group: bool = False
    """A kill takes the whole service, as on Kubernetes, and not one process of it (v2: memory.oom.group)."""


class Build(Value, frozen=True, kw_only=True):
    """How a container image is made: what `docker build` is told."""

    context: str
    """Absolute path of the directory that the build may read."""
    dockerfile: str
    """Absolute path, inside the context or not."""
    args: dict[str, str] = {}


class Image(Value, frozen=True, kw_only=True):
    """A container image that a service can run in."""

    name: str
    build: Build | None = None
    """None: it is there, or can be pulled."""
    command: tuple[str, ...] = ()
    """The whole command line, in place of the image's ENTRYPOINT and CMD; empty: the image's own."""


class Service(Value, frozen=True, kw_only=True):
    """One process tree under one limit. `{host}` and `{port}` in the command are filled in at the start, and
    `{NAME.url}`, `{NAME.host}` and `{NAME.port}` of the system's service NAME."""

    command: tuple[str, ...] = ()
    """For a process of this machine; empty: it runs in a container only."""
    directory: str
    """Absolute path of the working directory, for a process of this machine."""
    image: Image | None = None
    """For a container; None: it runs as a process of this machine only."""
    name: str = "service"
    env: dict[str, str] = {}
    ready: str = "/health"
    """Path whose first 2xx means ready."""
    startup_timeout_s: float = 60.0
    limits: Limits | None = None
    """Its own, in a system of several; None: the run's."""


class ApiDocument(Value, frozen=True, kw_only=True):
    """Where a service's OpenAPI document is, and what may be sent in its name."""

    place: str = "/openapi.json"
    """A path on the service, or the absolute path of a local file."""
    local: bool = False
    """It is a local file."""
    named: bool = False
    """Somebody said that it is there: then its absence is a failure, and else nothing to speak of."""
    methods: tuple[str, ...] = ("GET", "HEAD")
    """Operations of these methods are asked, and the operation that the load asks: any other may change something."""


class Target(Value, frozen=True, kw_only=True):
    """What is measured: the services of one system, and the request that the load sends."""

    name: str
    services: tuple[Service, ...]
    """The load goes to the first."""
    request: RequestTemplate
    openapi: ApiDocument | None = ApiDocument()
    """None: nobody asks for one."""
    locustfile: str | None = None
    prepare: tuple[str, ...] = ()
    """A command that is run once before anything is measured; quick when there is nothing to do."""
    setup: tuple[str, ...] = ()
    """Commands for a shell that install what it needs; run once per revision, in the first service's directory."""
    quality: tuple[str, ...] = ()
    """A command that asks a service at {url} and prints JSON with the `share` of its answers that are as they should be; in the
    first service's directory. Empty: there is none."""
    reads: tuple[str, ...] = ()
    """Files and directories that the service will read besides its interpreter's: dropped from the page cache."""

    def __post_init__(self) -> None:
        if not self.services:
            raise ValueError("a target has a service")
        names = [service.name for service in self.services]
        if len(set(names)) != len(names):
            raise ValueError("the services of a system have different names")
        if self.is_system and any(service.limits is None for service in self.services):
            raise ValueError("each service of a system has limits of its own")

    @property
    def service(self) -> Service:
        """The one that the load goes to."""
        return self.services[0]

    @property
    def is_system(self) -> bool:
        """Several services, each with limits of its own."""
        return len(self.services) > 1

    def alone(self, name: str) -> Target:
        """The target with one of its services; where the others are stays unsaid in its command and environment."""
        return msgspec.structs.replace(self, services=tuple(s for s in self.services if s.name == name))

    def with_env(self, env: dict[str, str]) -> Target:
        """The same target with `env` laid over its services' environment."""
        changed = tuple(msgspec.structs.replace(s, env={**s.env, **env}) for s in self.services)
        return msgspec.structs.replace(self, services=changed)


class Variant(Value, frozen=True, kw_only=True):
    """One side of a comparison: a name and what it changes in the environment."""

    name: str
    env: dict[str, str] = {}


class Budget(Value, frozen=True, kw_only=True):
    """What a run must keep. The defaults are those of a service without a `[budget]` table."""

    max_peak_bytes: int | None = None
    min_headroom: float | None = None
    """Fraction of the limit; below it fails. Without it, below 10 % warns."""
    max_p95_ms: float | None = None
    max_failures: float = 0.0
    max_growth_bytes_per_request: float = 1024.0
    tolerance: float = 0.01
    """By what share of base a gate lets memory change."""


class Phase(Value, frozen=True, kw_only=True):
    """A stretch of a run: `workers`, `drop-caches`, `start`, `load`, `watch`, `quality`, `settle`, `openapi`, `probe`, `stop`."""

    name: str
    start_ns: int
    end_ns: int


class Environment(Value, frozen=True, kw_only=True):
    """Where a run was made, for whoever makes it again."""

    tool_version: str
    python: str
    kernel: str
    machine: str
    cpu_count: int
    memory_total_bytes: int
    sandbox_reason: str
    """Why this sandbox was chosen."""
    swap: str
    """What was in force: `off (limit)`, `off (machine has none)`, ..."""
    packages: dict[str, str] = {}
    engine: str | None = None
    """The container engine with its version; None without one."""
    image: str | None = None
    """The container image's name and id; None without one."""


class Probe(Value, frozen=True, kw_only=True):
    """One request that a service should refuse, and what it did."""

    name: str
    """What is wrong with the request: `not JSON`, `no body`, `without "query"`, ..."""
    status: int | None
    """HTTP status; None: no answer."""
    elapsed_ms: float
    problem: str = ""
    """Why there was no answer."""
    ready_after: bool = True
    """Whether it answered its `ready` path afterwards."""


class ServiceResult(Value, frozen=True, kw_only=True):
    """What is one service's own in a run of several. The names mean what they mean in RunResult."""

    name: str
    limits: Limits
    oom_kills: int
    kills_certain: bool
    engine_oom_flag: bool | None
    exit_status: int | None
    ready_ns: int | None
    listening_ns: int | None
    kernel_peak_charged_bytes: int | None
    clean_end: bool | None
    cgroup: str = ""
    """What tells its kills in `KernelLog` from the other services'."""


class ApiProblem(Value, frozen=True, kw_only=True):
    """One way in which one operation does not keep its OpenAPI document."""

    operation: str
    """`GET /items/{item_id}`; empty: the document as a whole."""
    kind: str
    """`server-error`, `schema`, `status`, `content-type`, `no-answer`, or `document`: that part of it cannot be used."""
    count: int
    """Answers with this fault; 0 where it is the document's."""
    status: int | None
    """HTTP status of the example; None: no answer."""
    example: str
    """What was wrong with the first one, in a line, without anything that looks like a secret."""
    sent: str = ""
    """The request that was answered so, likewise."""


class ApiConformance(Value, frozen=True, kw_only=True):
    """Whether the service keeps its OpenAPI document, by valid requests that were sent after the load."""

    place: str
    """The path on the service or the file's name."""
    state: str
    """`checked`; `absent`: there is none; `unusable`: it is none, or cannot be read; `not-installed`: schemathesis is
    missing; `broken-off`: the checker itself failed."""
    reason: str = ""
    """Why it is not `checked`."""
    operations: int = 0
    """How many the document has."""
    chosen: int = 0
    """How many of them may be asked."""
    asked: int = 0
    """How many were asked within the time there is."""
    requests: int = 0
    problems: tuple[ApiProblem, ...] = ()
    ready_after: bool = True
    """Whether it answered its `ready` path afterwards."""


class KernelKill(Value, frozen=True, kw_only=True):
    """One line `Killed process ...` of the kernel's log. Bytes."""

    cgroup: str
    """What the run calls the killed process's cgroup: the `cgroup` of `Running`."""
    pid: int
    """As the machine's first pid namespace numbers it."""
    name: str
    """The kernel's, of at most 15 characters."""
    log_s: float
    """The line's own time stamp, in seconds of the log's clock; it started with the machine, but is not CLOCK_MONOTONIC."""
    anon_rss_bytes: int | None = None
    file_rss_bytes: int | None = None
    shmem_rss_bytes: int | None = None
    line: str = ""
    """As the kernel wrote it, without its stamp."""


class KernelLog(Value, frozen=True, kw_only=True):
    """What the kernel's log says of a run's OOM kills."""

    source: str | None
    """`/dev/kmsg` or the command that printed it; None: it could not be read."""
    problem: str = ""
    """Why it could not be read."""
    kills: tuple[KernelKill, ...] = ()
    """In the log's order; only of the run's own cgroups."""
    own_pids: bool = False
    """Its pids are those that the run's processes have for themselves: no pid namespace lies between."""


class Watched(Value, frozen=True, kw_only=True):
    """What ran already when it was looked at: nothing of it was started, limited or ended by us."""

    what: str
    """In words: `container web (docker)`, `cgroup /system.slice/web.service`, `process 4711`."""
    kind: str
    """`container`, `cgroup` or `process`: what was named."""
    limit_bytes: int | None
    """The smallest limit in force on it, or the one that it was to be held against; None: there is none."""
    assumed: bool = False
    """The limit was named by whoever watched, and no kernel keeps it."""
    kills_before: int | None = None
    """What the kernel had counted when the watch began; None: nothing counts kills there."""
    url: str | None = None
    """Where load was sent to."""


class RunResult(Value, frozen=True, kw_only=True):
    """One run as measured; what is in bulk (samples, requests) lies beside it on disk."""

    schema_version: int = SCHEMA_VERSION
    name: str
    variant: str
    """What is compared; runs that repeat one share it."""
    target: Target
    limits: Limits | None
    """None: there was none, which is so of what was only watched."""
    load: LoadPlan | None
    """None: nothing was sent."""
    sandbox: str
    """`cgroup-v1`, `cgroup-v2`, `docker` or `podman`; `processes`: read from /proc, with nothing that limits them together."""
    watched: Watched | None = None
    """What it was, where it ran already; None: the service was started for the run."""
    argv: tuple[str, ...]
    """The command that made the run."""
    services: tuple[ServiceResult, ...] = ()
    """Each service's own, where there are several: counts are then summed up here, and `limits` is the sum of theirs."""
    started_at: str
    """Wall clock, ISO 8601 with offset."""
    outcome: Outcome
    stop_reason: str | None = None
    oom_kills: int | None = 0
    """None: nothing counted them."""
    kills_certain: bool = True
    """False: the counter went with the container's cgroup, and what it counted in its last milliseconds may be missing."""
    engine_oom_flag: bool | None = None
    """What the container engine says of an OOM kill: a hint, at times wrong. None: no engine, or it did not say."""
    exit_status: int | None = None
    """The main process's exit status before it was asked to stop; negative: a signal."""
    start_ns: int = 0
    ready_ns: int | None = None
    load_start_ns: int | None = None
    load_end_ns: int | None = None
    load_problem: str | None = None
    """Why the load generator is not to be trusted in this run, if so."""
    load_workers: tuple[WorkerSummary, ...] = ()
    """Who sent the load, where it was shared out."""
    end_ns: int = 0
    phases: tuple[Phase, ...] = ()
    kernel_peak_charged_bytes: int | None = None
    """memory.peak (v2), memory.max_usage_in_bytes (v1): exact."""
    clean_end: bool | None = None
    """Gone within 10 s of SIGTERM."""
    listening_ns: int | None = None
    """When its port first took a connection, before or with the first successful `ready`."""
    probes: tuple[Probe, ...] = ()
    """Bad requests, sent after the load where they were asked for."""
    openapi: ApiConformance | None = None
    """None: nobody asked, or it could not be asked any more."""
    quality: float | None = None
    """The share of its answers that were as they should be, asked after the load; None: nobody asked, or it could not say."""
    page_cache: PageCache = PageCache.UNKNOWN
    sampler_hz: float = 100.0
    sampler_cpu_s: float | None = None
    environment: Environment | None = None
    sample_fields: tuple[tuple[str, str], ...] = ()
    request_fields: tuple[tuple[str, str], ...] = ()
    capture: str | None = None
    """File name of the memray capture in the run directory, in a profile pass."""
    capture_cost_bytes: int | None = None
    """By how much the limit was raised for memray's own memory."""
    epoch_offset_ns: int | None = None
    """Added to a time of CLOCK_MONOTONIC, it gives ns since the epoch."""
    kernel_log: KernelLog | None = None
    """None: no process was killed, so that nobody looked."""
