"""Several starts to one account, and the policy that asks for them: by value, without a kernel."""

from __future__ import annotations

from profiling.experiments.imports import Imports, ImportStep
from profiling.experiments.policy import carry_out
from profiling.import_costs import COLD, LAZY, WARM, ImportsRun, ImportStart
from profiling.judging.imports.blame import in_words
from profiling.judging.imports.costs import Recorded, costs
from profiling.values import Outcome, PageCache

from .test_tree import MIB, Tape, tree

RUN = ImportsRun(
    name="api", command=("python", "app.py"), directory="/app", sandbox="cgroup-v2", sandbox_reason="", limit_bytes=512 * MIB,
    created_at="",
)  # fmt: skip


def recorded(kind: str, big: int, outcome: Outcome = Outcome.COMPLETED, **more: object) -> Recorded:
    """A start in which `__main__` imports `big`, of so many MiB, and `mine`, its own, which imports `small` of 5 MiB."""
    tape = Tape()
    tape.loads("big", "__main__", 1, before=3, after=3 + big)
    tape.says("__main__", 2, "mine")
    tape.begin(3 + big, "mine", line=2)
    tape.loads("small", "mine", 7, before=4 + big, after=9 + big)
    tape.end(11 + big, "mine")
    tape.begin(11 + big, "nowhere", line=3)
    tape.end(11 + big, "nowhere", "ModuleNotFoundError")
    how = ImportStart(directory=kind, kind=kind, outcome=outcome, page_cache=PageCache.COLD, **more)  # type: ignore[arg-type]
    return Recorded(how, tree(tape))


def test_figures_are_the_warm_starts_medians_and_the_spread_is_everybodys() -> None:
    found = costs(RUN, [recorded(COLD, 50), recorded(WARM, 20), recorded(WARM, 24), recorded(WARM, 22)])
    big = next(module for module in found.modules if module.name == "big")
    assert (big.anon_bytes // MIB, big.anon_low_bytes // MIB, big.anon_high_bytes // MIB) == (22, 20, 50)
    assert (found.total_anon_bytes // MIB, found.total_high_bytes // MIB, found.starts) == (30, 58, 3)
    assert found.cold_time_s is not None
    assert [module.name for module in found.modules] == ["big", "mine", "small"], (
        "what was looked for in vain is left out"
    )


def test_without_a_warm_start_the_cold_ones_count() -> None:
    found = costs(RUN, [recorded(COLD, 50, Outcome.OOM_KILLED)])
    assert (found.status, found.total_anon_bytes // MIB, found.cold_time_s) == ("fail", 58, None)
    assert not found.complete


def test_packages_share_out_the_whole() -> None:
    found = costs(RUN, [recorded(WARM, 20)])
    assert {(package.name, package.anon_bytes // MIB, package.own, package.line) for package in found.packages} == {
        ("big", 20, False, "__main__.py:1"), ("mine", 3, True, "__main__.py:2"), ("small", 5, False, "mine.py:7"),
    }  # fmt: skip
    assert sum(package.anon_bytes for package in found.packages) == found.total_anon_bytes


def test_measured_savings_stand_before_computed_ones() -> None:
    put_off = recorded(LAZY, 1, lazy="/app/__main__.py:1")
    failed = recorded(LAZY, 20, Outcome.CRASHED, lazy="/app/__main__.py:2", said="TypeError: no")
    found = costs(RUN, [recorded(WARM, 20), put_off, failed])
    first, second, third = found.lazy
    assert (first.line, first.computed_anon_bytes // MIB, (first.measured_anon_bytes or 0) // MIB) == (
        "__main__.py:1",
        20,
        19,
    )
    assert (second.line, second.measured_anon_bytes, second.note) == (
        "__main__.py:2", None, "could not be put off: TypeError: no",
    )  # fmt: skip
    assert (third.line, third.computed_anon_bytes // MIB) == ("mine.py:7", 5)


def test_the_largest_are_named_in_a_sentence() -> None:
    found = costs(RUN, [recorded(WARM, 20)])
    assert in_words(found) == (
        "its imports hold 28 MiB: big 20 MiB (__main__.py:1), small 5 MiB (mine.py:7), mine 3 MiB (__main__.py:2)"
    )
    late = costs(RUN, [recorded(WARM, 20, Outcome.NEVER_READY, stop_reason="not ready within 10 s")])
    assert in_words(late).startswith("its imports hold at least 28 MiB")
    assert in_words(costs(RUN, [])) == "its imports could not be recorded: nothing was recorded"


def asked(policy: Imports, ending: Outcome = Outcome.COMPLETED) -> list[str]:
    def do(step: object) -> Recorded:
        assert isinstance(step, ImportStep)
        return recorded(step.variant, 20, ending, lazy=step.lazy)

    steps = [step for step, _ in carry_out(policy, do)]
    return [f"{step.directory} {step.lazy}" if step.lazy else step.directory for step in steps]  # type: ignore[attr-defined]


def test_cold_and_warm_starts_take_turns_and_the_largest_statements_follow() -> None:
    assert asked(Imports(repeats=2, cold=True, lazy=2)) == [
        "cold-1", "warm-1", "cold-2", "warm-2", "lazy-1 /app/__main__.py:1", "lazy-2 /app/__main__.py:2",
    ]  # fmt: skip
    assert asked(Imports(repeats=2, cold=False, lazy=0)) == ["warm-1", "warm-2"]


def test_what_does_not_end_well_is_not_made_again() -> None:
    for ending in (Outcome.CRASHED, Outcome.OOM_KILLED, Outcome.NEVER_READY):
        assert asked(Imports(repeats=3, cold=True, lazy=2), ending) == ["cold-1"]
