"""What a gate would have said: its policy over runs that are drawn from a pool which was measured once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from profiling.experiments.gate import GateStep
from profiling.experiments.gate_verdict import judge, policy_of
from profiling.experiments.policy import Step, carry_out
from profiling.regressions import BASE, GateRecord, GateRun, GateVerdict, RunFigures, Side


class Replayed(NamedTuple):
    """One gate."""

    verdict: GateVerdict
    runs: int


def replay(
    base: Sequence[RunFigures],
    head: Sequence[RunFigures],
    rng: np.random.Generator,
    *,
    tolerance: float,
    growth_tolerance_bytes: float,
    max_turns: int,
) -> Replayed:
    """One gate on runs drawn at random, with replacement, from each side's pool."""
    record = GateRecord(
        base=Side(label="base"),
        head=Side(label="head"),
        tolerance=tolerance,
        growth_tolerance_bytes=growth_tolerance_bytes,
        max_turns=max_turns,
        warm=False,
    )
    runs: list[GateRun] = []

    def draw(step: Step) -> RunFigures:
        assert isinstance(step, GateStep)
        pool = base if step.variant == BASE else head
        found = pool[int(rng.integers(len(pool)))]
        runs.append(GateRun(side=step.variant, set=step.set, directory="", figures=found))
        return found

    carry_out(policy_of(record), draw)
    whole = msgspec.structs.replace(record, runs=tuple(runs))
    return Replayed(judge(whole).verdict, len(runs))
