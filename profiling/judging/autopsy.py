"""From a stored run to an account of each OOM kill in it. Pure; nothing is said that was not seen."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests.requestlog import RequestOutcome
from profiling.autopsies import Autopsy, Kill, KilledProcess, MemoryAtKill, RequestsInFlight
from profiling.judging.analysis import kills_of_run
from profiling.judging.cause import sentence
from profiling.measuring.samples import UNMEASURED
from profiling.measuring.store import StoredRun
from profiling.profiles import CaptureEnd, Profile
from profiling.values import KernelKill, KernelLog, RunResult

KILLS_AT_MOST = 50
AGES_AT_MOST = 50
_SEEN_AFTER_NS = 600_000_000
"""The kernel's count is read five times a second; on a busy machine a reading or two are late."""
_UNSEEN_WITHIN_NS = 200_000_000
_LEAST_FALL = 0.05
"""Of the most that was held just before. The fall of the memory dates a kill to one sample; a smaller one may be anything."""
_RECORDS_END_NS = (1_500_000_000, 500_000_000)
"""A killed process's last record is so much older or younger than the kill at most: at the limit memray's thread waits, too."""
_BROKEN = (RequestOutcome.CONNECTION_ERROR, RequestOutcome.TIMEOUT)
_START = "start"

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Moment:
    """A kill lies between two samples. Ns of CLOCK_MONOTONIC."""

    after_ns: int
    before_ns: int
    index: int | None
    """Of the last sample before it; None: there is none."""


def autopsy(run: StoredRun, profile: Profile | None = None) -> Autopsy | None:
    """The account of a run's OOM kills; None if the kernel counted none.

    `profile`: what the captures of this run say, if it is a memray pass.
    """
    result = run.result
    if not result.oom_kills:
        return None
    traced = profile if result.capture else None
    kills: list[Kill] = []
    count = 0
    for number, part in enumerate(run.parts or (run,)):
        moments = kill_moments(part)
        count += len(moments)
        # memray enters the service that the load goes to: the first.
        kills += _of_service(part, moments, traced if number == 0 else None, part.result.name if run.parts else None)
    kills.sort(key=lambda kill: kill.at_s)
    shown = _alike(
        [msgspec.structs.replace(kill, number=number) for number, kill in enumerate(kills[:KILLS_AT_MOST], 1)]
    )
    telling = max(shown, key=lambda kill: sum(held.bytes for held in kill.held))
    return Autopsy(
        run=result.name,
        variant=result.variant,
        memray=bool(result.capture),
        limit_bytes=_limit(result),
        sentence=telling.sentence,
        most_telling=telling.number,
        kernel_log=_of_log(result.kernel_log, count),
        kills=tuple(shown),
        not_shown=count - len(shown),
    )


def _of_service(run: StoredRun, moments: Sequence[Moment], profile: Profile | None, name: str | None) -> list[Kill]:
    """The accounts of its first kills: no more are shown."""
    victims = _victims(run.result.kernel_log, len(moments))
    ends = captures_of(moments, victims, run, profile.ends if profile else ())
    spans = open_spans(run)
    return [
        _account(run, moment, victim, end, name, spans, looked=profile is not None)
        for moment, victim, end in list(zip(moments, victims, ends, strict=True))[:KILLS_AT_MOST]
    ]  # fmt: skip


def kill_moments(run: StoredRun) -> list[Moment]:
    """When each kill happened that the kernel counted, in order.

    The count says so up to 0.2 s late; before that the memory of the killed process falls off, between two samples.
    """
    samples, result = kills_of_run(run.samples, run.result), run.result
    moments: list[Moment] = []
    rises = np.diff(samples["oom_kills"], prepend=0) if len(samples) else np.empty(0, np.int64)
    for index in np.flatnonzero(rises > 0):
        moments += _moments_before(samples, int(index), int(rises[index]), moments)
    last = len(samples) - 1 if len(samples) else None
    from_ns = int(samples["t_ns"][last]) if last is not None else result.start_ns
    missing = (result.oom_kills or 0) - len(moments)
    return moments + [Moment(from_ns, max(from_ns, result.end_ns), last)] * max(0, missing)


def _moments_before(samples: Records, seen: int, kills: int, earlier: Sequence[Moment]) -> list[Moment]:
    """The moments of the kills that were counted between the sample before `seen` and itself."""
    t_ns = samples["t_ns"]
    since = max(int(t_ns[seen]) - _SEEN_AFTER_NS, earlier[-1].before_ns if earlier else 0)
    first = min(int(np.searchsorted(t_ns, since)), max(0, seen - 1))
    held = (samples["anon"] + samples["shmem"])[first : seen + 1].astype(np.int64)
    falls: list[tuple[int, int]] = []  # how far, from which sample on
    at = 0
    while at < len(held) - 1:
        end = at
        while end < len(held) - 1 and held[end + 1] < held[end]:
            end += 1
        if held[at] - held[end] >= _LEAST_FALL * held.max():
            falls.append((int(held[at] - held[end]), first + at))
        at = max(end, at + 1)
    chosen = sorted(index for _, index in sorted(falls, reverse=True)[:kills])
    found = [Moment(int(t_ns[index]), int(t_ns[index + 1]), index) for index in chosen]
    if not found:
        found = [_unseen(t_ns, seen, since)]
    return found + [found[-1]] * (kills - len(found))


