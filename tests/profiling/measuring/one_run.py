"""One run of a small service, as a process that a test can signal: prints the phase that the test waits for."""

import sys
from pathlib import Path

from profiling.errors import InterruptedRunError
from profiling.measuring.events import Event, PhaseStarted, Tick
from profiling.measuring.interrupts import interruptible
from profiling.measuring.measure import measure
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from tests.helpers import plan, target

directory, wanted = Path(sys.argv[1]), sys.argv[2]


class Announcer:
    said = False

    def notify(self, event: Event, /) -> None:
        begun = isinstance(event, Tick) and event.phase == wanted == "load" and event.requests
        entered = isinstance(event, PhaseStarted) and event.phase == wanted != "load"
        if (begun or entered) and not self.said:
            self.said = True
            print(wanted, flush=True)


with interruptible():
    sandbox = CgroupSandbox()
    try:
        measure(
            plan(target("ballast" if wanted != "stop" else "deaf"), duration_s=3.0), sandbox, directory, Announcer()
        )
    except InterruptedRunError as error:
        sys.exit(error.exit_code)
    finally:
        sandbox.close()
