"""How much of a processor this process wanted: what it had, and what it had to wait for while others had it."""

import time
from pathlib import Path
from typing import Final

_SCHEDSTAT: Final = Path("/proc/self/schedstat")


def wanted_s() -> float:
    """Seconds in which the main thread ran or was ready to run, since its start.

    On a busy machine the time that it ran says little: a generator that gets half a core and wants a whole one is a
    bottleneck as well. Source: Documentation/scheduler/sched-stats.rst of Linux, `/proc/<pid>/schedstat`: ns spent on the
    CPU, ns spent waiting on a run queue. Where the kernel does not keep them, the time that the process ran.
    """
    try:
        ran_ns, waited_ns = _SCHEDSTAT.read_text().split()[:2]
        return (int(ran_ns) + int(waited_ns)) / 1e9
    except (OSError, ValueError):
        return time.process_time()
