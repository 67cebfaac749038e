"""Who sends the load: this machine's processes or other machines', as values. No Locust in here."""

from typing import Final

import msgspec

PROTOCOL: Final = 1
"""Of the messages between master and workers. Both must have the same."""

MAX_WORKERS: Final = 1000


class Workers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many Locust workers share a load, and where they come from.

    processes     on this machine; 1: no master and no workers, one process does it all
    remote        on other machines: so many must come before the load begins, each started by hand there
    bind_host     address of this machine that remote workers connect to
    bind_port     TCP port there
    max_wait_s    how long remote workers are waited for

    Raises ValueError on counts outside 1..1000, both kinds at once, or remote workers with nowhere to connect to.
    """

    processes: int = 1
    remote: int = 0
    bind_host: str = ""
    bind_port: int = 0
    max_wait_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.processes <= MAX_WORKERS or not 0 <= self.remote <= MAX_WORKERS:
            raise ValueError(f"there can be at most {MAX_WORKERS} load workers")
        if self.remote and self.processes > 1:
            raise ValueError("load processes of this machine and workers of others exclude each other")
        if self.remote and not (self.bind_host and 0 < self.bind_port < 65_536):
            raise ValueError("remote workers need an address and a port to connect to")
        if not 0 < self.max_wait_s < float("inf"):
            raise ValueError("remote workers must be waited for a finite time")

    def expected(self, users: int) -> int:
        """Workers that a load of at most `users` users waits for; 0: it is sent by one process without a master.

        A process of this machine without a user would be idle, so that there are never more of them than users.
        """
        if self.remote:
            return self.remote
        processes = min(self.processes, users)
        return processes if processes > 1 else 0

    @property
    def address(self) -> str:
        """Where remote workers connect to."""
        return f"[{self.bind_host}]:{self.bind_port}" if ":" in self.bind_host else f"{self.bind_host}:{self.bind_port}"

    @property
    def command(self) -> str:
        """What starts a worker on another machine."""
        everywhere = self.bind_host in ("*", "0.0.0.0", "::")
        return f"oomproof load-worker {f'THIS-MACHINE:{self.bind_port}' if everywhere else self.address}"

    def __str__(self) -> str:
        return f"{self.remote} remote workers" if self.remote else f"{self.processes} load processes"


class WorkerSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one worker once the load is over.

    host              the name that its machine gives itself
    pid               process id there
    records           requests that it reported
    cpu_share         CPU time / duration of the load, 1.0 = one whole core; None: unknown, since it was lost
    clock             its number in the request log's `clock`; 0: its machine is this one, and so is its clock
    clock_offset_ns   its clock minus this machine's, already taken off its times
    clock_error_ns    bound of the error of its times, by half the quickest round trip and the drift between two looks
    lost              why it was lost before the end; None: it was there until the end
    lost_users        users that went with it
    lost_ns           when it was found to be lost, ns of CLOCK_MONOTONIC
    """

    host: str
    pid: int
    records: int
    cpu_share: float | None = None
    clock: int = 0
    clock_offset_ns: int = 0
    clock_error_ns: int = 0
    lost: str | None = None
    lost_users: int = 0
    lost_ns: int | None = None
