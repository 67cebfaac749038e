"""Tries to start a service with more memory than this process itself may use, and prints what it is told."""

import sys
from pathlib import Path

from profiling.errors import NoLimitError
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits

sandbox = CgroupSandbox()
try:
    sandbox.run(
        ["/bin/true"], directory=Path(sys.argv[1]), env={}, limits=Limits(memory_bytes=128 << 20), log=None
    ).close()
except NoLimitError as error:
    print(error.message)
finally:
    sandbox.close()
