"""Runs the load in a Locust subprocess: (url, plan, request) -> request log.

Nothing that Locust itself writes is used. Locust is not imported here.
"""

import contextlib
import importlib.util
import os
import secrets
import signal
import site
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from loadtests.bodycheck import compile_body_check
from loadtests.plan import LoadEnd, LoadJob, LoadPlan, LoadStatus, LoadSummary, RequestTemplate
from loadtests.requestlog import count_records

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")

_JOB_VARIABLE: Final = "OOMPROOF_LOAD"  # the name that `recording` reads; not imported, it needs Locust
_LISTENER_RAISED: Final = 2  # Locust's exit code for a fault in an event listener, ours or the locustfile's
_STARTUP_ALLOWANCE_S: Final = 30.0
_END_ALLOWANCE_S: Final = 15.0
_POLL_S: Final = 0.02
_QUOTED_LINES: Final = 8
_QUOTED_BYTES: Final = 16_384


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
class _Files:
    log: Path
    status: Path
    output: Path
    job: Path
    home: Path
    """Empty, so that neither as home nor as working directory it offers Locust a config file."""

    @classmethod
    def within(cls, work_dir: Path, log: Path) -> Self:
        return cls(
            log=log,
            status=work_dir / "load-status.json",
            output=work_dir / "load-output.log",
            job=work_dir / "load-job.json",
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
        with self.log.open("ab"):
            pass

    def remove_private(self) -> None:
        with contextlib.suppress(OSError):
            self.job.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what a locustfile has written there stays
            self.home.rmdir()


class LoadProcess:
    """A Locust subprocess that carries out one plan.

    A context manager: on the way out the process and everything it started are gone.
    """

    def __init__(self, process: subprocess.Popen[bytes], plan: LoadPlan, files: _Files, release_fd: int | None) -> None:
        """Use `start`."""
        self._process = process
        self._plan = plan
        self._files = files
        self._release_fd = release_fd
        self._stop_asked = False
        self._overdue = False
        self._summary: LoadSummary | None = None
        self._deadline = None if release_fd is not None else self._new_deadline()

    @classmethod
    def start(
        cls,
        url: str,
        plan: LoadPlan,
        request: RequestTemplate,
        log_path: Path,
        work_dir: Path,
        *,
        locustfile: Path | None = None,
        hold: bool = False,
    ) -> Self:
        """Starts the load on the service at `url` (http or https, without a trailing path's slash).

        log_path     the request log, appended to (see `requestlog`)
        work_dir     made if missing; takes Locust's output and the files by which the two talk
        locustfile   users of somebody's own; `request` is then unused, plan and log are the same.
                     Locust's working directory is an empty one, so it finds its own files by
                     `Path(__file__)`.
        hold         prepare everything (about a second), but send nothing before `release`

        Raises LoadError.
        """
        _check_url(url)
        _check_locust()
        if locustfile is not None:
            locustfile = _check_locustfile(locustfile)
            if plan.rate is not None:
                raise LoadError(
                    f"the users of {locustfile} decide themselves when they send: a rate cannot be kept",
                    "leave out the rate or the locustfile",
                )
        elif request.expect_json_schema is not None:
            _check_schema(request.expect_json_schema)
        files = _Files.within(work_dir.absolute(), log_path.absolute())
        read_fd, release_fd = os.pipe() if hold else (None, None)
        try:
            files.prepare(
                LoadJob(
                    plan=plan,
                    request=request,
                    log_path=str(files.log),
                    status_path=str(files.status),
                    parent_pid=os.getpid(),
                    release_fd=read_fd,
                    custom_locustfile=locustfile is not None,
                )
            )
            with files.output.open("wb") as output:
                process = subprocess.Popen(
                    _command(url, locustfile),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=files.home,
                    env=_environment(files),
                    start_new_session=True,
                    pass_fds=() if read_fd is None else (read_fd,),
                )
        except BaseException as error:
            if release_fd is not None:
                os.close(release_fd)
            files.remove_private()
            if isinstance(error, OSError):
                raise LoadError(
                    f"cannot start the load or write its files: {error}", "choose a directory that is writable"
                ) from error
            raise
        finally:
            if read_fd is not None:
                os.close(read_fd)
        return cls(process, plan, files, release_fd)

    @property
    def pid(self) -> int:
        """Process id of Locust, which is also the id of its process group."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """True once Locust is loaded and would begin within milliseconds."""
        return self._status().ready

    @property
    def started_ns(self) -> int | None:
        """First moment of the plan in ns of CLOCK_MONOTONIC; None while it has not begun."""
        return self._status().started_ns

    def release(self) -> None:
        """Lets a load that was started with `hold` begin. Otherwise, or the second time, does nothing."""
        if self._release_fd is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it has died: `poll` will say so
            os.write(self._release_fd, b"g")
        self._close_release_fd()
        self._deadline = self._new_deadline()

    def poll(self) -> LoadSummary | None:
        """None while the load goes on, else the summary. Kills a process that is overdue.

        Raises LoadError if Locust ended before the load had begun and nobody had asked it to.
        """
        if self._summary is not None:
            return self._summary
        if not self._ended():
            if self._deadline is None or time.monotonic() < self._deadline:
                return None
            self._overdue = True
        self._reap()
        self._summary = self._summarise()
        return self._summary

    def wait(self, timeout: float | None = None) -> LoadSummary:
        """The summary, once the load has ended.

        Raises TimeoutError if it has not within `timeout` seconds (it goes on then), and LoadError as
        `poll` does. Without a timeout the plan's own length bounds the wait, once released.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        while (summary := self.poll()) is None:
            if limit is not None and time.monotonic() >= limit:
                raise TimeoutError(f"the load has not ended within {timeout} s")
            time.sleep(_POLL_S)
        return summary

    def stop(self) -> LoadSummary:
        """Ends the load now: requests in flight get the plan's `stop_timeout_s`, then everything is killed.

        Harmless if the load has ended by itself. Raises LoadError as `poll` does.
        """
        if self._summary is None and not self._ended():
            self._stop_asked = True
            self._signal(signal.SIGINT)
            allowed = time.monotonic() + self._plan.stop_timeout_s + _END_ALLOWANCE_S
            self._deadline = allowed if self._deadline is None else min(self._deadline, allowed)
        return self.wait()

    def kill(self) -> None:
        """Ends the process and its group at once, without a summary; the log keeps what is in it."""
        self._stop_asked = True
        self._reap()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _new_deadline(self) -> float:
        return (
            time.monotonic()
            + _STARTUP_ALLOWANCE_S
            + self._plan.duration_s
            + self._plan.stop_timeout_s
            + _END_ALLOWANCE_S
        )

    def _ended(self) -> bool:
        if self._process.returncode is not None:
            return True
        # Not reaped yet: as long as it is a zombie, its process group's id cannot be anybody else's.
        try:
            seen = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else in this process reaps whatever ends
            return True
        return seen is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._files.remove_private()
        self._close_release_fd()

    def _close_release_fd(self) -> None:
        if self._release_fd is not None:
            os.close(self._release_fd)
            self._release_fd = None

    def _status(self) -> LoadStatus:
        try:
            return msgspec.json.decode(self._files.status.read_bytes(), type=LoadStatus)
        except FileNotFoundError:
            return LoadStatus()

    def _summarise(self) -> LoadSummary:
        status = self._status()
        exit_code = self._process.returncode
        message = status.message
        if status.completed and exit_code in (0, _LISTENER_RAISED) and not self._overdue:
            ended = LoadEnd.FINISHED
        elif self._overdue:
            ended = LoadEnd.OVERDUE
            message = message or "the load generator did not end after the plan and was killed"
        elif self._stop_asked:
            ended = LoadEnd.STOPPED
        else:
            ended = LoadEnd.FAILED
            message = message or f"Locust ended with exit code {exit_code}: {self._last_line()}"
        if status.started_ns is None and ended is not LoadEnd.STOPPED:
            raise LoadError(
                f"Locust ended (exit code {exit_code}) before the load began:\n{self._last_lines()}",
                f"see {self._files.output} for all of its output",
            )
        return LoadSummary(
            ended=ended,
            exit_code=exit_code,
            records=count_records(self._files.log),
            started_ns=status.started_ns,
            ended_ns=status.ended_ns,
            cpu_share=status.cpu_share,
            task_errors=status.task_errors,
            message=message,
        )

    def _last_line(self) -> str:
        return (self._last_lines() or "no output").splitlines()[-1]

    def _last_lines(self) -> str:
        with self._files.output.open("rb") as output:  # of a long load it may be long
            output.seek(max(0, output.seek(0, os.SEEK_END) - _QUOTED_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-_QUOTED_LINES:])


def _command(url: str, locustfile: Path | None) -> list[str]:
    files = [str(LOCUSTFILE)] if locustfile is None else [str(LOCUSTFILE), str(locustfile)]
    return [
        sys.executable,
        *("-m", "locust"),
        *("--locustfile", ",".join(files)),
        "--headless",
        "--only-summary",
        *("--host", url.rstrip("/")),
        # Failed requests are the log's business; the exit code is to speak of Locust itself.
        *("--exit-code-on-error", "0"),
    ]


def _environment(files: _Files) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("LOCUST_")}
    return kept | {
        "HOME": str(files.home),
        # Locust itself may be installed below the real home.
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONUNBUFFERED": "1",
        _JOB_VARIABLE: str(files.job),
    }


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LoadError(f"{url!r} is not a URL that load can be put on", "give one like http://127.0.0.1:8000")


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
