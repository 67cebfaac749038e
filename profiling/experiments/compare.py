"""`compare`: each variant under the same limits and the same load, repeats interleaved, memray passes last."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.experiments.policy import Step
from profiling.judging.report import AnalysedRun
from profiling.judging.verdict import is_stuck

Done = Sequence[tuple[Step, AnalysedRun | None]]

EXTRA_RUNS = 2
"""So many more runs, at most, of a variant that hung at the limit in all of its runs: that shows neither a kill nor a
survival, and on a fast disk it may take the kernel for ever to make up its mind. They keep the page cache, as a restart on
the same machine does: the service's code is then charged to its former life, and the kernel has none of it to take."""


class Compare:
    """The runs in turns (A B A B), so that a machine that slows down slows all variants; then one pass each."""

    def __init__(self, variants: Sequence[str], *, repeats: int = 1, profile: bool = True) -> None:
        """The last of `variants` is the candidate. Raises ValueError without variants, with one twice, or for fewer
        than one repeat."""
        if not variants or len(set(variants)) != len(variants):
            raise ValueError("a comparison needs variants, each named once")
        if repeats < 1:
            raise ValueError("a comparison needs at least one run of each variant")
        self._variants = tuple(variants)
        self._repeats = repeats
        self.planned = [Step(variant=name, repeat=turn) for turn in range(1, repeats + 1) for name in variants]
        # The candidate's first: what survives has more to draw, and it is drawn while the next pass runs.
        self.passes = [Step(variant=name, profile=True) for name in reversed(variants)] if profile else []

    def next_step(self, done: Done) -> Step | None:
        if len(done) < len(self.planned):
            return self.planned[len(done)]
        passes = [step for step, _ in done if step.profile]
        if not passes and (again := self._once_more(done)) is not None:
            return again
        return self.passes[len(passes)] if len(passes) < len(self.passes) else None

    def _once_more(self, done: Done) -> Step | None:
        for name in self._variants[:-1]:
            runs = [run for step, run in done if step.variant == name and run is not None]
            if runs and all(is_stuck(run) for run in runs) and len(runs) < self._repeats + EXTRA_RUNS:
                return Step(variant=name, repeat=len(runs) + 1, cold=False)
        return None
