"""An experiment is a policy: given what was done so far it says what to do next. One loop runs them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from profiling.values import Value

Result = TypeVar("Result")


class Step(Value, frozen=True, kw_only=True):
    """One run to make."""

    variant: str
    repeat: int = 1
    """Counted from 1."""
    profile: bool = False
    """A memray pass, which never judges, instead of a measured run."""


class Policy(Protocol):
    def next_step(self, done: Sequence[Step]) -> Step | None:
        """What to run after `done`; None: that is all."""


def carry_out(policy: Policy, do: Callable[[Step], Result]) -> list[tuple[Step, Result]]:
    """Run what the policy asks for, one after the other, until it has enough."""
    results: list[tuple[Step, Result]] = []
    while (step := policy.next_step([done for done, _ in results])) is not None:
        results.append((step, do(step)))
    return results
