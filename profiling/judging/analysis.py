"""From a stored run to its figures and curves. Pure: reads arrays, opens nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests.requestlog import RequestOutcome
from profiling.judgements import ServiceSummary, Summary
from profiling.judging.growth import growth_per_request
from profiling.judging.report import AnalysedRun, Array, LoadSeries, MemorySeries
from profiling.measuring.samples import UNMEASURED
from profiling.measuring.store import StoredRun
from profiling.values import RunResult

_CURVES = (
    "charged",
    "unreclaimable",
    "working_set",
    "rss",
    "pss",
    "anon",
    "file",
    "shmem",
    "kernel",
    "processes",
    "oom_kills",
)
Records = NDArray[np.void]


def analyse(run: StoredRun) -> AnalysedRun:
    """Everything about one run that can be read off its data; findings are left to `findings`."""
    result = run.result
    samples = kills_of_run(run.samples, result)
    sent = run.requests[run.requests["outcome"] != RequestOutcome.NOT_SENT] if len(run.requests) else run.requests
    services = tuple(analyse(part) for part in run.parts)
    summary = _summary(run, sent)
    return AnalysedRun(
        summary=_of_system(summary, [part.summary for part in services]) if services else summary,
        result=result,
        memory=memory_series(samples, result.start_ns),
        load=load_series(sent, result),
        kills_s=_kill_times(samples, result),
        ready_s=_since_start(result.ready_ns, result),
        load_s=_load_span(result),
        services=services,
    )


def _of_system(summed: Summary, services: Sequence[Summary]) -> Summary:
    """The summed figures with what is not a sum: each service has its own limit to keep away from."""
    headrooms = [service.headroom_bytes for service in services if service.headroom_bytes is not None]
    return msgspec.structs.replace(
        summed,
        restarts=sum(service.restarts for service in services),
        headroom_bytes=min(headrooms, default=None),
        services=tuple(
            ServiceSummary(**{key: getattr(service, key) for key in ServiceSummary.__struct_fields__})
            for service in services
        ),
    )


def memory_series(samples: Records, start_ns: int) -> MemorySeries:
    """The sampler's records as curves."""
    if not len(samples):
        empty = np.empty(0)
        return MemorySeries(t_s=empty, **dict.fromkeys(_CURVES, empty))
    curves = {name: samples[name].astype(np.float64) for name in _CURVES}
    for name, curve in curves.items():
        curve[samples[name] == UNMEASURED] = np.nan
    return MemorySeries(t_s=(samples["t_ns"] - start_ns) / 1e9, **curves)


def kills_of_run(samples: Records, result: RunResult) -> Records:
    """The samples with the kills that were counted during the run: what was watched may have been killed before."""
    before = result.watched.kills_before if result.watched else 0
    if not before:
        return samples
    counted = np.array(samples)
    counted["oom_kills"] -= before
    return counted


