"""Starts a service in a sandbox, prints its cgroup and waits to be killed. With `alone`: kills its own keeper first."""

import os
import signal
import sys
from pathlib import Path

from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits

sandbox = CgroupSandbox()
running = sandbox.run(
    ["/bin/sleep", "60"], directory=Path("/"), env={}, limits=Limits(memory_bytes=64 << 20), log=Path(os.devnull)
)
if sys.argv[1:] == ["alone"]:
    sandbox._keeper._process.kill()
    sandbox._keeper._process.wait()
print(running.source.directory, flush=True)
signal.pause()
