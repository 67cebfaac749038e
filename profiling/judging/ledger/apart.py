"""A pass's ledger by a process of its own: memray breaks on damaged captures, and that is to break this one."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import msgspec

from profiling.errors import DataError
from profiling.measuring.answering import Answering
from profiling.profiles import Ledger

_MODULE = "profiling.judging.ledger.apart"
_WITHIN_S = 300.0


def ledger_or_reason(directory: Path, stop: threading.Event | None = None) -> Ledger:
    """The ledger of the memray pass in `directory`; one without entries, but with the reason, where there is none. `stop`
    ends it early."""
    with Answering(_MODULE, str(directory.resolve())) as process:
        try:
            return msgspec.json.decode(process.answer(_WITHIN_S, stop), type=Ledger)
        except InterruptedError:
            return Ledger(reason="it was interrupted")
        except TimeoutError:
            return Ledger(reason=f"its captures were not replayed within {_WITHIN_S:g} s")
        except msgspec.MsgspecError:
            return Ledger(reason=f"memray broke off reading the captures ({process.how_it_ended()})")


def main() -> None:
    from profiling.judging.ledger.recorded import ledger_of

    try:
        ledger = ledger_of(Path(sys.argv[1]))
    except DataError as error:
        ledger = Ledger(reason=error.message)
    sys.stdout.buffer.write(msgspec.json.encode(ledger))


if __name__ == "__main__":
    main()