def load_series(requests: Records, result: RunResult) -> LoadSeries:
    """What the clients saw, in bins of one second from the load's start to the last answer."""
    if result.load_start_ns is None or not len(requests):
        empty = np.empty(0)
        return LoadSeries(t_s=empty, users=empty, rps=empty, failures=empty, p95_ms=empty)
    second = ((requests["finished_ns"] - result.load_start_ns) // 1_000_000_000).astype(np.int64).clip(0)
    bins = int(second.max()) + 1
    good = requests["outcome"] == RequestOutcome.OK
    latency = latency_ms(requests)
    p95 = np.full(bins, np.nan)
    for number in np.unique(second[good]):
        p95[number] = np.percentile(latency[good & (second == number)], 95)
    plan = result.load
    planned = np.array([plan.users_at(number + 0.5) if plan else 0 for number in range(bins)], dtype=np.float64)
    for worker in result.load_workers:
        if worker.lost_ns is not None:  # its users are no longer there
            planned[max(0, int((worker.lost_ns - result.load_start_ns) // 1_000_000_000)) :] -= worker.lost_users
    planned = planned.clip(0)  # where none are planned, after the end
    return LoadSeries(
        t_s=(result.load_start_ns - result.start_ns) / 1e9 + np.arange(bins, dtype=np.float64),
        users=planned,
        rps=np.bincount(second[good], minlength=bins).astype(np.float64),
        failures=np.bincount(second[~good], minlength=bins).astype(np.float64),
        p95_ms=p95,
    )


def latency_ms(requests: Records) -> Array:
    """Milliseconds from when each request was due to its end: a late send counts against the service."""
    latency: Array = (requests["finished_ns"] - requests["intended_ns"]) / 1e6
    return latency


def sample_gaps_ms(samples: Records, from_ns: int, to_ns: int) -> Array:
    """Milliseconds between neighbouring samples within a span of CLOCK_MONOTONIC."""
    t_ns = samples["t_ns"]
    gaps: Array = np.diff(t_ns[(t_ns >= from_ns) & (t_ns <= to_ns)]) / 1e6
    return gaps


def _summary(run: StoredRun, sent: Records) -> Summary:
    result, samples = run.result, run.samples
    limit = result.limits.memory_bytes if result.limits else None
    peak = _peak(samples, "unreclaimable")
    good = sent["outcome"] == RequestOutcome.OK if len(sent) else np.empty(0, bool)
    p50, p95, p99 = _percentiles(latency_ms(sent[good])) if good.any() else (None, None, None)
    seconds = _load_seconds(result)
    growth = growth_per_request(samples, sent[good]["finished_ns"], result) if good.any() else None
    return Summary(
        name=result.name,
        outcome=result.outcome,
        stop_reason=result.stop_reason,
        oom_kills=result.oom_kills,
        restarts=_restarts(samples, result),
        memory_limit_bytes=limit,
        peak_unreclaimable_bytes=peak,
        peak_charged_bytes=_peak(samples, "charged"),
        peak_working_set_bytes=_peak(samples, "working_set"),
        peak_rss_bytes=_peak(samples, "rss"),
        peak_pss_bytes=_peak(samples, "pss"),
        headroom_bytes=None if peak is None or limit is None else limit - peak,
        startup_s=_since_start(result.ready_ns, result),
        ready=None if result.watched else result.ready_ns is not None,
        requests=len(sent),
        failures=int(len(sent) - good.sum()),
        availability=float(good.mean()) if len(sent) else None,
        dark_share=_dark_share(sent, result),
        rps=float(good.sum()) / seconds if seconds and len(sent) else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        growth_bytes_per_request=growth.slope if growth else None,
        growth_low=growth.low if growth else None,
        growth_high=growth.high if growth else None,
        page_cache=result.page_cache,
        sandbox=result.sandbox,
        samples=len(samples),
        findings=(),
        run_dir=str(run.directory),
    )


def _peak(samples: Records, field: str) -> int | None:
    if not len(samples):
        return None
    peak = int(samples[field].max())
    return None if peak == UNMEASURED else peak


def _percentiles(values: Array) -> tuple[float, float, float]:
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return float(p50), float(p95), float(p99)


def _load_seconds(result: RunResult) -> float | None:
    span = _load_span(result)
    return span[1] - span[0] if span and span[1] > span[0] else None


def _load_span(result: RunResult) -> tuple[float, float] | None:
    start = _since_start(result.load_start_ns, result)
    end = _since_start(result.load_end_ns or result.end_ns, result)
    return None if start is None or end is None else (start, end)


def _since_start(t_ns: int | None, result: RunResult) -> float | None:
    return None if t_ns is None else (t_ns - result.start_ns) / 1e9


def _dark_share(sent: Records, result: RunResult) -> float | None:
    """The share of the load's whole seconds in which no answer of any kind came."""
    if result.load_start_ns is None or not len(sent):
        return None
    seconds = ((result.load_end_ns or result.end_ns) - result.load_start_ns) // 1_000_000_000
    if seconds < 1:
        return None
    answered = sent[sent["status"] > 0]["finished_ns"]
    lit = np.unique((answered - result.load_start_ns) // 1_000_000_000)
    return 1.0 - float(((lit >= 0) & (lit < seconds)).sum()) / seconds


def _kill_times(samples: Records, result: RunResult) -> tuple[float, ...]:
    """When the kernel's count rose, in seconds since the start; kills after the last sample stand at the run's end."""
    times: list[float] = []
    if result.oom_kills is None:
        return ()
    if len(samples):
        rises = np.diff(samples["oom_kills"], prepend=0)
        for index in np.flatnonzero(rises > 0):
            times += [float(samples["t_ns"][index] - result.start_ns) / 1e9] * int(rises[index])
    times += [(result.end_ns - result.start_ns) / 1e9] * (result.oom_kills - len(times))
    return tuple(times)


def _restarts(samples: Records, result: RunResult) -> int:
    """Processes that went and were replaced between the first `ready`, or the start of the watch, and its end."""
    stop = next((phase.start_ns for phase in result.phases if phase.name == "stop"), result.end_ns)
    since_ns = result.start_ns if result.watched else result.ready_ns
    if not len(samples) or since_ns is None:
        return 0
    served = samples[(samples["t_ns"] >= since_ns) & (samples["t_ns"] < stop)]
    if not len(served):
        return 0
    return int(min(served["exits"][-1] - served["exits"][0], served["births"][-1] - served["births"][0]))
