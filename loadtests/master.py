"""The master's side of a load that is shared out: its workers, their clocks, their records. Only for the Locust subprocess."""

import contextlib
import logging
import os
import sys
import time
from typing import Any, Final, TypeVar

import gevent
import locust
import msgspec
from locust.rpc import Message
from locust.runners import STATE_MISSING

from loadtests import messages
from loadtests.clocks import KEPT, ClockEstimate
from loadtests.messages import Begin, Done, Hello, Probe, Records, packed, parsed
from loadtests.requestlog import RECORD_SIZE, brought_here
from loadtests.session import Session
from loadtests.workers import PROTOCOL, WorkerSummary

_POLL_S: Final = 0.01
_ACQUAINTANCE_S: Final = 15.0
"""A worker that Locust knows must say who it is, and tell its time, within so long."""
_FIRST_PROBES_S: Final = 0.01
_PROBES_S: Final = 1.0
_LAST_WORDS_S: Final = 5.0
"""After the plan's stop time-out a worker has so long to hand over what it has."""
_PARTING_S: Final = 0.1
_MAX_CLOCK: Final = 255

logger = logging.getLogger(__name__)
Kind = TypeVar("Kind")


class Member:
    """One worker, as the master knows it."""

    def __init__(self, node: str, hello: Hello, clock: int) -> None:
        """`clock`: its number in the log; 0 where it is this very clock."""
        self.node = node
        self.hello = hello
        self.clock = clock
        self.estimate = ClockEstimate()
        self.users = 0
        self.records = 0
        self.done: Done | None = None
        self.lost: str | None = None
        self.lost_users = 0
        self.lost_ns: int | None = None

    @property
    def at_work(self) -> bool:
        return self.done is None and self.lost is None

    @property
    def known(self) -> bool:
        """Whether enough is known of its clock to begin."""
        return self.clock == 0 or self.estimate.count >= KEPT

    def ahead_ns(self) -> int:
        """How far its clock is ahead of this one, as now known."""
        return 0 if self.clock == 0 else self.estimate.use()

    def summary(self) -> WorkerSummary:
        return WorkerSummary(
            host=self.hello.host,
            pid=self.hello.pid,
            records=self.records,
            cpu_share=self.done.cpu_share if self.done else None,
            clock=self.clock,
            clock_offset_ns=self.estimate.offset_ns if self.clock and self.estimate.count else 0,
            clock_error_ns=self.estimate.error_ns,
            lost=self.lost,
            lost_users=self.lost_users,
            lost_ns=self.lost_ns,
        )

    def __str__(self) -> str:
        return f"{self.hello.host} (process {self.hello.pid})"


