"""A pass's ledger by a process of its own: memray breaks on damaged captures, and that is to break this one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.measuring import own_process
from profiling.profiles import Ledger

_WITHIN_S = 300.0
_LOOK_S = 0.2


def ledger_or_reason(directory: Path, stop: threading.Event | None = None) -> Ledger:
    """The ledger of the memray pass in `directory`; one without entries, but with the reason, where there is none. `stop`
    ends it early."""
    process = subprocess.Popen(
        own_process.full_command(__name__, str(directory.resolve())),
        env=own_process.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what memray says of a torn capture is expected
        start_new_session=True,
    )
    deadline = time.monotonic() + _WITHIN_S
    try:
        said = None
        while said is None:
            if stop is not None and stop.is_set():
                return Ledger(reason="it was interrupted")
            if time.monotonic() > deadline:
                return Ledger(reason=f"its captures were not replayed within {_WITHIN_S:g} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = process.communicate(timeout=_LOOK_S)
    finally:
        process.kill()
        process.wait()
    try:
        return msgspec.json.decode(said, type=Ledger)
    except msgspec.MsgspecError:
        status = process.returncode
        how = signal.strsignal(-status) if status < 0 else f"exit status {status}"
        return Ledger(reason=f"memray broke off reading the captures ({how})")


def main() -> None:
    from profiling.judging.ledger.recorded import ledger_of

    try:
        ledger = ledger_of(Path(sys.argv[1]))
    except DataError as error:
        ledger = Ledger(reason=error.message)
    sys.stdout.buffer.write(msgspec.json.encode(ledger))


if __name__ == "__main__":
    main()
