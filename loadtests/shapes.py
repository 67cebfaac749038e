"""Makes Locust follow a load plan. Only for the Locust subprocess."""

import time
from collections import deque
from typing import Any

from locust import LoadTestShape
from locust.runners import MasterRunner

from loadtests.recording import session
from loadtests.session import Session

_MIN_STEP_S = 0.02  # a steeper ramp moves several users at once
_CHECK_INTERVAL_S = 0.25


class PlanShape(LoadTestShape):
    """Carries out the plan of the driven load, to the millisecond.

    Locust asks a shape once a second, which would turn a ramp into steps and let a plan of 2.5 s run
    for 3. So the only `tick` there is stays here until the plan is over and moves the users itself.
    Abstract, that is unused, where Locust was started by hand: there the user sets the users.
    """

    abstract = session() is None
    runner: Any

    def tick(self) -> None:
        """Returns None, which ends the load, once the plan is carried out or a stop was asked for."""
        current = session()
        if current is None or not current.wait_for_release():
            return
        start_ns = current.begin()
        completed = self._follow(current, start_ns)
        current.end(completed=completed)
        current.leave()

    def _follow(self, current: Session, start_ns: int) -> bool:
        """True if the plan came to its end, False if it was stopped before."""
        plan = current.job.plan
        changes = deque(plan.changes())
        target, lowered = 0, False
        while True:
            now_s = (time.monotonic_ns() - start_ns) / 1e9
            if now_s >= plan.duration_s:
                return True
            users = target
            while changes and changes[0][0] <= now_s:
                users = changes.popleft()[1]
            if users != target:
                lowered = lowered or users < target
                target = users
                self._set_users(target)
            elif lowered and self._settled() and self.runner.user_count != target:
                # Locust counts users that are only just leaving as its own, so that a rise soon after a
                # fall ends up short.
                self._set_users(target)
            next_s = min(changes[0][0] if changes else plan.duration_s, plan.duration_s)
            if lowered:
                next_s = min(next_s, now_s + _CHECK_INTERVAL_S)
            if current.stop_requested.wait(max(next_s - now_s, _MIN_STEP_S)):
                return False

    def _set_users(self, users: int) -> None:
        # A spawn rate of at least the difference makes Locust take one step instead of a ramp of its own.
        self.runner.start(users, spawn_rate=max(users, self.runner.user_count, 1))

    def _settled(self) -> bool:
        if isinstance(self.runner, MasterRunner):
            return not self.runner.clients.spawning
        spawning = self.runner.spawning_greenlet
        return spawning is None or bool(spawning.ready())
