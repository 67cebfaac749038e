"""Reports out of thin air: deterministic curves of the shapes that real runs have."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from msgspec.structs import replace

from loadtests.plan import LoadPlan, RequestTemplate
from profiling.autopsies import Autopsy, Kill, KilledProcess, MemoryAtKill, RequestsInFlight
from profiling.judgements import Check, Claim, Finding, Summary, Verdict
from profiling.judging.cause import sentence
from profiling.judging.checklist import judge_checks
from profiling.judging.conformance import openapi_check
from profiling.judging.report import AnalysedRun, Array, LoadSeries, MemorySeries, Report
from profiling.profiles import Frame, HeldMemory, Profile
from profiling.units import MIB
from profiling.values import (
    ApiConformance,
    ApiProblem,
    Environment,
    Limits,
    Outcome,
    PageCache,
    RunResult,
    Service,
    Target,
)

ROOT = "/srv/shop"
OUT = "/srv/shop/runs/2026-11-22T09-30-00-compare"
HZ = 100


def memory_series(
    t_s: Array, unreclaimable: Array, charged: Array, rss: Array, kills_s: tuple[float, ...] = ()
) -> MemorySeries:
    """Curves in bytes; what is not given follows from what is."""
    count = np.zeros_like(t_s)
    for at in kills_s:
        count += t_s >= at
    sparse = np.full_like(rss, np.nan)
    sparse[::10] = rss[::10]
    return MemorySeries(
        t_s=t_s,
        charged=charged,
        unreclaimable=unreclaimable,
        working_set=charged * 0.93,
        rss=sparse,
        pss=sparse * 0.9,
        anon=unreclaimable * 0.97,
        file=np.maximum(charged - unreclaimable, 0),
        shmem=np.zeros_like(t_s),
        kernel=np.full_like(t_s, 9.0 * MIB),
        processes=np.full_like(t_s, 3.0),
        oom_kills=count,
    )


def load_series(
    start_s: float, length_s: float, *, users: int, rps: float, failures: float, p95_ms: float
) -> LoadSeries:
    t_s = start_s + np.arange(int(length_s), dtype=float)
    rng = np.random.default_rng(7)
    wobble = rng.uniform(0.92, 1.08, t_s.size)
    return LoadSeries(
        t_s=t_s,
        users=np.minimum(np.arange(1, t_s.size + 1) * 4.0, users),
        rps=np.round(rps * wobble),
        failures=np.round(failures * wobble),
        p95_ms=p95_ms * wobble if rps else np.full_like(t_s, np.nan),
    )


def target(directory: str = ROOT, env: dict[str, str] | None = None, name: str = "reference") -> Target:
    command = ("gunicorn", "backend.app:create_app()", "--bind", "{host}:{port}")
    service = Service(command=command, directory=directory, env=env or {})
    return Target(name=name, services=(service,), request=RequestTemplate())


def environment() -> Environment:
    return Environment(
        tool_version="0.1.0",
        python="3.11.4",
        kernel="Linux 6.1.0 x86_64",
        machine="x86_64",
        cpu_count=2,
        memory_total_bytes=8 * 1024 * MIB,
        sandbox_reason="no container engine answers; cgroup v1 is writable",
        swap="off (limit)",
        packages={"gunicorn": "27.0.1", "torch": "2.13.0+cpu", "transformers": "5.23.0"},
    )


def summary(name: str = "singleton", limit: int = 512 * MIB) -> Summary:
    peak = round(limit * 0.797)
    return Summary(
        name=name,
        outcome=Outcome.COMPLETED,
        stop_reason=None,
        oom_kills=0,
        restarts=0,
        memory_limit_bytes=limit,
        peak_unreclaimable_bytes=peak,
        peak_charged_bytes=limit,
        peak_working_set_bytes=round(limit * 0.91),
        peak_rss_bytes=round(limit * 0.98),
        peak_pss_bytes=round(limit * 0.86),
        headroom_bytes=limit - peak,
        startup_s=4.31,
        ready=True,
        requests=2204,
        failures=0,
        availability=1.0,
        dark_share=0.0,
        rps=110.2,
        p50_ms=70.4,
        p95_ms=95.1,
        p99_ms=131.0,
        growth_bytes_per_request=12.0,
        growth_low=-40.0,
        growth_high=66.0,
        page_cache=PageCache.COLD,
        sandbox="cgroup-v1",
        samples=2600,
        findings=(),
        run_dir=f"{OUT}/{name}",
    )


def result(figures: Summary, env: dict[str, str], where: Environment | None) -> RunResult:
    return RunResult(
        name=figures.name,
        variant=figures.name,
        target=target(env=env),
        limits=Limits(memory_bytes=figures.memory_limit_bytes, cpus=None),
        load=LoadPlan.constant(8, 20.0),
        sandbox=figures.sandbox,
        argv=("cli.py", "compare"),
        started_at="2026-11-22T09:30:00+00:00",
        outcome=figures.outcome,
        oom_kills=figures.oom_kills,
        kernel_peak_charged_bytes=figures.memory_limit_bytes,
        clean_end=True,
        page_cache=figures.page_cache,
        environment=where,
        sampler_cpu_s=0.11,
    )


def singleton(name: str = "singleton", limit: int = 512 * MIB) -> AnalysedRun:
    """Start-up to 4.3 s, then a plateau; charged rises to the limit because of page cache."""
    t_s = np.arange(0, 26, 1 / HZ)
    rng = np.random.default_rng(3)
    ramp = np.clip((t_s / 4.2) ** 1.7, 0, 1)
    unreclaimable = limit * (0.04 + 0.74 * ramp) + rng.normal(0, limit * 0.0008, t_s.size)
    unreclaimable += limit * 0.012 * np.clip((t_s - 4.6) / 3, 0, 1)
    charged = np.minimum(limit, unreclaimable + limit * 0.24 * np.clip(t_s / 3, 0, 1))
    rss = unreclaimable + limit * 0.17 * ramp
    figures = summary(name, limit)
    return AnalysedRun(
        summary=figures,
        result=result(figures, {"MODEL_LIFECYCLE": "singleton"}, environment()),
        memory=memory_series(t_s, unreclaimable, charged, rss),
        load=load_series(4.6, 20, users=8, rps=110, failures=0, p95_ms=95),
        kills_s=(),
        ready_s=4.31,
        load_s=(4.6, 24.6),
    )


def per_request(name: str = "per-request", limit: int = 512 * MIB) -> AnalysedRun:
    """Teeth: private copies of the model pile up to the limit, a kill, the worker boots again."""
    t_s = np.arange(0, 25, 1 / HZ)
    kills_s = (3.9, 8.4, 12.8, 13.0, 17.2, 21.5)
    unreclaimable = np.full_like(t_s, limit * 0.05)
    boots = [0.0, *kills_s]
    for begin, end in zip(boots, [*kills_s, 25.0], strict=True):
        here = (t_s >= begin) & (t_s < end)
        since = t_s[here] - begin
        base = limit * (0.06 + 0.31 * np.clip(since / 2.1, 0, 1))
        into_load = np.clip((t_s[here] - max(2.8, end - 1.1)) / 1.1, 0, 1)
        unreclaimable[here] = np.minimum(limit * 0.9995, base + limit * 0.64 * into_load)
    charged = np.minimum(limit, unreclaimable + limit * 0.22 * np.clip(t_s / 2, 0, 1))
    findings = (
        Finding(
            id="oom-kill",
            level="fail",
            message=f"The kernel killed a worker {len(kills_s)} times, first 1.1 s into the load.",
            hint="Load the model once, before the server forks its workers (MODEL_LIFECYCLE=singleton).",
        ),
        Finding(id="dark", level="warn", message="Nothing was answered in 20 of 20 seconds of load."),
    )
    figures = replace(
        summary(name, limit),
        outcome=Outcome.OOM_KILLED,
        oom_kills=len(kills_s),
        restarts=6,
        stop_reason=None,
        peak_unreclaimable_bytes=round(limit * 0.9995),
        headroom_bytes=round(limit * 0.0005),
        peak_rss_bytes=round(limit * 1.16),
        startup_s=2.61,
        requests=151,
        failures=151,
        availability=0.0,
        dark_share=1.0,
        rps=0.0,
        p50_ms=None,
        p95_ms=None,
        p99_ms=None,
        growth_bytes_per_request=None,
        growth_low=None,
        growth_high=None,
        samples=2500,
        findings=findings,
    )
    return AnalysedRun(
        summary=figures,
        result=result(figures, {"MODEL_LIFECYCLE": "per-request"}, environment()),
        memory=memory_series(t_s, unreclaimable, charged, unreclaimable * 1.16, kills_s),
        load=load_series(2.8, 20, users=8, rps=0, failures=7.5, p95_ms=0),
        kills_s=kills_s,
        ready_s=2.61,
        load_s=(2.8, 22.8),
    )


def never_ready(name: str = "never-ready", limit: int = 8 * MIB) -> AnalysedRun:
    """Nothing at all was measured."""
    none = np.array([], dtype=float)
    figures = replace(
        summary(name, limit),
        outcome=Outcome.NEVER_READY,
        stop_reason="no 2xx from /health within 60 s",
        peak_unreclaimable_bytes=None,
        peak_charged_bytes=None,
        peak_working_set_bytes=None,
        peak_rss_bytes=None,
        peak_pss_bytes=None,
        headroom_bytes=None,
        startup_s=None,
        ready=False,
        requests=0,
        failures=0,
        availability=None,
        dark_share=None,
        rps=None,
        p50_ms=None,
        p95_ms=None,
        p99_ms=None,
        growth_bytes_per_request=None,
        growth_low=None,
        growth_high=None,
        samples=0,
        page_cache=PageCache.UNKNOWN,
    )
    return AnalysedRun(
        summary=figures,
        result=replace(result(figures, {}, None), clean_end=None, kernel_peak_charged_bytes=None),
        memory=memory_series(none, none, none, none),
        load=LoadSeries(t_s=none, users=none, rps=none, failures=none, p95_ms=none),
        kills_s=(),
        ready_s=None,
        load_s=None,
    )


def held(size: int, allocations: int, function: str, line: int) -> HeldMemory:
    frame = Frame(function=function, file=f"{ROOT}/backend/model.py", line=line)
    stack = (
        Frame(function="chat", file=f"{ROOT}/backend/app.py", line=88),
        Frame(function="model_for_request", file=f"{ROOT}/backend/lifecycle.py", line=41),
        frame,
        Frame(
            function="load",
            file="/srv/shop/.venv/lib/python3.11/site-packages/torch/serialization.py",
            line=1530,
        ),
        Frame(
            function="persistent_load",
            file="/srv/shop/.venv/lib/python3.11/site-packages/torch/serialization.py",
            line=2119,
        ),
    )
    return HeldMemory(bytes=size, allocations=allocations, frame=frame, stack=stack)


def profiles() -> tuple[Profile, ...]:
    return (
        Profile(
            variant="per-request",
            status="recorded",
            outcome=Outcome.OOM_KILLED,
            oom_kills=3,
            limit_bytes=526 * MIB,
            capture_cost_bytes=14 * MIB,
            captures=(f"{OUT}/memray/per-request.bin.412",),
            flamegraphs=(f"{OUT}/memray/per-request.412.html", f"{OUT}/memray/per-request.498.html"),
            held_at="kill",
            held=(
                held(352 * MIB, 412, "load", 31),
                held(61 * MIB, 1830, "build_index", 57),
                HeldMemory(
                    bytes=6000, allocations=1, frame=Frame(function="(no Python frame)", file="", line=0), stack=()
                ),
            ),
        ),
        Profile(
            variant="singleton",
            status="recorded",
            outcome=Outcome.COMPLETED,
            limit_bytes=526 * MIB,
            capture_cost_bytes=14 * MIB,
            captures=(f"{OUT}/memray/singleton.bin",),
            flamegraphs=(f"{OUT}/memray/singleton.html",),
            held=(held(88 * MIB, 103, "load", 31),),
        ),
    )


def kill(number: int, at_s: float, *, name: str = "gunicorn", **changes: Any) -> Kill:
    """A worker killed while four requests load the model."""
    lines = (
        replace(held(352 * MIB, 412, "load", 31), by_thread=(88 * MIB,) * 4),
        held(61 * MIB, 1830, "build_index", 57),
    )
    usual = Kill(
        number=number, service=None, at_s=at_s, at=f"2026-11-22T09:30:{at_s:06.3f}+00:00", within_s=0.01, phase="load",
        process=KilledProcess(
            pid=400 + number, name=name, told_by="kernel log and capture", anon_rss_bytes=481 * MIB,
            file_rss_bytes=22 * MIB, shmem_rss_bytes=0,
            log_line=f"Memory cgroup out of memory: Killed process {400 + number} ({name}) total-vm:2603520kB",
        ),
        memory=MemoryAtKill(
            limit_bytes=526 * MIB, charged_bytes=525 * MIB, unreclaimable_bytes=512 * MIB, anon_bytes=498 * MIB,
            file_bytes=13 * MIB, shmem_bytes=2 * MIB, kernel_bytes=12 * MIB,
        ),
        requests=RequestsInFlight(count=4, broken=4, path="POST /chat", ages_s=(1.204, 1.2, 0.871, 0.06)),
        held=lines, capture=f"{OUT}/memray/capture.bin.{400 + number}", sentence="",
    )  # fmt: skip
    made = replace(usual, **changes)
    return replace(made, sentence=sentence(made))


def autopsies() -> tuple[Autopsy, ...]:
    """Of the memray pass, in which each worker died alike, and of the measured run, of which no lines are known."""
    nothing = {"held": (), "held_note": "not recorded: memray is kept out of runs that are judged", "capture": None}
    early = {"requests": None, "phase": "start", "process": None, "memory": None}
    passed = (kill(1, 3.912), kill(2, 8.404, like=1), kill(3, 12.811, like=1))
    measured = (kill(1, 1.5, **nothing, **early), kill(2, 4.2, **nothing))
    return (
        Autopsy(
            run="per-request (memray pass)", variant="per-request", memray=True, limit_bytes=526 * MIB,
            sentence=passed[0].sentence, most_telling=1, kernel_log="/dev/kmsg", kills=passed,
        ),
        Autopsy(
            run="per-request", variant="per-request", memray=False, limit_bytes=512 * MIB, sentence=measured[0].sentence,
            most_telling=1,
            kernel_log="cannot be read here (/dev/kmsg: no such file or directory)", kills=measured, not_shown=4,
        ),
    )  # fmt: skip


def proved(*runs: AnalysedRun, memray: tuple[Profile, ...] | None = None, directory: str = OUT) -> Report:
    """The report of the reference comparison, or of `runs` under the same verdict."""
    return Report(
        command="compare",
        verdict=Verdict(
            claim=Claim.PROVED,
            status="pass",
            sentence="singleton fits in 512 MiB under 8 users; per-request does not: it was killed 6 times.",
            evidence=(
                "per-request: 6 kernel-counted OOM kills, 0 % of 151 requests answered.",
                "singleton: no OOM kill, 100 % of 2,204 requests answered, p95 95 ms.",
                "singleton's unreclaimable memory peaked at 408 MiB, 104 MiB (20.3 %) below the limit.",
            ),
        ),
        candidate="singleton",
        runs=runs or (per_request(), singleton()),
        profiles=profiles() if memray is None else memray,
        argv=("python", "cli.py", "compare", "--users", "8", "--duration", "20s", "--out", "my runs/"),
        created_at="2026-11-22T09:31:12+00:00",
        beside_share=0.08,
        directory=directory,
        autopsies=() if runs else autopsies(),
    )


def verified(*problems: ApiProblem) -> Report:
    """The report of `verify` on a service that does not keep its OpenAPI document."""
    run = singleton()
    found = ApiConformance(
        place="/openapi.json", state="checked", operations=7, chosen=4, asked=4, requests=43,
        problems=problems or api_problems(),
    )  # fmt: skip
    run = dataclasses.replace(run, result=replace(run.result, openapi=found))
    checks = (
        Check(id="ready", status="pass", measured="2xx", limit="2xx", message="/health answers with 2xx"),
        openapi_check(run),
    )
    return dataclasses.replace(
        proved(run, memray=()), command="verify", candidate=None, checks=checks, verdict=judge_checks(run, checks)
    )


def api_problems() -> tuple[ApiProblem, ...]:
    return (
        ApiProblem(
            operation="GET /items/{item_id}", kind="status", count=3, status=404,
            example="status 404; documented: 200, 422", sent="GET /items/6425632971",
        ),
        ApiProblem(
            operation="POST /chat", kind="server-error", count=12, status=500, example="status 500 to a valid request",
            sent='POST /chat {"session_id": "\\u00ff", "query": ""}',
        ),
        ApiProblem(
            operation="", kind="document", count=0, status=None, example="paths: [] is not of type \"object\"",
        ),
    )  # fmt: skip
