"""Started in a service's place: `ballast.py BYTES COMMAND ...` leaves a process that holds BYTES, and becomes the command.

The ballast is in place before the service starts, and is a process of its own, so that it weighs the same in any language. It
goes when the service has: it would be waited for, and no service is asked to end its neighbours.
Standard library only: it runs inside the limit.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time

_LOOK_S = 0.1


def main(size: int, command: list[str]) -> None:
    """Does not return. Raises OSError where the command cannot be started."""
    done, tell = os.pipe()
    service = os.getpid()
    if os.fork() == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        held = mmap.mmap(-1, max(size, mmap.PAGESIZE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for at in range(0, size, mmap.PAGESIZE):
            held[at] = 1
        os.close(tell)
        while os.getppid() == service:
            time.sleep(_LOOK_S)
        os._exit(0)
    os.close(tell)
    os.read(done, 1)  # ends when the other one has closed it
    os.close(done)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
