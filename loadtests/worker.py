"""A worker's side of a load that is shared out: says who it is, takes its share, hands its records over.

Only for the Locust subprocess.
"""

import functools
import logging
import os
import socket
import time
from typing import Any, Final

import gevent
import locust
from locust import argument_parser
from locust.exception import RPCError

from loadtests import messages
from loadtests.messages import Begin, Done, Hello, Probe, Records, packed, parsed
from loadtests.pruning import prune
from loadtests.requestlog import FLUSH_INTERVAL_S, RECORD_SIZE
from loadtests.session import PRUNE_INTERVAL_S, Session
from loadtests.workers import PROTOCOL

_SILENT_MASTER_S: Final = 10.0
"""Without a heartbeat for so long the master is taken for dead. Locust waits a minute, in which the load would go on."""

logger = logging.getLogger(__name__)


class RecordSender:
    """Hands records to the master, at most `FLUSH_INTERVAL_S` after they were made. See `session.Sink`."""

    def __init__(self, runner: Any) -> None:
        self.sent = 0
        self._runner = runner
        self._pending = bytearray()
        self._flushed_at = time.monotonic()

    def append_packed(self, records: bytes) -> None:
        """Adds whole records."""
        self._pending += records
        if time.monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Sends what there is. What cannot be sent now is kept for the next time."""
        self._flushed_at = time.monotonic()
        data = bytes(self._pending)
        if not data:
            return
        try:
            self._runner.send_message(messages.RECORDS, packed(Records(data=data, users=int(self._runner.user_count))))
        except RPCError as error:
            logger.warning("records could not be sent yet: %s", error)
            return
        del self._pending[: len(data)]
        self.sent += len(data) // RECORD_SIZE

    def close(self) -> None:
        """Sends what there is."""
        self.flush()


class Worker:
    """Listens to the master."""

    def __init__(self, session: Session | None, environment: Any) -> None:
        """`session`: None where the master spoke another protocol and will only be told so."""
        self._session = session
        self._environment = environment
        self._runner = environment.runner
        # Locust builds its whole command line anew for each option in each word to start users: most of a second.
        argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
        argument_parser.default_args_dict()
        self._parent = os.getppid()
        self._sender = RecordSender(self._runner)
        if session is not None:
            session.attach(environment, sink=self._sender)
            self._runner.register_message(messages.PROBE, self._on_probe)
            self._runner.register_message(messages.BEGIN, self._on_begin)
            self._runner.register_message(messages.FINISH, self._on_finish, concurrent=True)
            gevent.spawn(self._watch)
        hello = Hello(
            protocol=PROTOCOL,
            locust=locust.__version__,
            host=socket.gethostname(),
            pid=os.getpid(),
            clock=messages.clock_name(),
        )
        self._runner.send_message(messages.HELLO, packed(hello))

    def _on_probe(self, msg: Any, **_: Any) -> None:
        probe = parsed(msg.data, Probe)
        answer = Probe(asked_ns=probe.asked_ns, theirs_ns=time.monotonic_ns())
        self._runner.send_message(messages.PROBE, packed(answer))

    def _on_begin(self, msg: Any, **_: Any) -> None:
        assert self._session is not None
        begin = parsed(msg.data, Begin)
        self._session.begin_at(begin.start_ns, begin.rank, begin.of)
        logger.info("%s: share %d of %d", messages.BEGUN, begin.rank + 1, begin.of)
        gevent.spawn(self._end_in_time, begin.start_ns)

    def _end_in_time(self, start_ns: int) -> None:
        """Ends by the plan, without waiting to be told: the word to end takes its time."""
        assert self._session is not None
        end_ns = start_ns + self._session.job.plan.duration_s * 1e9
        gevent.sleep(max(0.0, (end_ns - time.monotonic_ns()) / 1e9))
        self._session.end(completed=True)

    def _on_finish(self, **_: Any) -> None:
        session = self._session
        assert session is not None
        session.end(completed=True)
        self._runner.stop()  # users that wait go at once, those with a request in flight within the plan's stop time-out
        session.cut_all()
        self._sender.flush()
        status = session.status
        done = Done(
            records=self._sender.sent,
            cpu_share=status.cpu_share,
            task_errors=status.task_errors,
            message=status.message,
        )
        self._runner.send_message(messages.DONE, packed(done))

    def _watch(self) -> None:
        """Hands records over in time, and ends this process if the master is gone."""
        forked = bool(self._session and self._session.job.parent_pid)
        pruned_at = time.monotonic()
        while True:
            gevent.sleep(FLUSH_INTERVAL_S)
            if time.monotonic() - pruned_at > PRUNE_INTERVAL_S:
                prune(self._runner.stats)
                pruned_at = time.monotonic()
            self._sender.flush()
            heard = self._runner.last_heartbeat_timestamp
            silent = heard is not None and time.time() - heard > _SILENT_MASTER_S
            if silent or (forked and os.getppid() != self._parent):
                logger.error("the master is gone")
                os._exit(3)
