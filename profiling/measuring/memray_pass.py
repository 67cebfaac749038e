"""The memray pass: a run of its own in which the service records its allocations. It explains; it never judges."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.measuring import capture, stored_stacks
from profiling.measuring.capture import bounded
from profiling.measuring.events import Note, Observer
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.profiles import HeldMemory, Profile
from profiling.stacks import END, PEAK
from profiling.units import format_bytes
from profiling.values import Limits, RunResult, Target

CAPTURE_FILE = "capture.bin"
PROCESSES_FILE = "processes.stacks.json.gz"
_PROCESSES_S = 60.0
"""Within so long all processes' captures are read to be shown together, or they are not."""
_SLOWER_START = 3
"""Imports under the tracker take about twice their time."""
_GRACE_S = 2.0
_GRAPHS_AT_MOST = 2
"""The parent's and its largest child's. Of a killed service only the killed process's: drawing a parent that has imported
torch takes longer than all the rest."""
_CRUMB_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class RecordedPass:
    """A pass that was run and is not explained yet."""

    result: RunResult
    directory: Path
    capture: Path


def record_pass(
    plan: RunPlan,
    sandbox: Sandbox,
    directory: Path,
    observer: Observer,
    capture_limit_bytes: int = capture.MAX_CAPTURE_BYTES,
) -> RecordedPass | Profile:
    """Run the plan's service under memray; a Profile that says `skipped`, with the reason, where that cannot be.

    Of several services that is the one that the load goes to. The limit is raised by memray's own measured cost. No process
    records more than `capture_limit_bytes`. Raises as `measure` does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        interior = sandbox.interior(plan.target.service, directory.resolve())
        tracking = capture.prepare(interior, directory.resolve() / CAPTURE_FILE, capture_limit_bytes)
    except capture.CannotTrackError as reason:
        observer.notify(Note(text=f"{plan.name}: skipped: {reason}"))
        return Profile(variant=plan.variant or plan.name, status="skipped", reason=str(reason))
    result = measure(
        msgspec.structs.replace(
            plan,
            target=_with_command(plan.target, tracking.command, interior.directory, tracking.cost_bytes),
            limits=_raised(plan.limits, tracking.cost_bytes),
            cold=None if plan.cold is None else False,  # it explains heap, not the page cache
            settle_s=0.0,
            grace_s=_GRACE_S,
            capture=CAPTURE_FILE,
            capture_cost_bytes=tracking.cost_bytes,
        ),
        sandbox,
        directory,
        observer,
    )
    return RecordedPass(result, directory, tracking.capture)


def explain(recorded: RecordedPass, *, source_lines: bool, stop: threading.Event | None = None) -> Profile:
    """What held the memory in a recorded pass, with flame graphs; some 10 s of CPU time for a service with torch.

    Paths in the answer are relative to the pass's parent directory. `source_lines`: whether flame graphs may quote the
    service's source. `stop` ends it early. What cannot be read is said in the answer's `reason`; nothing is raised.
    """
    result, directory = recorded.result, recorded.directory
    captures = capture.captures(recorded.capture)
    with (
        ThreadPoolExecutor(max_workers=2) as pool,
        bounded.look(
            captures,
            killed=bool(result.oom_kills),
            victims=_victims(result),
            directory=Path(result.target.service.directory),
            stop=stop,
        ) as looking,
    ):
        chosen = looking.chosen()
        # Drawn by processes of their own while the look goes on.
        drawing = pool.submit(
            capture.flamegraphs,
            captures,
            directory,
            first=[chosen] if chosen else [],
            most=_GRAPHS_AT_MOST if looking.at == "peak" else 1,
            source_lines=source_lines,
        )
        together = pool.submit(_together, recorded, captures, PEAK if looking.at == "peak" else END)
        found = looking.found()
        drawn = drawing.result()
        processes, why_not = together.result()
    base, limits = directory.parent, result.target.service.limits or result.limits
    return Profile(
        variant=result.variant,
        status="recorded",
        reason="; ".join((*_cut(captures), *found.problems, *why_not, *drawn.left_out)),
        outcome=result.outcome,
        oom_kills=result.oom_kills or 0,
        limit_bytes=limits.memory_bytes if limits else None,
        capture_cost_bytes=result.capture_cost_bytes,
        captures=tuple(os.path.relpath(path, base) for path in captures),
        flamegraphs=tuple(os.path.relpath(path, base) for path in drawn.files),
        processes=os.path.relpath(processes, base) if processes else None,
        held_at=found.at,
        held=_worth_showing(found.held),
        ends=tuple(
            msgspec.structs.replace(end, capture=os.path.relpath(end.capture, base), held=_worth_showing(end.held))
            for end in found.ends
        ),
    )


def _together(recorded: RecordedPass, captures: Sequence[Path], at: str) -> tuple[Path | None, tuple[str, ...]]:
    """Stacks of all processes at one moment, written into a file, where there are several; or why there is none."""
    written = [path for path in captures if not capture.is_blank(path)]
    if len(written) < 2:
        return None, ()
    try:
        with capture.Folding(written, at) as folding:
            stacks = folding.result(_PROCESSES_S)
    except DataError as error:
        return None, (f"processes not shown together: {error.message}",)
    file = recorded.directory / PROCESSES_FILE
    own = recorded.result.target.service.directory
    stored_stacks.save(file, msgspec.structs.replace(stacks, directory=own))
    return file, ()


def _cut(captures: tuple[Path, ...]) -> list[str]:
    """A sentence on those whose recording ended before the process did."""
    why = {"limit": "it had reached its limit (--capture-limit)", "disk": "the disk had no more room for it"}
    said = []
    for path in captures:
        reason = capture.ended_early(path)
        if reason is not None:
            size = format_bytes(path.stat().st_size)
            said.append(f"{path.name} ends at {size}, as {why.get(reason, reason)}: what came later is missing")
    return said


def _victims(result: RunResult) -> tuple[int, ...]:
    """Whom the kernel killed, as the processes number themselves; empty where that is not known of all."""
    log = result.kernel_log
    if log is None or not log.own_pids or len(log.kills) != result.oom_kills:
        return ()
    return tuple(kill.pid for kill in log.kills)


def _worth_showing(held: tuple[HeldMemory, ...]) -> tuple[HeldMemory, ...]:
    """Without the crumbs, and without what no Python line answers for."""
    least = _CRUMB_SHARE * max((entry.bytes for entry in held), default=0)
    return tuple(entry for entry in held if entry.bytes >= least and entry.frame.file)


def _raised(limits: Limits, cost_bytes: int) -> Limits:
    return msgspec.structs.replace(limits, memory_bytes=_whole_pages(limits.memory_bytes + cost_bytes))


def _with_command(target: Target, command: tuple[str, ...], directory: str, cost_bytes: int) -> Target:
    """The target with `command` in the place of its first service's own, for whichever sandbox it runs in."""
    service = target.service
    service = msgspec.structs.replace(
        service,
        command=command,
        image=msgspec.structs.replace(service.image, command=command) if service.image else None,
        directory=directory,
        startup_timeout_s=_SLOWER_START * service.startup_timeout_s,
        limits=service.limits and _raised(service.limits, cost_bytes),
    )
    return msgspec.structs.replace(target, services=(service, *target.services[1:]))


def _whole_pages(size: int) -> int:
    return size - size % os.sysconf("SC_PAGE_SIZE")
