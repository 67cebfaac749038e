"""`compare`: each variant under the same limits and the same load, repeats interleaved, memray passes last."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.experiments.policy import Step


class Compare:
    """The runs in turns (A B A B), so that a machine that slows down slows all variants; then one pass each."""

    def __init__(self, variants: Sequence[str], *, repeats: int = 1, profile: bool = True) -> None:
        """Raises ValueError without variants, with one twice, or for fewer than one repeat."""
        if not variants or len(set(variants)) != len(variants):
            raise ValueError("a comparison needs variants, each named once")
        if repeats < 1:
            raise ValueError("a comparison needs at least one run of each variant")
        self.steps = [Step(variant=name, repeat=turn) for turn in range(1, repeats + 1) for name in variants]
        if profile:
            self.steps += [Step(variant=name, profile=True) for name in variants]

    def next_step(self, done: Sequence[Step]) -> Step | None:
        return self.steps[len(done)] if len(done) < len(self.steps) else None