def _unseen(t_ns: NDArray[np.int64], seen: int, since_ns: int) -> Moment:
    """A kill that no fall dates: before its count was read, and after the reading before that."""
    after_ns = max(int(t_ns[seen]) - _UNSEEN_WITHIN_NS, since_ns)
    index = int(np.searchsorted(t_ns, after_ns, side="right")) - 1
    return Moment(after_ns, int(t_ns[seen]), index if index >= 0 else None)


def _victims(log: KernelLog | None, kills: int) -> list[KernelKill | None]:
    """The log's lines for the kills, in order. Where their numbers differ, which line is which kill's is not known."""
    lines = log.kills if log else ()
    return list(lines) if len(lines) == kills else [None] * kills


def captures_of(
    moments: Sequence[Moment], victims: Sequence[KernelKill | None], run: StoredRun, ends: Sequence[CaptureEnd]
) -> list[CaptureEnd | None]:
    """Whose records belong to which kill: by pid where the kernel's log gives the process's own, else by their end."""
    log, offset = run.result.kernel_log, run.result.epoch_offset_ns
    found: list[CaptureEnd | None] = [None] * len(moments)
    if log is not None and log.own_pids and all(victims):
        by_pid = {end.pid: end for end in ends if end.pid is not None}
        return [by_pid.get(victim.pid) if victim else None for victim in victims]
    if len(moments) == len(ends) == 1:
        return [ends[0]]
    if offset is None:
        return found
    early, late = _RECORDS_END_NS
    pairs = sorted(
        (abs(end.last_ns - offset - moment.after_ns), number, at)
        for number, moment in enumerate(moments)
        for at, end in enumerate(ends)
        if end.last_ns is not None and -early <= end.last_ns - offset - moment.after_ns <= late
    )
    taken: set[int] = set()
    for _, number, at in pairs:
        if found[number] is None and at not in taken:
            found[number] = ends[at]
            taken.add(at)
    return _largest_to_largest(found, moments, victims)


def _largest_to_largest(
    found: Sequence[CaptureEnd | None], moments: Sequence[Moment], victims: Sequence[KernelKill | None]
) -> list[CaptureEnd | None]:
    """Of kills at one moment time says nothing: there the records that end with the largest RSS are the largest victim's."""
    sorted_ends = list(found)
    for moment in {one for one, end in zip(moments, found, strict=True) if end is not None}:
        sizes = {
            number: victim.anon_rss_bytes or 0
            for number, (one, victim) in enumerate(zip(moments, victims, strict=True))
            if one == moment and victim is not None and found[number] is not None
        }
        ends = sorted((found[number] for number in sizes), key=lambda end: (end.rss_bytes or 0) if end else 0)
        for number, end in zip(sorted(sizes, key=sizes.__getitem__), ends, strict=True):
            sorted_ends[number] = end
    return sorted_ends


def _account(
    run: StoredRun,
    moment: Moment,
    victim: KernelKill | None,
    end: CaptureEnd | None,
    service: str | None,
    spans: Sequence[tuple[int, int]],
    *,
    looked: bool,
) -> Kill:
    result = run.result
    kill = Kill(
        number=0,
        service=service,
        at_s=(moment.after_ns - result.start_ns) / 1e9,
        at=_wall_clock(moment.after_ns, run),
        within_s=(moment.before_ns - moment.after_ns) / 1e9,
        # Between two phases it is on its way to the later one.
        phase=next((phase.name for phase in result.phases if moment.after_ns <= phase.end_ns), None),
        process=_process(victim, end),
        memory=_memory(run, moment),
        requests=in_flight(run, moment, spans),
        held=end.held if end else (),
        held_note=end.note if end else _held_note(run, victim, looked=looked),
        capture=end.capture if end else None,
        records_end_s=_records_end_s(run, moment, end),
        sentence="",
    )
    return msgspec.structs.replace(kill, sentence=sentence(kill))


def _records_end_s(run: StoredRun, moment: Moment, end: CaptureEnd | None) -> float | None:
    offset = run.result.epoch_offset_ns
    if end is None or not end.cut or end.last_ns is None or offset is None:
        return None
    return max(0.0, (moment.after_ns + offset - end.last_ns) / 1e9)


def _wall_clock(t_ns: int, run: StoredRun) -> str | None:
    """In the zone in which the run was started."""
    if run.result.epoch_offset_ns is None:
        return None
    try:
        zone = datetime.datetime.fromisoformat(run.result.started_at).tzinfo
    except ValueError:
        zone = None
    seconds = (t_ns + run.result.epoch_offset_ns) / 1e9
    return datetime.datetime.fromtimestamp(seconds, zone or datetime.UTC).isoformat(timespec="milliseconds")


