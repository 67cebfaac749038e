"""Looks into the captures of one pass, in a process of its own whose memory is bounded: `bounded.py` starts it.

    python -m profiling.measuring.capture.look < request.json

Prints lines of JSON (`Answer`): each is whole when it is there, so that whoever ends this process keeps what it found.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.measuring.capture.bounded import Answer, Request
from profiling.measuring.capture.head import ended_cleanly, ended_early, is_blank
from profiling.measuring.capture.reading import MAX_SEARCH_BYTES, Chosen, choose, held_in
from profiling.profiles import CaptureEnd

NOTHING_RECORDED = "it was killed before anything was recorded"


def answers(request: Request) -> Iterator[Answer]:
    """What `reading.held` finds, first of all for the process that it would choose. A capture that cannot be read is a
    problem, not an error."""
    started = time.monotonic()
    paths = [Path(path) for path in request.captures]
    directory = Path(request.directory)
    found = False
    if request.killed:
        died = [path for path in paths if not ended_cleanly(path) or ended_early(path)]
        yield from (Answer(end=_unread(path, NOTHING_RECORDED)) for path in died if is_blank(path))
        opened, left = yield from _opened(_likely(died, request.victims))
        if request.victims:
            # The first process's own, of which only its content tells the pid, may have ended in another way.
            opened = [pair for pair in opened if pair[1].pid in request.victims]
        for number, (chosen, end) in enumerate(opened):
            found = True
            at = "cut" if end.cut else "kill"
            if number == 0:
                yield Answer(chosen=str(chosen.capture), at=at)
            elif time.monotonic() > started + request.others_s:
                note = f"not read: looking at the others took more than {request.others_s:g} s"
                yield Answer(end=msgspec.structs.replace(end, note=note))
                continue
            held = held_in(chosen, directory=directory)
            if number == 0:
                yield Answer(held=held, at=at)
            yield Answer(end=msgspec.structs.replace(end, held=held))
        yield from (Answer(end=_unread(path, "not read: larger captures were looked at")) for path in left)
    if not found:
        try:
            peak = choose(paths, "peak")
        except DataError as error:
            yield Answer(problem=error.message)
            return
        if peak is not None:
            yield Answer(chosen=str(peak.capture), at="peak")
            yield Answer(held=held_in(peak, directory=directory), at="peak")


def _likely(died: Sequence[Path], victims: Sequence[int]) -> list[Path]:
    """The captures that a killed process may have left, largest first; the first process's own bears no pid."""
    candidates = [path for path in died if not is_blank(path)]
    pids = {path: _pid(path) for path in candidates}
    wanted = set(victims)
    if wanted:
        # A victim without a capture of its name is the first process, or none that recorded.
        unnamed = wanted - set(pids.values())
        candidates = [path for path in candidates if pids[path] in wanted or (unnamed and pids[path] is None)]
    return sorted(candidates, key=lambda path: path.stat().st_size, reverse=True)


def _opened(
    paths: Sequence[Path],
) -> Generator[Answer, None, tuple[list[tuple[Chosen, CaptureEnd]], list[Path]]]:
    """Generator that returns the captures that were opened, largest RSS at the end first, and those left alone."""
    opened: list[tuple[Chosen, CaptureEnd]] = []
    left: list[Path] = []
    searched = 0
    for path in paths:
        searched += path.stat().st_size
        if opened and searched > MAX_SEARCH_BYTES:
            left.append(path)
            continue
        try:
            chosen = choose([path], "kill", ended=True)
        except DataError as error:
            yield Answer(problem=error.message)
            continue
        if chosen is None:
            yield Answer(end=_unread(path, NOTHING_RECORDED))
            continue
        opened.append((chosen, _end(chosen)))
    opened.sort(key=lambda pair: pair[1].rss_bytes or 0, reverse=True)
    return opened, left


def _end(chosen: Chosen) -> CaptureEnd:
    last = None
    for snapshot in chosen.reader.get_memory_snapshots():
        last = snapshot
    return CaptureEnd(
        capture=str(chosen.capture),
        pid=chosen.reader.metadata.pid,
        last_ns=last.time * 1_000_000 if last else None,
        rss_bytes=last.rss if last else None,
        cut=ended_early(chosen.capture) is not None,
    )


def _unread(path: Path, note: str) -> CaptureEnd:
    return CaptureEnd(capture=str(path), pid=_pid(path), last_ns=None, rss_bytes=None, note=note)


def _pid(path: Path) -> int | None:
    suffix = path.name.rpartition(".")[2]
    return int(suffix) if suffix.isdecimal() else None


def main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    resource.setrlimit(resource.RLIMIT_DATA, (request.memory_bytes, request.memory_bytes))
    # Should whoever started it be killed, it ends all the same.
    resource.setrlimit(resource.RLIMIT_CPU, (request.cpu_s, request.cpu_s + 1))
    for answer in answers(request):
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
