"""What a measurement does, while it does it: a live view on a terminal, else plain lines. On stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from profiling.measuring.events import (
    Event,
    ExperimentStarted,
    Note,
    Observer,
    PhaseStarted,
    RunFinished,
    RunsAhead,
    RunStarted,
    Tick,
)
from profiling.units import format_bytes, format_seconds
from reports.figures import rate
from reports.progress import Progress, phase_words
from reports.words import BAD, GOOD, OUTCOMES, UNSURE, kills, of_limit, printable, shorten

_STYLES = {GOOD: "green", BAD: "bold red", UNSURE: "yellow"}
_REFRESH_HZ = 4
_LINE_EVERY_S, _RARELY_S = 5.0, 600.0
_LINES_PER_FOLD = 10
"""The longer a phase lasts, the rarer its lines: so many until it has lasted about three times as long."""
_NAME_WIDTH = 36
_LONG_S = 600.0
"""From here on seconds say little."""


def make_observer(stream: TextIO, environ: Mapping[str, str]) -> AbstractContextManager[Observer]:
    """The view that suits `stream`: live on a terminal; plain lines in a pipe, in CI and on a dumb terminal.

    The terminal is as it was once the context is left, whatever ended it.
    """
    plain = not stream.isatty() or environ.get("CI") or environ.get("TERM") == "dumb"
    utf8 = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    if plain or not utf8:
        return PlainLines(stream)
    return LiveView(stream, colour=not environ.get("NO_COLOR"))


class PlainLines:
    """An observer that prints one line per phase, and at most one line of progress per phase every 5 s, ever more seldom the
    longer that takes, down to one in ten minutes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress = Progress()
        self._next_line_s = _LINE_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def notify(self, event: Event, /) -> None:
        self._progress.apply(event)
        match event:
            case ExperimentStarted():
                self._line(f"{event.title}: {', '.join(event.runs)}" if event.runs else event.title)
            case RunsAhead() if event.runs:
                many = len(event.runs)
                self._line(f"at least {many} more run{'s' if many > 1 else ''}")
            case RunStarted():
                self._line(f"{event.run}: {_plan(event)}")
            case PhaseStarted():
                self._next_line_s = _LINE_EVERY_S
                self._line(f"{_prefix(event.run)}{phase_words(event.phase)}")
            case Tick():
                if event.phase_elapsed_s >= self._next_line_s:
                    pause_s = min(_RARELY_S, max(_LINE_EVERY_S, event.phase_elapsed_s / _LINES_PER_FOLD))
                    self._next_line_s = event.phase_elapsed_s + pause_s
                    self._line(f"{_prefix(event.run)}{_state(event)}")
            case RunFinished():
                self._line(f"{event.run}: {_ending(event)}")
            case Note():
                self._line(event.text)

    def _line(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        line = printable(text)
        self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()


class LiveView:
    """An observer that keeps a few lines at the foot of a terminal; what is over scrolls up above them."""

    def __init__(self, stream: TextIO, *, colour: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(
            file=stream, force_terminal=True, no_color=not colour, highlight=False, markup=False, emoji=False
        )
        self._clock = clock
        self._started_s = clock()
        self._progress = Progress()
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=_REFRESH_HZ,
            transient=True,
            redirect_stdout=False,  # stdout belongs to the JSON document
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._started_s = self._clock()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def notify(self, event: Event, /) -> None:
        with self._lock:
            before = (self._progress.tick.oom_kills or 0) if self._progress.tick else 0
            self._progress.apply(event)
        match event:
            case RunFinished():
                self._console.print(_finished(event))
            case Note():
                self._console.print(Text(f"  {printable(event.text)}", style="dim"))
            case Tick() if (event.oom_kills or 0) > before:
                self._live.refresh()  # a kill is shown at once
            case _:
                pass

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(self._progress, self._console.width, self._clock() - self._started_s)


def draw(progress: Progress, width: int, elapsed_s: float) -> RenderableType:
    """The lines at the foot of the terminal; `elapsed_s` is seconds since the view began."""
    lines = [_head(progress, elapsed_s)]
    name = shorten(printable(progress.run), _NAME_WIDTH)
    if progress.phase or progress.run:
        lines.append(Text("▸ ", style="bold cyan").append(f"{name}  " if name else "", style="bold"))
        lines[-1].append_text(_phase(progress, max(10, min(30, width - 54))))
    tick = progress.tick
    if tick is not None:
        lines.append(_memory(tick, max(10, min(30, width - 54))))
        if tick.phase == "load" or tick.requests:
            lines.append(_load(tick))
        if tick.oom_kills:
            lines.append(Text(f"  ✗ {kills(tick.oom_kills)}, counted by the kernel", style="bold red"))
    if progress.waiting:
        waiting = ", ".join(shorten(printable(title), _NAME_WIDTH) for title in progress.waiting)
        lines.append(Text(f"  then {waiting}", style="dim"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Group(*lines)


def _head(progress: Progress, elapsed_s: float) -> Text:
    text = Text(printable(progress.title) or "oomproof", style="bold")
    if progress.total:
        number = min(progress.total, len(progress.finished) + (progress.current is not None))
        text.append(f"  run {number} of {progress.total}", style="not bold")
    text.append(f"  {format_seconds(float(round(elapsed_s)))}", style="not bold dim")
    remaining = progress.remaining_s
    if remaining is not None and remaining >= 1:
        text.append(f", about {format_seconds(float(round(remaining)))} to go", style="not bold dim")
    return text


def _phase(progress: Progress, width: int) -> Text:
    text = Text(phase_words(progress.phase) if progress.phase else "")
    tick, current = progress.tick, progress.current
    if tick is None:
        return text
    if progress.phase != "load" or current is None or current.planned_load_s <= 0:
        return text.append(f"  {format_seconds(float(round(tick.phase_elapsed_s)))}")
    share = min(1.0, tick.phase_elapsed_s / current.planned_load_s)
    text.append("  ").append("━" * round(share * width), style="cyan")
    text.append("─" * (width - round(share * width)), style="dim")
    if current.planned_load_s < _LONG_S:
        return text.append(f"  {tick.phase_elapsed_s:.0f} of {current.planned_load_s:.0f} s")
    passed, planned = (format_seconds(float(round(s))) for s in (tick.phase_elapsed_s, current.planned_load_s))
    return text.append(f"  {passed} of {planned}")


def _memory(tick: Tick, width: int) -> Text:
    text = Text("  memory  ", style="dim")
    if tick.unreclaimable_bytes is None:
        return text.append("not measured yet", style="not dim")
    if not tick.limit_bytes:
        text.append(f"{format_bytes(tick.unreclaimable_bytes)}, no limit", style="not dim")
    else:
        share = tick.unreclaimable_bytes / tick.limit_bytes
        full = max(0, min(width, round(share * width)))
        style = "red" if share > 0.9 else "yellow" if share > 0.75 else "green"
        text.append("█" * full, style=f"not dim {style}").append("░" * (width - full))
        text.append(f"  {of_limit(tick.unreclaimable_bytes, tick.limit_bytes)} ({share * 100:.0f} %)", style="not dim")
    if tick.charged_bytes is not None:
        text.append(f"  charged {format_bytes(tick.charged_bytes)}")
    return text


def _load(tick: Tick) -> Text:
    text = Text("  load    ", style="dim")
    text.append(f"{_users(tick.users)}, {tick.requests:,} requests, {rate(tick.rps)}/s, ", style="not dim")
    return text.append(f"{tick.failures:,} failed", style="not dim bold red" if tick.failures else "not dim")


def _finished(event: RunFinished) -> Text:
    sign = OUTCOMES[event.outcome]
    text = Text(f"{sign.symbol} ", style=_STYLES[sign.tone]).append(
        printable(event.run), style="not bold not dim default"
    )
    return text.append("  ").append(
        printable(_ending(event)), style=_STYLES[sign.tone] if sign.tone == BAD else "default"
    )


def _ending(event: RunFinished) -> str:
    parts = [OUTCOMES[event.outcome].word]
    if event.oom_kills:
        parts.append(kills(event.oom_kills))
    if event.peak_unreclaimable_bytes is not None:
        parts.append(f"peak {of_limit(event.peak_unreclaimable_bytes, event.limit_bytes)}")
    if event.requests is not None:
        answered = event.requests - event.failures
        parts.append(f"{answered:,} of {event.requests:,} answered" if event.requests else "nothing was sent")
    if event.reason:
        parts.append(event.reason)
    return ", ".join(parts)


def _plan(event: RunStarted) -> str:
    load = f", {_users(event.planned_users)} for {format_seconds(event.planned_load_s)}" if event.planned_users else ""
    if event.limits is None:
        return f"no limit ({event.sandbox}){load}"
    cpus = f" and {event.limits.cpus:g} CPUs" if event.limits.cpus is not None else ""
    return f"limit {format_bytes(event.limits.memory_bytes)}{cpus} ({event.sandbox}){load}"


def _state(tick: Tick) -> str:
    parts = [f"{phase_words(tick.phase)} {format_seconds(float(round(tick.phase_elapsed_s)))}"]
    if tick.unreclaimable_bytes is not None:
        parts.append(of_limit(tick.unreclaimable_bytes, tick.limit_bytes))
    if tick.phase == "load" or tick.requests:
        parts.append(f"{_users(tick.users)}, {tick.requests:,} requests, {rate(tick.rps)}/s, {tick.failures:,} failed")
    if tick.oom_kills:
        parts.append(kills(tick.oom_kills))
    return ", ".join(parts)


def _users(count: int) -> str:
    return f"{count:,} user{'s' if count != 1 else ''}"


def _prefix(run: str) -> str:
    return f"{run}: " if run else ""
