"""One sentence on an OOM kill, from what is known of it and no more."""

from __future__ import annotations

from pathlib import PurePath

from profiling.autopsies import Kill, KilledProcess
from profiling.profiles import HeldMemory
from profiling.units import format_bytes, format_seconds

_A_PART = 0.1
"""A thread that holds less than this share of what the first one does is not counted among them."""
_ALIKE = 0.8
_MOST = 0.9
_TELLING = 0.25
"""Of the killed process's memory; a line that held less is not given as what filled it."""


def sentence(kill: Kill) -> str:
    """What was under way, and which line held how much: "4 requests were in flight: model.py:31 (load) held 4 × 90 MiB."."""
    when, held = _when(kill), _main_line(kill)
    whole = _process_bytes(kill)
    if held is None:
        return f"{when}: {_whom(kill)}."
    if kill.records_end_s is not None:
        before = format_seconds(round(kill.records_end_s, 1))
        return f"{when}; {before} before, when recording ended, {_line(held)} held {_amount(held)}."
    size = held.bytes - held.mapped_bytes or held.bytes
    if whole is not None and size < _TELLING * whole:
        return (
            f"{when}: no line held most of the {format_bytes(whole)}; the largest, {_line(held)}, held {_amount(held)}."
        )
    share = f" of {_whose(kill)} {format_bytes(whole)}" if whole is not None and size <= whole else ""
    return f"{when}: {_line(held)} held {_amount(held)}{share}."


def _when(kill: Kill) -> str:
    requests = kill.requests
    if requests is None:
        return "While it was watched" if kill.phase == "watch" else "Before the first request"
    if requests.count == 0:
        return "No request was in flight"
    return "1 request was in flight" if requests.count == 1 else f"{requests.count} requests were in flight"


def _main_line(kill: Kill) -> HeldMemory | None:
    return max(
        (held for held in kill.held if held.frame.file), key=lambda held: held.bytes - held.mapped_bytes, default=None
    )


def _process_bytes(kill: Kill) -> int | None:
    """What the killed process held, or, where the log does not say, the whole service's."""
    if kill.process is not None and kill.process.anon_rss_bytes is not None:
        return kill.process.anon_rss_bytes
    return kill.memory.anon_bytes if kill.memory else None


def _whose(kill: Kill) -> str:
    return "the process's" if kill.process is not None and kill.process.anon_rss_bytes is not None else "the service's"


def _whom(kill: Kill) -> str:
    process = kill.process
    known = process is not None and process.anon_rss_bytes is not None
    size = format_bytes(process.anon_rss_bytes) if process is not None and known else ""
    if process is None:
        memory = f" with {format_bytes(kill.memory.anon_bytes)} of anonymous memory" if kill.memory else ""
        return f"the kernel killed a process of a service{memory}"
    return f"the kernel killed {named(process)}" + (f", which held {size}" if known else "")


def named(process: KilledProcess) -> str:
    """A process by name and pid."""
    name = process.name or "a process"
    return f"{name} (pid {process.pid})" if process.pid is not None else name


def _line(held: HeldMemory) -> str:
    return f"{PurePath(held.frame.file).name}:{held.frame.line} ({_function(held)})"


def _function(held: HeldMemory) -> str:
    """The frame's function, or the one around it that has a name of its own: not `<listcomp>`."""
    name = held.frame.function
    if not name.startswith("<"):
        return name
    inside = [frame.function for frame in held.stack if frame.file == held.frame.file]
    return next((outer for outer in reversed(inside) if not outer.startswith("<")), name)


def _amount(held: HeldMemory) -> str:
    """`4 × 90 MiB (one for each of 4 threads)`: the size, and how it came about."""
    size = format_bytes(held.bytes)
    threads = [part for part in held.by_thread if part >= _A_PART * held.by_thread[0]]
    least, most = min(threads, default=0), max(threads, default=0)
    if len(threads) < 2:
        how = "one allocation" if held.allocations == 1 else f"{held.allocations:,} allocations"
    elif sum(threads) < _MOST * held.bytes:
        how = f"allocated by {len(held.by_thread)} threads"
    elif least >= _ALIKE * most:
        size = f"{len(threads)} × {format_bytes(sum(threads) / len(threads))}"
        how = f"one for each of {len(threads)} threads"
    else:
        how = f"{format_bytes(least)} to {format_bytes(most)} for each of {len(threads)} threads"
    if held.mapped_bytes >= _TELLING * held.bytes:
        how += f"; {format_bytes(held.mapped_bytes)} of it mapped, touched or not"
    return f"{size} ({how})"
