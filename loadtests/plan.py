"""What load to put on a service, as frozen values and pure functions of time. No Locust in here."""

import heapq
import math
import random
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import msgspec

# By its full name: Locust's folder on the path is this file's.
from loadtests.workers import Workers, WorkerSummary

DEFAULT_QUERIES_PATH = Path(__file__).with_name("queries.txt")
"""The support questions that are asked when a template names no queries of its own."""

_MAX_USERS = 65_535  # the request log counts the active users in 16 bits
_PLACEHOLDER = re.compile(r"\{(session|query)\}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_seconds(name: str, value: float, *, zero_allowed: bool) -> None:
    _require(math.isfinite(value), f"{name} must be a finite number of seconds, not {value!r}")
    if zero_allowed:
        _require(value >= 0, f"{name} must not be negative, not {value!r}")
    else:
        _require(value > 0, f"{name} must be more than 0 seconds, not {value!r}")


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stretch of a load plan.

    `users` simultaneous users are reached linearly over the first `ramp_s` seconds, starting from the
    count of the stage before (0 for the first), and then held until `duration_s` seconds have passed.
    The duration includes the ramp.

    Raises ValueError on a count outside 1..65535, a duration that is not positive, or a ramp that is
    negative or longer than the stage.
    """

    users: int
    duration_s: float
    ramp_s: float = 0.0

    def __post_init__(self) -> None:
        _require(isinstance(self.users, int), f"users must be a whole number, not {self.users!r}")
        _require(1 <= self.users <= _MAX_USERS, f"users must be between 1 and {_MAX_USERS}, not {self.users!r}")
        _require_seconds("duration_s", self.duration_s, zero_allowed=False)
        _require_seconds("ramp_s", self.ramp_s, zero_allowed=True)
        _require(
            self.ramp_s <= self.duration_s,
            f"ramp_s ({self.ramp_s!r}) is part of duration_s and must not exceed it ({self.duration_s!r})",
        )


class LoadPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many users are active when, and how they behave.

    seed                      fixes which user asks which queries in which order, and the session ids
    think_time_s              pause of a user between an answer and its next request (closed loop)
    request_timeout_s         limit for one whole exchange, from the send to the last byte of the body
    stop_timeout_s            at the end, requests in flight get this long to finish
    connection_error_wait_s   pause of a user whose connection was refused or broken, so that a dead
                              port does not answer for thousands of instant requests
    rate                      None: closed loop, a user sends again once it was answered. A number: open
                              loop, that many requests per second in all are due at evenly spaced
                              times, sent by whichever user is free; `users` then bounds how many are
                              in flight. A request that finds no free user is sent late, and its
                              latency counts from the time it was due.
    workers                   None: one process sends it all. Else users and rate are shared out over so many

    Raises ValueError on no stages or on numbers that are negative, not finite or out of range.
    """

    stages: tuple[Stage, ...]
    seed: int = 1
    think_time_s: float = 0.0
    request_timeout_s: float = 30.0
    stop_timeout_s: float = 10.0
    connection_error_wait_s: float = 1.0
    rate: float | None = None
    workers: Workers | None = None

    def __post_init__(self) -> None:
        _require(len(self.stages) > 0, "a load plan needs at least one stage")
        _require_seconds("think_time_s", self.think_time_s, zero_allowed=True)
        _require_seconds("request_timeout_s", self.request_timeout_s, zero_allowed=False)
        _require_seconds("stop_timeout_s", self.stop_timeout_s, zero_allowed=True)
        _require_seconds("connection_error_wait_s", self.connection_error_wait_s, zero_allowed=True)
        if self.rate is not None:
            _require(
                math.isfinite(self.rate) and self.rate > 0,
                f"rate must be a positive, finite number of requests per second, not {self.rate!r}",
            )
            _require(
                self.think_time_s == 0,
                "rate (open loop) and think_time_s (closed loop) exclude each other: leave one out",
            )

    @classmethod
    def constant(
        cls,
        users: int,
        duration_s: float,
        *,
        ramp_s: float = 0.0,
        seed: int = 1,
        think_time_s: float = 0.0,
        request_timeout_s: float = 30.0,
        stop_timeout_s: float = 10.0,
        connection_error_wait_s: float = 1.0,
        rate: float | None = None,
    ) -> Self:
        """A plan of one stage: `users` users for `duration_s` seconds."""
        return cls(
            stages=(Stage(users, duration_s, ramp_s),),
            seed=seed,
            think_time_s=think_time_s,
            request_timeout_s=request_timeout_s,
            stop_timeout_s=stop_timeout_s,
            connection_error_wait_s=connection_error_wait_s,
            rate=rate,
        )

    @property
    def duration_s(self) -> float:
        """Length of all stages in seconds, without the time that requests in flight get at the end."""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def peak_users(self) -> int:
        """The largest number of simultaneous users."""
        return max(stage.users for stage in self.stages)

    @property
    def expected_workers(self) -> int:
        """Workers that share this load; 0: one process sends it all."""
        return self.workers.expected(self.peak_users) if self.workers else 0

    def users_at(self, t: float) -> int:
        """The number of users `t` seconds after the start; 0 before the start and from the end on.

        On the way up the k-th user starts at the beginning of its share of the ramp, so that a plan
        has load from its first moment; on the way down it leaves at the end of its share.
        """
        if t < 0:
            return 0
        before, start = 0, 0.0
        for stage in self.stages:
            if t < start + stage.duration_s:
                return _users_in_stage(before, stage, t - start)
            before, start = stage.users, start + stage.duration_s
        return 0

    def changes(self) -> Iterator[tuple[float, int]]:
        """Every moment at which `users_at` takes a new value: (seconds since the start, users).

        In order of time; the end of the plan, where the users leave, is not among them.
        """
        before, start = 0, 0.0
        for stage in self.stages:
            steps = abs(stage.users - before)
            up = stage.users > before
            for step in range(1, steps + 1):
                share = (step - 1 if up else step) / steps
                users = before + step if up else before - step
                yield start + stage.ramp_s * share, users
            before, start = stage.users, start + stage.duration_s


def _users_in_stage(before: int, stage: Stage, t: float) -> int:
    if t >= stage.ramp_s:
        return stage.users
    reached = (stage.users - before) * (t / stage.ramp_s)
    if stage.users > before:
        return min(stage.users, before + math.floor(reached) + 1)
    return max(stage.users, before + math.ceil(reached))


class RequestTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request that every user sends, and what counts as an answer.

    `{session}` and `{query}` in `path` and in any string value inside `json` are replaced, once:
    braces within a query stay as they are. In `path` the values are percent-encoded.

    queries               what to ask; empty: the questions in `DEFAULT_QUERIES_PATH`
    expect_status         the one status that is right; redirects are not followed, so 302 can be asked for
    expect_json_schema    a JSON Schema (draft 4, 6 or 7) for the body; None: any body is right

    Raises ValueError on a method, path, header or status that HTTP does not know.
    """

    method: str = "POST"
    path: str = "/chat"
    json: Any = msgspec.field(default_factory=lambda: {"session_id": "{session}", "query": "{query}"})
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    queries: tuple[str, ...] = ()
    expect_status: int = 200
    expect_json_schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _require(
            re.fullmatch(r"[A-Z]+", self.method) is not None,
            f"method must be an HTTP method in capitals such as POST, not {self.method!r}",
        )
        _require(self.path.startswith("/"), f"path must start with a slash, not {self.path!r}")
        _require(
            re.search(r"[\x00-\x20\x7f]", self.path) is None,
            f"path must not hold blanks or control characters: {self.path!r}",
        )
        for name, value in self.headers.items():
            _require(
                re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) is not None,
                f"{name!r} is not a valid header name",
            )
            _require(
                re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) is not None,
                f"the value of header {name!r} must be Latin-1 text on one line",
            )
        _require(
            100 <= self.expect_status <= 599,
            f"expect_status must be an HTTP status between 100 and 599, not {self.expect_status!r}",
        )


def substitute(value: Any, *, session: str, query: str) -> Any:
    """A copy of `value` (JSON-like) with the placeholders in its string values replaced.

    Keys and whatever is not a string are left alone. One pass: nothing inside `session` or `query` is
    replaced again.
    """
    if isinstance(value, str):
        return _fill(value, {"session": session, "query": query})
    if isinstance(value, dict):
        return {key: substitute(item, session=session, query=query) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [substitute(item, session=session, query=query) for item in value]
    return value


def substitute_path(path: str, *, session: str, query: str) -> str:
    """`path` with the placeholders replaced by percent-encoded values."""
    if "{" not in path:
        return path
    return _fill(path, {"session": quote(session, safe=""), "query": quote(query, safe="")})


def _fill(text: str, values: dict[str, str]) -> str:
    if "{" not in text:
        return text
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


def session_id(seed: int, user: int) -> str:
    """The session id of the `user`-th user (from 0) of a plan with this seed."""
    return f"load-{seed}-{user}"


def query_sequence(queries: tuple[str, ...], seed: int, user: int) -> Iterator[str]:
    """What the `user`-th user asks, for ever: the queries shuffled, then shuffled anew, and so on.

    The same seed and user give the same order, whatever the other users do.

    Raises ValueError where there are no queries.
    """
    _require(len(queries) > 0, "there must be at least one query to ask")
    # A string, since hash-based seeds differ from one process to the next.
    rng = random.Random(f"{seed}/{user}")
    while True:
        yield from rng.sample(queries, len(queries))


def read_queries(path: Path) -> tuple[str, ...]:
    """The queries in a UTF-8 text file, one a line; blank lines are left out.

    Raises OSError where the file cannot be read and ValueError where it holds no query or is not UTF-8.
    """
    queries = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    _require(len(queries) > 0, f"{path} holds no queries")
    return queries


class SendSchedule:
    """The times at which an open-loop plan's requests are due, handed out one by one.

    Evenly spaced at `rate` per second for `duration_s` seconds, the first at `start_ns`. Of several workers each has
    every `of`-th time, from the `rank`-th (from 0) on: together they have each time once.
    """

    def __init__(self, rate: float, duration_s: float, start_ns: int, rank: int = 0, of: int = 1) -> None:
        self._interval_ns = 1e9 / rate
        self._start_ns = start_ns
        self._count = max(1, math.ceil(rate * duration_s - 1e-9))
        self._next = rank
        self._step = of
        self._returned: list[int] = []

    def take(self) -> int | None:
        """The next due time in ns of CLOCK_MONOTONIC; None when all have been handed out."""
        if self._returned:
            return heapq.heappop(self._returned)
        if self._next >= self._count:
            return None
        due = self._start_ns + round(self._next * self._interval_ns)
        self._next += self._step
        return due

    def give_back(self, due_ns: int) -> None:
        """Whoever took this due time will not send: the next `take` hands it out again."""
        heapq.heappush(self._returned, due_ns)


class LoadEnd(StrEnum):
    """Why the load ended."""

    FINISHED = "finished"
    """The whole plan was carried out."""
    STOPPED = "stopped"
    """Somebody asked for it to stop before the end of the plan."""
    FAILED = "failed"
    """The load driver itself died or could not go on."""
    OVERDUE = "overdue"
    """The driver was killed: it had not ended well after the plan's end."""


class LoadSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the driver knows once the load is over. The requests themselves are in the request log.

    ended         why it ended
    exit_code     of the Locust process; negative: killed by that signal
    records       whole records in the request log; 0 means that nothing can be concluded
    started_ns    first moment of the plan, ns of CLOCK_MONOTONIC; None: it never began
    ended_ns      moment at which no new request was sent any more; None: unknown
    cpu_share     time in which the Locust process ran or was ready to / duration of the load, 1.0 = one whole core; None:
                  unknown. Near 1.0 the generator, not the service, limits the figures. Of several
                  processes the busiest one's.
    task_errors   exceptions raised by the users' own code (a fault in a locustfile, not in the service)
    message       one line on what went wrong, or None
    workers       who sent it, where it was shared out
    """

    ended: LoadEnd
    exit_code: int | None
    records: int
    started_ns: int | None = None
    ended_ns: int | None = None
    cpu_share: float | None = None
    task_errors: int = 0
    message: str | None = None
    workers: tuple[WorkerSummary, ...] = ()

    @property
    def nothing_sent(self) -> bool:
        """True if not a single request was recorded: never a pass, whatever the exit code."""
        return self.records == 0


class LoadJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the driver hands to the Locust process, as JSON in the file that OOMPROOF_LOAD names."""

    plan: LoadPlan
    request: RequestTemplate
    log_path: str
    status_path: str
    parent_pid: int
    release_fd: int | None = None
    custom_locustfile: bool = False


class LoadStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the Locust process tells the driver, as JSON in `LoadJob.status_path`; replaced as a whole.

    `came`: workers that have said who they are.
    """

    ready: bool = False
    started_ns: int | None = None
    ended_ns: int | None = None
    completed: bool = False
    cpu_share: float | None = None
    task_errors: int = 0
    message: str | None = None
    came: int = 0
    workers: tuple[WorkerSummary, ...] = ()
