"""One run on the engine that DOCKER_HOST names, as a process that a test can kill: says when the load is on."""

import sys
from pathlib import Path

from profiling.measuring.events import Event, Tick
from profiling.measuring.measure import measure
from profiling.measuring.sandboxes.containers.engine import connect
from profiling.measuring.sandboxes.containers.sandbox import ContainerSandbox
from tests.containers.services import SERVICES, contained
from tests.helpers import plan


class Announcer:
    said = False

    def notify(self, event: Event, /) -> None:
        if isinstance(event, Tick) and event.requests and event.unreclaimable_bytes and not self.said:
            self.said = True
            print("measuring", flush=True)


sandbox = ContainerSandbox(connect("docker"), [SERVICES], "a test", lambda text: None)
measure(plan(contained("ballast"), duration_s=60.0), sandbox, Path(sys.argv[1]), Announcer())