class Master:
    """All workers of one load. See `session.Crew`."""

    def __init__(self, session: Session, environment: Any) -> None:
        self._session = session
        self._runner = environment.runner
        self._members: dict[str, Member] = {}
        self._closed = False
        self._begun = False
        self._clock = messages.clock_name()
        self._runner.register_message(messages.HELLO, self._on_hello)
        self._runner.register_message(messages.PROBE, self._on_probe)
        self._runner.register_message(messages.RECORDS, self._on_records)
        self._runner.register_message(messages.DONE, self._on_done)
        # Locust would give a latecomer users that others have; this load knows who shares it.
        self._handle = self._runner.handle_message
        self._runner.handle_message = self._guarded

    def gather(self) -> bool:
        """Blocks until all workers that Locust knows have said who they are. From then on nobody else may join."""
        deadline = time.monotonic() + _ACQUAINTANCE_S
        while not self._acquainted():
            if self._session.stop_requested.is_set():
                return False
            if time.monotonic() > deadline:
                self._give_up("a load worker connected, but did not say who it is: it is not one of this tool")
            gevent.sleep(_POLL_S)
        self._closed = True
        return True

    def begin(self, start_ns: int) -> None:
        """The plan has started."""
        self._begun = True
        for rank, member in enumerate(self._in_order()):
            begin = Begin(start_ns=start_ns + member.ahead_ns(), rank=rank, of=len(self._members))
            self._send(messages.BEGIN, begin, member)

    def look(self) -> None:
        """Who is still there. To be called a few times a second."""
        if not self._closed and self._session.stop_requested.is_set():
            self._give_up(None)
        workers = self._session.job.plan.workers
        for member in list(self._members.values()):
            if not member.at_work:
                continue
            client = self._runner.clients.get(member.node)
            if client is None and not self._closed and workers and workers.remote:
                # Others are still awaited, and it may come again. Locust lets go of it as well when they did not come in time,
                # and that is what there is to say then.
                del self._members[member.node]
                continue
            reason = self._ended(member)
            if reason is None and (client is None or client.state == STATE_MISSING):
                reason = "ended" if client is None else "was not heard of any more"
            if reason is not None:
                self._lose(member, reason)
            elif client is not None:
                member.users = client.user_count

    def finish(self) -> None:
        """Has all workers send nothing more, and blocks until they have reported or are lost."""
        for member in self._members.values():
            if member.at_work:
                self._send(messages.FINISH, None, member)
        deadline = time.monotonic() + self._session.job.plan.stop_timeout_s + _LAST_WORDS_S
        while any(member.at_work for member in self._members.values()):
            if time.monotonic() > deadline:
                for member in self._members.values():
                    if member.at_work:
                        self._lose(member, "did not report in the end")
                break
            self.look()
            gevent.sleep(_POLL_S)
        self._sum_up()
        self._runner.send_message("quit")

    def _acquainted(self) -> bool:
        members = self._members
        return (
            bool(members)
            and members.keys() >= set(self._runner.clients)
            and all(member.known for member in members.values())
        )

    def _in_order(self) -> list[Member]:
        """As Locust deals users out: one to each machine in turn, so that user k is the one with number k."""
        on_host: dict[str, int] = {}
        placed = []
        for node in sorted(self._members):
            host = node.split("_")[0]
            placed.append((on_host.get(host, 0), node))
            on_host[host] = on_host.get(host, 0) + 1
        return [self._members[node] for _, node in sorted(placed)]

    def _guarded(self, node: str, msg: Any) -> None:
        if self._closed and msg.type == "client_ready" and node not in self._members:
            quit_message = Message("quit", None, node)  # type: ignore[no-untyped-call]
            logger.warning("a worker came too late for this load: %s", node)
            self._runner.server.send_to_client(quit_message)
            return
        self._handle(node, msg)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        hello = self._parsed(msg, Hello)
        if hello is None or self._closed:
            return
        here, theirs = locust.__version__, hello.locust
        if hello.protocol != PROTOCOL:
            self._give_up(
                f"the load worker on {hello.host} is of another version of this tool"
                f" (it speaks protocol {hello.protocol}, this one {PROTOCOL})"
            )
        if here.split(".")[:2] != theirs.split(".")[:2]:
            self._give_up(f"the load worker on {hello.host} has Locust {theirs}, this machine has {here}")
        others = sum(member.clock > 0 for member in self._members.values())
        clock = 0 if hello.clock == self._clock else min(others + 1, _MAX_CLOCK)
        member = self._members[msg.node_id] = Member(msg.node_id, hello, clock)
        self._session.report(came=len(self._members))
        if clock:
            gevent.spawn(self._probe, member)

    def _probe(self, member: Member) -> None:
        while member.at_work:
            self._send(messages.PROBE, Probe(asked_ns=time.monotonic_ns()), member)
            gevent.sleep(_PROBES_S if member.known else _FIRST_PROBES_S)

    def _on_probe(self, msg: Any, **_: Any) -> None:
        now, member, probe = time.monotonic_ns(), self._members.get(msg.node_id), self._parsed(msg, Probe)
        if member is not None and probe is not None:
            member.estimate.add(probe.asked_ns, probe.theirs_ns, now)

    def _on_records(self, msg: Any, **_: Any) -> None:
        member, records = self._members.get(msg.node_id), self._parsed(msg, Records)
        if member is None or records is None:
            return
        for other in self._members.values():
            client = self._runner.clients.get(other.node)
            if other.lost is None and client is not None and client.state != STATE_MISSING:
                other.users = client.user_count  # as it last said that it has started or stopped some
        member.users = records.users
        others = sum(other.users for other in self._members.values() if other is not member)
        data = records.data[: len(records.data) // RECORD_SIZE * RECORD_SIZE]
        member.records += len(data) // RECORD_SIZE
        data = brought_here(data, ahead_ns=member.ahead_ns(), more_users=others, clock=member.clock)
        try:
            self._session.log.append_packed(data)
        except OSError as error:
            self._session.cannot_write(error)

    def _on_done(self, msg: Any, **_: Any) -> None:
        member, done = self._members.get(msg.node_id), self._parsed(msg, Done)
        if member is None or done is None:
            return
        member.done = done
        if done.records != member.records:
            self._lose(member, f"reported {done.records:,} requests, of which {member.records:,} arrived")

    def _parsed(self, msg: Any, kind: type[Kind]) -> Kind | None:
        try:
            return parsed(msg.data, kind)
        except msgspec.ValidationError as error:
            logger.warning("a message that is none of ours, from %s: %s", msg.node_id, error)
            return None

    def _ended(self, member: Member) -> str | None:
        """How a worker that this process has forked ended; None as long as it lives, or where it is none."""
        if member.clock or not self._session.job.plan.workers or self._session.job.plan.workers.remote:
            return None
        try:
            pid, status = os.waitpid(member.hello.pid, os.WNOHANG)  # gevent's, which has it reaped already
        except ChildProcessError:
            return "ended"
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit status {code}"

    def _lose(self, member: Member, reason: str) -> None:
        member.lost, member.lost_users, member.lost_ns = reason, member.users, time.monotonic_ns()
        member.users = 0
        logger.error("load worker %s %s", member, reason)
        self._session.report(workers=self._summaries())
        if not self._begun:
            self._give_up(f"the load worker on {member} {reason} before the load began")
        if not any(other.lost is None for other in self._members.values()):
            self._session.report(message=f"all load workers were lost; the last one {reason}")
            self._session.stop_requested.set()

    def _summaries(self) -> tuple[WorkerSummary, ...]:
        return tuple(member.summary() for member in self._in_order())

    def _sum_up(self) -> None:
        status, done = self._session.status, [m.done for m in self._members.values() if m.done is not None]
        shares = [d.cpu_share for d in done if d.cpu_share is not None]
        self._session.report(
            workers=self._summaries(),
            # Whichever process is busiest is the bottleneck, the master included.
            cpu_share=max([*shares, *([status.cpu_share] if status.cpu_share is not None else [])], default=None),
            task_errors=status.task_errors + sum(d.task_errors for d in done),
            message=next((text for text in (status.message, *(d.message for d in done)) if text), None),
        )

    def _send(self, kind: str, message: msgspec.Struct | None, member: Member) -> None:
        self._runner.send_message(kind, None if message is None else packed(message), member.node)

    def _give_up(self, message: str | None) -> None:
        """Ends the load before it began, workers first. Does not return."""
        if message is not None:
            logger.error("%s", message)
            self._session.report(message=message)
        for node in list(self._runner.clients):
            with contextlib.suppress(Exception):  # on the way out
                self._runner.send_message("quit", None, node)
        gevent.sleep(_PARTING_S)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if message is None else 1)
