"""What the Locust subprocess is started with: command, environment, files, and what is checked beforehand. No Locust in here."""

import contextlib
import importlib.util
import math
import os
import secrets
import site
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from loadtests import handed
from loadtests.bodycheck import compile_body_check
from loadtests.plan import LoadJob, LoadPlan, RequestTemplate
from loadtests.workers import Workers

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
STARTUP_ALLOWANCE_S: Final = 30.0
_JOB_VARIABLE: Final = "OOMPROOF_LOAD"  # the name that `recording` reads; not imported, it needs Locust
_LOOPBACK: Final = "127.0.0.1"


class LoadError(Exception):
    """The load could not be made: what happened, and what to do about it.

    Raised for a missing Locust, a locustfile that cannot be loaded, a request log that cannot be
    written. A service that answers badly or not at all is not an error but a result.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Files:
    """By which the driver and the subprocess talk."""

    log: Path
    status: Path
    output: Path
    job: Path
    handed: Path
    """For workers elsewhere, who fetch it with the locustfiles."""
    home: Path
    """Empty, so that neither as home nor as working directory it offers Locust a config file."""

    @classmethod
    def within(cls, work_dir: Path, log: Path) -> Self:
        return cls(
            log=log,
            status=work_dir / "load-status.json",
            output=work_dir / "load-output.log",
            job=work_dir / "load-job.json",
            handed=work_dir / f"load_job_{secrets.token_hex(4)}.py",
            home=work_dir / f"locust-home-{secrets.token_hex(4)}",
        )

    def prepare(self, job: LoadJob) -> None:
        """Raises OSError. Finds out now, not in the subprocess, whether the log can be written."""
        self.home.mkdir(parents=True)
        self.status.unlink(missing_ok=True)
        self.job.unlink(missing_ok=True)
        # Headers may hold credentials: for our eyes only, and gone with the process.
        with open(os.open(self.job, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(job))
        if job.plan.workers is not None and job.plan.workers.remote:
            nowhere = msgspec.structs.replace(job, log_path="", status_path="", parent_pid=0, release_fd=None)
            handed.write(self.handed, nowhere)
        with self.log.open("ab"):
            pass

    def remove_private(self) -> None:
        with contextlib.suppress(OSError):
            self.job.unlink(missing_ok=True)
            self.handed.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what a locustfile has written there stays
            self.home.rmdir()


def check(url: str, plan: LoadPlan, request: RequestTemplate, locustfile: Path | None) -> Path | None:
    """The locustfile, absolute, after a look whether all this can work. Raises LoadError."""
    _check_url(url)
    _check_locust()
    if plan.workers is not None and plan.workers.remote:
        _check_reachable(url)
        _check_bind(plan.workers)
    if locustfile is not None:
        locustfile = _check_locustfile(locustfile)
        if plan.rate is not None:
            raise LoadError(
                f"the users of {locustfile} decide themselves when they send: a rate cannot be kept",
                "leave out the rate or the locustfile",
            )
    elif request.expect_json_schema is not None:
        _check_schema(request.expect_json_schema)
    return locustfile


def command(url: str, plan: LoadPlan, files: Files, locustfile: Path | None) -> list[str]:
    locustfiles = [LOCUSTFILE] if locustfile is None else [LOCUSTFILE, locustfile]
    options: list[str] = []
    workers = plan.workers
    if workers is not None and workers.remote:
        # First, so that the users know what they are to do when they are imported.
        locustfiles.insert(0, files.handed)
        options = [
            "--master",
            *("--master-bind-host", workers.bind_host),
            *("--master-bind-port", str(workers.bind_port)),
            *("--expect-workers", str(workers.remote)),
            *("--expect-workers-max-wait", str(math.ceil(workers.max_wait_s))),
        ]
    elif plan.expected_workers:
        port = str(_free_port())
        options = [
            *("--processes", str(plan.expected_workers)),
            *("--master-bind-host", _LOOPBACK),
            *("--master-bind-port", port),
            *("--master-host", _LOOPBACK),
            *("--master-port", port),
            *("--expect-workers-max-wait", str(math.ceil(STARTUP_ALLOWANCE_S))),
        ]
    return [
        sys.executable,
        *("-m", "locust"),
        *("--locustfile", ",".join(str(path) for path in locustfiles)),
        "--headless",
        "--only-summary",
        *("--host", url.rstrip("/")),
        # Failed requests are the log's business; the exit code is to speak of Locust itself.
        *("--exit-code-on-error", "0"),
        *options,
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def environment(files: Files) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("LOCUST_")}
    return kept | {
        "HOME": str(files.home),
        # Locust itself may be installed below the real home.
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONUNBUFFERED": "1",
        # Locust's master would wait a second after each change of the users, for reports that nothing depends on.
        "LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP": "0.001",
        _JOB_VARIABLE: str(files.job),
    }


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LoadError(f"{url!r} is not a URL that load can be put on", "give one like http://127.0.0.1:8000")


def _check_reachable(url: str) -> None:
    host = str(urlsplit(url).hostname)
    if host in {"localhost", "::1"} or host.startswith("127."):
        raise LoadError(
            f"load workers on other machines cannot reach {url}, which is this machine alone",
            "give an address that they reach",
        )


def _check_bind(workers: Workers) -> None:
    """Locust would end with a message that nobody reads, or a traceback."""
    host = "" if workers.bind_host == "*" else workers.bind_host
    try:
        found = socket.getaddrinfo(host or None, workers.bind_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[0][4])
            # With that option a port in use may be bound, but not listened at.
            probe.listen()
    except OSError as error:
        raise LoadError(
            f"load workers cannot be awaited at {workers.address} ({(error.strerror or str(error)).lower()})",
            "name an address of this machine and a port that nothing listens on",
        ) from error


def _check_locust() -> None:
    if importlib.util.find_spec("locust") is None:
        raise LoadError(f"Locust is not installed for {sys.executable}", f"{sys.executable} -m pip install locust")


def _check_locustfile(path: Path) -> Path:
    path = path.absolute()
    if not path.is_file() or path.suffix != ".py":
        raise LoadError(f"there is no locustfile at {path}", "name an existing file that ends in .py")
    if "," in str(path):
        raise LoadError(f"Locust cannot load a file with a comma in its path: {path}", "rename or move it")
    return path


def _check_schema(schema: dict[str, Any]) -> None:
    try:
        compile_body_check(schema)
    except ValueError as error:
        raise LoadError(f"expect_json_schema is {error}", "correct the schema") from error
