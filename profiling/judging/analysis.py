"""From a stored run to its figures and curves. Pure: reads arrays, opens nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from profiling.judgements import ServiceSummary, Summary
from profiling.judging.clients import load_series, percentiles_ms, tally
from profiling.judging.growth import growth_per_request
from profiling.judging.quantiles import percentiles
from profiling.judging.report import AnalysedRun, MemorySeries
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
    services = tuple(analyse(part) for part in run.parts)
    summary = _summary(run)
    return AnalysedRun(
        summary=_of_system(summary, [part.summary for part in services]) if services else summary,
        result=result,
        memory=memory_series(samples, result.start_ns),
        load=load_series(run),
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


def gap_percentile_ms(run: StoredRun, share: float) -> float | None:
    """A percentile of the milliseconds between neighbouring samples under load; None: there were not two."""
    result = run.result
    if result.load_start_ns is None:
        return None
    within = run.every_sample.between(result.load_start_ns, (result.load_end_ns or result.end_ns) + 1)

    def gaps() -> Iterator[NDArray[np.int64]]:
        before = np.empty(0, np.int64)
        for block in within.only("t_ns"):
            yield np.diff(block["t_ns"], prepend=before)
            before = block["t_ns"][-1:]

    found = percentiles(gaps, [share])
    return found[0] / 1e6 if found else None


def _summary(run: StoredRun) -> Summary:
    result, samples = run.result, run.samples
    limit = result.limits.memory_bytes if result.limits else None
    peak = _peak(samples, "unreclaimable")
    requests = tally(run)
    p50, p95, p99 = percentiles_ms(run, [50, 95, 99]) or (None, None, None)
    seconds = _load_seconds(result)
    growth = growth_per_request(run) if requests.good else None
    return Summary(
        name=result.name,
        outcome=result.outcome,
        stop_reason=result.stop_reason,
        oom_kills=result.oom_kills,
        restarts=_restarts(run),
        memory_limit_bytes=limit,
        peak_unreclaimable_bytes=peak,
        peak_charged_bytes=_peak(samples, "charged"),
        peak_working_set_bytes=_peak(samples, "working_set"),
        peak_rss_bytes=_peak(samples, "rss"),
        peak_pss_bytes=_peak(samples, "pss"),
        headroom_bytes=None if peak is None or limit is None else limit - peak,
        startup_s=_since_start(result.ready_ns, result),
        ready=None if result.watched else result.ready_ns is not None,
        requests=requests.sent,
        failures=requests.sent - requests.good,
        availability=requests.good / requests.sent if requests.sent else None,
        dark_share=requests.dark_share,
        rps=requests.good / seconds if seconds and requests.sent else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        growth_bytes_per_request=growth.slope if growth else None,
        growth_low=growth.low if growth else None,
        growth_high=growth.high if growth else None,
        page_cache=result.page_cache,
        sandbox=result.sandbox,
        samples=run.count,
        findings=(),
        run_dir=str(run.directory),
    )


def _peak(samples: Records, field: str) -> int | None:
    if not len(samples):
        return None
    peak = int(samples[field].max())
    return None if peak == UNMEASURED else peak


def _load_seconds(result: RunResult) -> float | None:
    span = _load_span(result)
    return span[1] - span[0] if span and span[1] > span[0] else None


def _load_span(result: RunResult) -> tuple[float, float] | None:
    start = _since_start(result.load_start_ns, result)
    end = _since_start(result.load_end_ns or result.end_ns, result)
    return None if start is None or end is None else (start, end)


def _since_start(t_ns: int | None, result: RunResult) -> float | None:
    return None if t_ns is None else (t_ns - result.start_ns) / 1e9


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


def _restarts(run: StoredRun) -> int:
    """Processes that went and were replaced between the first `ready`, or the start of the watch, and its end."""
    result = run.result
    stop = next((phase.start_ns for phase in result.phases if phase.name == "stop"), result.end_ns)
    since_ns = result.start_ns if result.watched else result.ready_ns
    if since_ns is None:
        return 0
    served = run.every_sample.between(since_ns, stop).ends()
    if not len(served):
        return 0
    return int(min(served["exits"][1] - served["exits"][0], served["births"][1] - served["births"][0]))
