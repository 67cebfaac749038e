"""The services of one run at work: one, or several as one system, each under limits of its own."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from profiling.errors import SamplerError
from profiling.measuring import store
from profiling.measuring.readiness import ask, claim_port, free_port, is_listening, means_ready
from profiling.measuring.sandboxes.base import Counters, Launch, Running, Sampling, Sandbox
from profiling.values import Limits, Service, ServiceResult, Target


class ServiceAtWork:
    """One service of a run: where it is, and what became of it so far."""

    def __init__(self, service: Service, limits: Limits, port: int, host: str, directory: Path) -> None:
        self.service = service
        self.limits = limits
        self.port = port
        self.host = host
        self.directory = directory
        self.running: Running | None = None
        self.sampling: Sampling | None = None
        self.listening_ns: int | None = None
        self.ready_ns: int | None = None
        self.answered: int | None = None
        """The last HTTP status of its `ready` path."""
        self.exit_status: int | None = None
        self.clean_end: bool | None = None
        self.counters = Counters(oom_kills=0, peak_charged_bytes=None)

    @property
    def samples(self) -> Path:
        return self.directory / store.SAMPLES_FILE

    @property
    def cgroup(self) -> str:
        """See `Running.cgroup`; empty before the start."""
        return self.running.cgroup if self.running is not None else ""

    def look(self) -> None:
        """Take in what the kernel says of it now. Raises as `Running.exit_status` does."""
        assert self.running is not None
        self.exit_status = self.running.exit_status()
        self.counters = self.running.counters()

    def ask_whether_ready(self) -> None:
        """Ask its `ready` path. Only once the port takes connections: a service that loads behind an open port lets whoever
        asks wait, and when it was opened could not be told any more."""
        if self.listening_ns is None:
            if not is_listening(self.host, self.port):
                return
            self.listening_ns = time.monotonic_ns()
        status = ask(self.host, self.port, self.service.ready)
        self.answered = status or self.answered
        if means_ready(status):
            self.ready_ns = time.monotonic_ns()

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and see whether it does. Raises as `Running.exit_status` does."""
        assert self.running is not None
        ended_by_itself = self.exit_status is not None
        self.counters = self.running.counters()
        clean = self.running.stop(grace_s)
        self.running.exit_status()
        self.clean_end = None if ended_by_itself else clean

    def close(self, grace_s: float) -> None:
        """Whatever happened: nothing stays behind, and the counters are read before the cgroup goes."""
        if self.running is not None:
            self.running.stop(grace_s)
            self.counters = self.running.counters()
            self.running.close()

    def result(self) -> ServiceResult:
        return ServiceResult(
            name=self.service.name,
            limits=self.limits,
            oom_kills=self.counters.oom_kills,
            kills_certain=self.counters.certain,
            engine_oom_flag=self.counters.engine_flag,
            exit_status=self.exit_status,
            ready_ns=self.ready_ns,
            listening_ns=self.listening_ns,
            kernel_peak_charged_bytes=self.counters.peak_charged_bytes,
            clean_end=self.clean_end,
            cgroup=self.cgroup,
        )


class System:
    """The services of a target, in its order: the first is the one that the load goes to."""

    def __init__(self, target: Target, limits: Limits, sandbox: Sandbox, directory: Path, port: int | None) -> None:
        """Files of one service lie in `directory` itself, those of several in a directory each. `port`: the first's; None:
        a free one. Raises PortTakenError."""
        self._sandbox = sandbox
        self._directory = directory
        self.parts: list[ServiceAtWork] = []
        for number, service in enumerate(target.services):
            place = directory / store.SERVICES_DIRECTORY / service.name if target.is_system else directory
            chosen = claim_port(port) if port and number == 0 else self._another_port()
            self.parts.append(
                ServiceAtWork(service, service.limits or limits, chosen, sandbox.host, store.make_directory(place))
            )

    def _another_port(self) -> int:
        taken = {part.port for part in self.parts}
        while (port := free_port()) in taken:
            pass
        return port

    @property
    def front(self) -> ServiceAtWork:
        return self.parts[0]

    def start(self, *, traced: bool) -> None:
        """Start all, the first last, since it may want to find the others. `traced`: the first runs under memray.

        Raises as `Sandbox.start` does; what was started before is closed by `close`.
        """
        places = self._places() if len(self.parts) > 1 else {}
        for part in reversed(self.parts):
            part.running = self._sandbox.start(
                Launch(
                    service=part.service,
                    limits=part.limits,
                    port=part.port,
                    directory=str(self._directory),
                    log=str(part.directory / "service.log"),
                    traced=traced and part is self.front,
                    places=places,
                )
            )

    def _places(self) -> dict[str, str]:
        return {
            f"{part.service.name}.{key}": value
            for part in self.parts
            for key, value in (
                ("host", part.host),
                ("port", str(part.port)),
                ("url", f"http://{part.host}:{part.port}"),
            )
        }

    def sample(self, hz: float) -> None:
        for part in self.parts:
            assert part.running is not None
            part.sampling = part.running.sample(part.samples, hz)

    def look(self) -> None:
        """Take in what the kernel says of each now. Raises as `Running.exit_status` does."""
        for part in self.parts:
            part.look()

    def ask_whether_ready(self) -> bool:
        """Whether each has been ready once."""
        for part in self.parts:
            if part.ready_ns is None:
                part.ask_whether_ready()
        return all(part.ready_ns is not None for part in self.parts)

    def ended(self) -> ServiceAtWork | None:
        """The first in order that has ended."""
        return next((part for part in self.parts if part.exit_status is not None), None)

    @property
    def cgroups(self) -> tuple[str, ...]:
        """Each service's, in order; see `Running.cgroup`."""
        return tuple(part.cgroup for part in self.parts)

    @property
    def counters(self) -> Counters:
        """All services' together. Peaks at different moments have no sum."""
        if len(self.parts) == 1:
            return self.front.counters
        each = [part.counters for part in self.parts]
        flags = {counters.engine_flag for counters in each}
        return Counters(
            oom_kills=sum(counters.oom_kills for counters in each),
            peak_charged_bytes=None,
            certain=all(counters.certain for counters in each),
            engine_flag=True if True in flags else flags.pop() if len(flags) == 1 else None,
        )

    @property
    def clean_end(self) -> bool | None:
        """False if any had to be killed; None if none was asked."""
        ends = {part.clean_end for part in self.parts}
        return False if False in ends else True if True in ends else None

    def stop(self, grace_s: float) -> None:
        """Ask each to end, in order. Raises as `Running.exit_status` does."""
        for part in self.parts:
            part.stop(grace_s)

    def stop_sampling(self) -> float | None:
        """End the samplers; answers with the CPU seconds that they used. Raises SamplerError if one ended badly."""
        used, problem = None, None
        for part in self.parts:
            if part.sampling is None:
                continue
            try:
                used = (used or 0.0) + float(part.sampling.stop()["cpu_s"])
            except SamplerError as error:
                problem = error
        if problem is not None:
            raise problem
        return used

    def close(self, grace_s: float) -> None:
        """Whatever happened: nothing stays behind."""
        with contextlib.ExitStack() as each:
            for part in self.parts:
                each.callback(part.close, grace_s)
