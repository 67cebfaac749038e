"""The tool's side: starts the checker's process, gives it its task, listens until it is done or out of time."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from loadtests.plan import RequestTemplate
from profiling.measuring import own_process
from profiling.measuring.openapi.document import NoDocumentError, fetch
from profiling.measuring.openapi.messages import Message, Ready, Task
from profiling.measuring.openapi.tally import Tally, shown_place
from profiling.measuring.readiness import is_ready
from profiling.values import ApiConformance, Target

EXAMPLES = 10
WINDOW_S = 3.0
TIMEOUT_S = 5.0
_START_S = 15.0
"""So long the process may take to load: it is begun early, and takes a second and a half."""
_SLACK_S = 2.0
_POLL_S = 0.05
_LINE_AT_MOST = 1 << 20
_MODULE = "profiling.measuring.openapi.asking"
_NOT_OF_THE_REQUEST = ("content-type", "content-length", "host", "transfer-encoding")
"""These headers of `[request]` belong to its own body and connection."""
_DECODER = msgspec.json.Decoder(Message)


def is_installed() -> bool:
    return importlib.util.find_spec("schemathesis") is not None


class Checker:
    """One check of one service. `start` early, `check` once the load is over, `close` in any case."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        """Use `start`."""
        self._process = process
        self._buffer = b""

    @classmethod
    def start(cls) -> Checker:
        """Begin to load schemathesis, where it is installed, in a process of its own: about 1.5 s of a core."""
        if not is_installed():
            return cls(None)
        process = subprocess.Popen(
            own_process.full_command(_MODULE),
            # Hypothesis would leave a cache in the working directory; hashes decide about the order of what is generated.
            env={
                **own_process.environment(),
                "HYPOTHESIS_STORAGE_DIRECTORY": f"{os.devnull}/none",
                "PYTHONHASHSEED": "0",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what matters is said on stdout; tracebacks there may quote headers
            cwd="/",
            start_new_session=True,
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return cls(process)

    def check(
        self,
        target: Target,
        host: str,
        port: int,
        *,
        alive: Callable[[], bool],
        window_s: float = WINDOW_S,
        timeout_s: float = TIMEOUT_S,
    ) -> ApiConformance:
        """Ask the service by its document. `alive` is called several times a second; False ends the check.

        Takes about `window_s`, and at most `timeout_s` more where the service hangs.
        """
        document = target.openapi
        assert document is not None
        headers = {
            name: value for name, value in target.request.headers.items() if name.lower() not in _NOT_OF_THE_REQUEST
        }
        tally = Tally(document, headers)
        try:
            text = fetch(document, host, port, headers, timeout_s)
        except NoDocumentError as error:
            state = "unusable" if error.unusable else "absent"
            return ApiConformance(
                place=shown_place(document), state=state, reason=tally.clean(str(error)), ready_after=alive()
            )
        if self._process is None:
            reason = "schemathesis is not installed"
            return ApiConformance(place=shown_place(document), state="not-installed", reason=reason)
        task = Task(
            document=text,
            file=Path(document.place).as_uri() if document.local else None,
            host=host,
            port=port,
            methods=document.methods,
            own=_own(target.request) if target.locustfile is None else None,
            headers=headers,
            examples=EXAMPLES,
            window_s=window_s,
            timeout_s=timeout_s,
        )
        broken_off = self._listen(task, tally, alive)
        ready = alive() and is_ready(host, port, target.service.ready, timeout_s=timeout_s)
        return tally.result(broken_off=broken_off, ready_after=ready)

    def _listen(self, task: Task, tally: Tally, alive: Callable[[], bool]) -> str | None:
        """Give it the task and add up what it says. Answers with why it did not come to its end, if it did not."""
        process = self._process
        assert process is not None and process.stdout is not None
        deadline = time.monotonic() + _START_S
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not tally.over:
                if not alive():
                    return None  # the service has ended, and that is told elsewhere
                if time.monotonic() > deadline:
                    return "it did not end in time"
                if not selector.select(_POLL_S):
                    continue
                messages = self._read()
                if messages is None:
                    return self._how_it_ended()
                for message in messages:
                    if isinstance(message, Ready):
                        self._tell(task)
                        deadline = time.monotonic() + task.window_s + task.timeout_s + _SLACK_S
                    tally.add(message)
        return tally.failed

    def _tell(self, task: Task) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: whoever listens finds out
            self._process.stdin.write(msgspec.json.encode(task) + b"\n")
            self._process.stdin.flush()

    def _read(self) -> list[Message] | None:
        """What has come whole; None: nothing more will."""
        assert self._process is not None and self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _LINE_AT_MOST:
            return None
        return [_DECODER.decode(line) for line in lines]

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            status = self._process.wait(_SLACK_S)
        except subprocess.TimeoutExpired:
            return "the checker said what is no message"
        return f"the checker ended by {f'signal {-status}' if status < 0 else f'itself, with exit status {status}'}"

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self._process = None


def _own(request: RequestTemplate) -> tuple[str, str]:
    return request.method, request.path
