"""The memray pass: a run of its own in which the service records its allocations. It explains; it never judges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from profiling.errors import DataError
from profiling.measuring import capture
from profiling.measuring.events import Note, Observer, PhaseStarted
from profiling.measuring.measure import RunPlan, measure
from profiling.measuring.sandboxes.base import Sandbox
from profiling.values import HeldMemory, Profile, Target

if TYPE_CHECKING:
    from profiling.measuring.capture.reading import Chosen

CAPTURE_FILE = "capture.bin"
_SLOWER_START = 3
"""Imports under the tracker take about twice their time."""
_GRAPHS_AT_MOST = 2
_CRUMB_SHARE = 0.01


def record_pass(
    plan: RunPlan, sandbox: Sandbox, directory: Path, observer: Observer, *, source_lines: bool
) -> Profile:
    """Run the plan's service under memray and say what held its memory; `skipped`, with the reason, where it cannot be.

    The limit is raised by memray's own measured cost. Paths in the answer are relative to `directory`'s parent.
    `source_lines`: whether flame graphs may quote the service's source. Raises as `measure` does.
    """
    from profiling.measuring.capture import reading  # memray itself: only where there is a pass

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
    reasons = []
    chosen: Chosen | None = None
    held: tuple[HeldMemory, ...] = ()
    try:
        chosen = _choose(found, killed=result.oom_kills > 0)
        held = () if chosen is None else _worth_showing(reading.held_in(chosen, directory=Path(service.directory)))
    except DataError as error:
        reasons.append(error.message)
    drawn = capture.flamegraphs(
        found,
        directory,
        first=[chosen.capture] if chosen else [],
        most=_GRAPHS_AT_MOST,
        source_lines=source_lines,
    )
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
        held_at=chosen.at if chosen else "peak",
        held=held,
    )


def _choose(captures: Sequence[Path], *, killed: bool) -> Chosen | None:
    """The killed process's capture where the kernel killed one and it had recorded anything, else the largest."""
    from profiling.measuring.capture import reading

    return (reading.choose(captures, "kill") if killed else None) or reading.choose(captures, "peak")


def _worth_showing(held: tuple[HeldMemory, ...]) -> tuple[HeldMemory, ...]:
    """Without the crumbs, and without what no Python line answers for."""
    least = _CRUMB_SHARE * max((entry.bytes for entry in held), default=0)
    return tuple(entry for entry in held if entry.bytes >= least and entry.frame.file)


def _with_command(target: Target, command: tuple[str, ...]) -> Target:
    service = msgspec.structs.replace(
        target.service, command=command, startup_timeout_s=_SLOWER_START * target.service.startup_timeout_s
    )
    return msgspec.structs.replace(target, services=(service,))


def _whole_pages(size: int) -> int:
    return size - size % os.sysconf("SC_PAGE_SIZE")
