"""An experiment is a policy: given what was done so far it says what to do next. One loop runs them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from profiling.values import Value

Result = TypeVar("Result")
Known_contra = TypeVar("Known_contra", contravariant=True)


class Step(Value, frozen=True, kw_only=True):
    """One run to make."""

    variant: str
    repeat: int = 1
    """Counted from 1."""
    profile: bool = False
    """A memray pass, which never judges, instead of a measured run."""
    cold: bool = True
    """Drop the service's files from the page cache first."""


class Policy(Protocol[Known_contra]):
    def next_step(self, done: Sequence[tuple[Step, Known_contra]]) -> Step | None:
        """What to run after `done`, given what came of it; None: that is all."""


def carry_out(policy: Policy[Result], do: Callable[[Step], Result]) -> list[tuple[Step, Result]]:
    """Run what the policy asks for, one after the other, until it has enough."""
    results: list[tuple[Step, Result]] = []
    while (step := policy.next_step(results)) is not None:
        results.append((step, do(step)))
    return results
