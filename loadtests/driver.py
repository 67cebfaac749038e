"""Runs the load in a Locust subprocess: (url, plan, request) -> request log.

Nothing that Locust itself writes is used. Locust is not imported here.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from loadtests import launching
from loadtests.launching import LOCUSTFILE, STARTUP_ALLOWANCE_S, Files, LoadError
from loadtests.plan import LoadEnd, LoadJob, LoadPlan, LoadStatus, LoadSummary, RequestTemplate
from loadtests.requestlog import count_records, sort_by_end

__all__ = ["LOCUSTFILE", "LoadError", "LoadProcess"]

_LISTENER_RAISED: Final = 2  # Locust's exit code for a fault in an event listener, ours or the locustfile's
_END_ALLOWANCE_S: Final = 15.0
_POLL_S: Final = 0.02
_PARTING_S: Final = 4.0
"""So long a master may take to tell workers on other machines that it goes; Locust sleeps for two seconds in it."""
_QUOTED_LINES: Final = 8
_QUOTED_BYTES: Final = 16_384


class LoadProcess:
    """A Locust subprocess that carries out one plan.

    A context manager: on the way out the process and everything it started are gone.
    """

    def __init__(self, process: subprocess.Popen[bytes], plan: LoadPlan, files: Files, release_fd: int | None) -> None:
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
        locustfile = launching.check(url, plan, request, locustfile)
        files = Files.within(work_dir.absolute(), log_path.absolute())
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
                    launching.command(url, plan, files, locustfile),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=files.home,
                    env=launching.environment(files),
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
    def came(self) -> int:
        """Load workers that have come so far."""
        return self._status().came

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
        if self._plan.workers is not None and self._plan.workers.remote:
            self._let_workers_go()
        self.kill()

    def _let_workers_go(self) -> None:
        """They are told, else they take ten seconds to see that their master is gone, and the next load waits for them."""
        self._stop_asked = True
        limit = time.monotonic() + _PARTING_S
        if not self._ended():
            self._signal(signal.SIGINT)
        while not self._ended() and time.monotonic() < limit:
            time.sleep(_POLL_S)

    def _new_deadline(self) -> float:
        return (
            time.monotonic()
            + STARTUP_ALLOWANCE_S
            + (self._plan.workers.max_wait_s if self._plan.workers else 0.0)
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
            self._explain_missing_workers(status)
            raise LoadError(
                f"Locust ended (exit code {exit_code}) before the load began:\n{self._last_lines()}",
                f"see {self._files.output} for all of its output",
            )
        if status.workers:
            with contextlib.suppress(OSError):  # on a full disk: in the order of arrival they are as true
                sort_by_end(self._files.log)
        return LoadSummary(
            ended=ended,
            exit_code=exit_code,
            records=count_records(self._files.log),
            started_ns=status.started_ns,
            ended_ns=status.ended_ns,
            cpu_share=status.cpu_share,
            task_errors=status.task_errors,
            message=message,
            workers=status.workers,
        )

    def _explain_missing_workers(self, status: LoadStatus) -> None:
        """Raises LoadError if it is they for whom the load did not begin."""
        if status.message is not None:
            raise LoadError(status.message, f"see {self._files.output} for Locust's own output")
        workers, expected = self._plan.workers, self._plan.expected_workers
        if workers is None or not workers.remote or status.came >= expected:
            return
        raise LoadError(
            f"{status.came} of {expected} load workers came to {workers.address} within {workers.max_wait_s:g} s",
            f"start each with: {workers.command}",
        )

    def _last_line(self) -> str:
        return (self._last_lines() or "no output").splitlines()[-1]

    def _last_lines(self) -> str:
        with self._files.output.open("rb") as output:  # of a long load it may be long
            output.seek(max(0, output.seek(0, os.SEEK_END) - _QUOTED_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-_QUOTED_LINES:])
