"""The memray pass: a run of its own in which the service records its allocations. It explains; it never judges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from profiling.errors import DataError
from profiling.measuring import capture
from profiling.measuring.events import Note, Observer, PhaseStarted
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.values import Profile, Target

CAPTURE_FILE = "capture.bin"


def record_pass(
    plan: RunPlan, sandbox: Sandbox, directory: Path, observer: Observer, *, source_lines: bool
) -> Profile:
    """Run the plan's service under memray and say what held its memory; `skipped`, with the reason, where it cannot be.

    The limit is raised by memray's own measured cost. Paths in the answer are relative to `directory`'s parent.
    `source_lines`: whether flame graphs may quote the service's source. Raises as `measure` does.
    """
    service = plan.target.service
    directory.mkdir(parents=True, exist_ok=True)
    try:
        tracking = capture.prepare(
            service.command,
            environ={**os.environ, **service.env},
            directory=service.directory,
            capture=directory.resolve() / CAPTURE_FILE,
        )
    except capture.CannotTrackError as reason:
        observer.notify(Note(text=f"{plan.name}: skipped: {reason}"))
        return Profile(variant=plan.variant or plan.name, status="skipped", reason=str(reason))
    result = measure(
        msgspec.structs.replace(
            plan,
            target=_with_command(plan.target, tracking.command),
            limits=msgspec.structs.replace(
                plan.limits, memory_bytes=_whole_pages(plan.limits.memory_bytes + tracking.cost_bytes)
            ),
            cold=False,  # it explains heap, not the page cache
            capture=CAPTURE_FILE,
            capture_cost_bytes=tracking.cost_bytes,
        ),
        sandbox,
        directory,
        observer,
    )
    observer.notify(PhaseStarted(run=plan.name, phase="flame graphs"))
    found = capture.captures(tracking.capture)
    at: Literal["kill", "peak"] = "kill" if result.oom_kills else "peak"
    reasons = []
    try:
        held = capture.held(found, at, directory=Path(service.directory))
        if not held and at == "kill":  # killed before its first record was written
            at, held = "peak", capture.held(found, "peak", directory=Path(service.directory))
    except DataError as error:
        held = ()
        reasons.append(error.message)
    drawn = capture.flamegraphs(found, directory, source_lines=source_lines)
    base = directory.parent
    return Profile(
        variant=result.variant,
        status="recorded",
        reason="; ".join((*reasons, *drawn.left_out)),
        outcome=result.outcome,
        oom_kills=result.oom_kills,
        limit_bytes=result.limits.memory_bytes,
        capture_cost_bytes=tracking.cost_bytes,
        captures=tuple(os.path.relpath(path, base) for path in found),
        flamegraphs=tuple(os.path.relpath(path, base) for path in drawn.files),
        held_at=at,
        held=held,
    )


def _with_command(target: Target, command: tuple[str, ...]) -> Target:
    service = msgspec.structs.replace(target.service, command=command)
    return msgspec.structs.replace(target, services=(service,))


def _whole_pages(size: int) -> int:
    return size - size % os.sysconf("SC_PAGE_SIZE")