def _process(victim: KernelKill | None, end: CaptureEnd | None) -> KilledProcess | None:
    if victim is None:
        return KilledProcess(pid=end.pid, name=None, told_by="capture") if end else None
    return KilledProcess(
        pid=(end.pid if end else None) or victim.pid,
        name=victim.name,
        told_by="kernel log and capture" if end else "kernel log",
        anon_rss_bytes=victim.anon_rss_bytes,
        file_rss_bytes=victim.file_rss_bytes,
        shmem_rss_bytes=victim.shmem_rss_bytes,
        log_line=victim.line,
    )


def _memory(run: StoredRun, moment: Moment) -> MemoryAtKill | None:
    if moment.index is None:
        return None
    sample = run.samples[moment.index]
    figures = {
        f"{name}_bytes": int(sample[name])
        for name in ("charged", "unreclaimable", "anon", "file", "shmem", "kernel")
    }  # fmt: skip
    if UNMEASURED in figures.values():
        return None
    return MemoryAtKill(limit_bytes=_limit(run.result), **figures)


def open_spans(run: StoredRun) -> list[tuple[int, int]]:
    """Of each block of requests when the first in it was sent, and when the last one ended. Ns of CLOCK_MONOTONIC."""
    return [(int(block["sent_ns"].min()), int(block["finished_ns"].max())) for block in run.every_request]


def in_flight(run: StoredRun, moment: Moment, spans: Sequence[tuple[int, int]]) -> RequestsInFlight | None:
    """The requests that had been sent before the kill and were answered after it, or broke at it. None before the load.

    `spans`: as `open_spans` says; only the blocks that can hold such requests are read.
    """
    result = run.result
    if result.load_start_ns is None or moment.before_ns < result.load_start_ns:
        return None
    log = run.every_request
    there = [
        _open_at(log.block(number), moment)
        for number, (first_ns, last_ns) in enumerate(spans)
        if first_ns <= moment.before_ns and last_ns >= moment.after_ns
    ]
    found = np.concatenate(there) if there else np.empty(0, log.dtype)
    ages = np.sort(np.maximum(0, moment.before_ns - found["sent_ns"]))[::-1] / 1e9
    template = result.target.request
    return RequestsInFlight(
        count=len(found),
        broken=int(np.isin(found["outcome"], _BROKEN).sum()),
        path=None if result.target.locustfile else f"{template.method} {template.path}",
        ages_s=tuple(round(float(age), 3) for age in ages[:AGES_AT_MOST]),
    )


def _open_at(requests: Records, moment: Moment) -> Records:
    """Those of `in_flight`."""
    broke = np.isin(requests["outcome"], _BROKEN)
    found: Records = requests[
        (requests["outcome"] != RequestOutcome.NOT_SENT)
        & (requests["sent_ns"] <= moment.before_ns)
        & (requests["finished_ns"] >= np.where(broke, moment.after_ns, moment.before_ns))
    ]
    return found


def _held_note(run: StoredRun, victim: KernelKill | None, *, looked: bool) -> str:
    """Why nothing is known of the lines where no capture is known to be the killed process's."""
    if not run.result.capture:
        return "not recorded: memray is kept out of runs that are judged"
    if not looked:
        return "nobody looked into the captures of this run"
    log = run.result.kernel_log
    if victim is not None and log is not None and log.own_pids:
        return "not recorded: memray follows forked Python processes, not programs that are started anew"
    return "no capture ends at this moment"


def _of_log(log: KernelLog | None, kills: int) -> str:
    if log is None:
        return "not read"
    if log.source is None:
        return f"cannot be read here ({log.problem})"
    if not log.kills:
        return f"{log.source} has no line of this run's cgroup: another machine's kernel killed, or its lines are gone"
    if len(log.kills) != kills:
        named = ", ".join(f"{kill.name} (pid {kill.pid})" for kill in log.kills[:10])
        counted = f"{log.source} names {len(log.kills)} processes for {kills} counted kills"
        return f"{counted}, so that which is whose is not known: {named}"
    return log.source


def _limit(result: RunResult) -> int | None:
    return result.limits.memory_bytes if result.limits else None


def _alike(kills: Sequence[Kill]) -> list[Kill]:
    """The kills, each that has an earlier one's process name, service and first line with that one's number."""
    firsts: dict[tuple[object, ...], int] = {}
    marked = []
    for kill in kills:
        key = (
            kill.service,
            kill.process and kill.process.name,
            kill.phase == _START,
            kill.held[0].frame if kill.held else None,
        )
        first = firsts.setdefault(key, kill.number)
        marked.append(kill if first == kill.number else msgspec.structs.replace(kill, like=first))
    return marked
