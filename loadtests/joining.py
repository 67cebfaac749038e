"""Starts Locust workers that join a load elsewhere: they fetch users and plan from the master. No Locust in here."""

import contextlib
import os
import signal
import site
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

from loadtests.messages import BEGUN

_ROOT: Final = Path(__file__).parent.parent
_QUOTED_LINES: Final = 4
_DYING_S: Final = 5.0


class Joining:
    """The worker processes of this machine for one load. A context manager: on the way out they are gone."""

    def __init__(self, host: str, port: int, processes: int, work_dir: Path) -> None:
        """They go on asking at `host`:`port` until there is a load. `work_dir`: an empty directory for their files.

        Raises OSError.
        """
        self._output = work_dir / "locust.log"
        kept = {
            name: value for name, value in os.environ.items() if not name.upper().startswith(("LOCUST_", "OOMPROOF_"))
        }
        # Locust writes what it fetches into the directory for temporary files, by names that everybody can guess.
        environment = kept | {
            "HOME": str(work_dir),
            "TMPDIR": str(work_dir),
            "PYTHONPATH": str(_ROOT),
            "PYTHONUSERBASE": site.getuserbase(),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "locust", "--locustfile", "-", "--worker"]
        command += ["--master-host", host, "--master-port", str(port)]
        command += ["--processes", str(processes)] if processes > 1 else []
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=work_dir,
                env=environment,
                start_new_session=True,
            )

    @property
    def begun(self) -> bool:
        """Whether the load has begun."""
        return BEGUN.encode() in self._output.read_bytes()

    def poll(self) -> int | None:
        """Their exit status; None as long as they live."""
        return self._process.poll()

    @property
    def last_lines(self) -> str:
        """What Locust said last."""
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-_QUOTED_LINES:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Asked to go first, so that the master hears of it."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + _DYING_S
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
