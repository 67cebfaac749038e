"""From what a gate ran to its verdict and one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from profiling.experiments.gate import FIRST, SECOND, Gate
from profiling.judging.change_words import NAMES, changed, level
from profiling.judging.regression import PEAK, Tolerances, compare, heap, kills
from profiling.regressions import (
    BASE,
    HEAD,
    Against,
    GateJudgement,
    GateRecord,
    GateVerdict,
    MetricChange,
    MetricStatus,
    RunFigures,
)

Said = tuple[GateVerdict, str]


def policy_of(record: GateRecord) -> Gate:
    """The policy by which a recorded gate was run."""
    tolerances = Tolerances(record.tolerance, record.growth_tolerance_bytes)
    return Gate(tolerances, max_turns=record.max_turns, warm=record.warm, against=record.against, stored=record.stored)


def judge(record: GateRecord) -> GateJudgement:
    """The verdict on what was run. No data is inconclusive, never a pass."""
    gate = policy_of(record)
    metrics = _metrics(record, gate)
    verdict, sentence = _failed(record) or _over_budget(record) or _compared(record, gate, metrics)
    second = gate.turns_of(record.runs, SECOND)
    return GateJudgement(
        verdict=verdict,
        sentence=sentence,
        metrics=(*metrics, heap(*(_heaps(record, side) for side in (BASE, HEAD)))),
        confirmed_by_rerun=bool(gate.confirmed(record.runs)) if second else None,
        base=record.base,
        head=record.head,
        against=record.against,
        turns=gate.turns_of(record.runs, FIRST) + second,
        difference=record.difference,
        lines=record.lines,
        notes=(*record.notes, *_unmeasured_heap(record)),
    )


def of_side(record: GateRecord, side: str) -> list[RunFigures]:
    """The figures of all usable runs of a side, first starts included."""
    return [run.figures for run in record.runs if run.side == side and not run.figures.unusable]


def _heaps(record: GateRecord, side: str) -> list[int]:
    passes = [each for each in record.passes if each.side == side]
    return [each.peak_heap_bytes for each in passes if each.peak_heap_bytes is not None]


def _unmeasured_heap(record: GateRecord) -> list[str]:
    return [f"peak heap of {each.side} not measured: {each.reason}" for each in record.passes if each.reason]


def _metrics(record: GateRecord, gate: Gate) -> tuple[MetricChange, ...]:
    """Estimates and intervals from all runs that are compared, statuses from the sets that they were decided by."""
    if record.against is Against.BUDGET:
        return _of_head_alone(record, gate)
    counted = [run for run in record.runs if run.set and not run.figures.unusable and not run.figures.failure]
    base, head = ([run.figures for run in counted if run.side == side] for side in (BASE, HEAD))
    base += record.stored
    first = gate.set_of(record.runs, FIRST)
    statuses = {metric.name: metric.status for metric in gate.compare(first)}
    unconfirmed = gate.suspects(record.runs) - gate.confirmed(record.runs)
    found = [
        msgspec.structs.replace(
            metric, status=MetricStatus.UNCLEAR if metric.name in unconfirmed else statuses[metric.name]
        )
        for metric in compare(base, head, gate.tolerances, gate.level)
    ]
    return (found[0], kills([*of_side(record, BASE), *record.stored], of_side(record, HEAD)), *found[1:])


def _of_head_alone(record: GateRecord, gate: Gate) -> tuple[MetricChange, ...]:
    """Head's figures, which nothing is held against here: its budget is judged run by run."""
    head = gate.set_of(record.runs, FIRST).head
    found = (*compare((), head, gate.tolerances, gate.level), kills((), of_side(record, HEAD)))
    return tuple(msgspec.structs.replace(metric, status=MetricStatus.INFO, tolerance=None) for metric in found)


def _failed(record: GateRecord) -> Said | None:
    """Where one side did not serve to the end, there is nothing to compare."""
    base, head = (next((run.failure for run in of_side(record, side) if run.failure), "") for side in (BASE, HEAD))
    if head:
        return _head_failed(record, base, head)
    if not base:
        return None
    if over := _broken(record):
        return GateVerdict.OVER_BUDGET, f"Base does not hold ({base}), and head is over budget: {over}."
    if of_side(record, HEAD) and sum(run.oom_kills for run in of_side(record, BASE)):
        return GateVerdict.IMPROVED, f"Base does not hold under this load, and head does: {base}."
    return GateVerdict.INCONCLUSIVE, f"Nothing can be compared, since base does not hold: {base}."


def _head_failed(record: GateRecord, base: str, head: str) -> Said:
    if base:
        return GateVerdict.OVER_BUDGET, f"Neither side holds. Head: {head}. Base: {base}."
    if not of_side(record, BASE) and not record.stored:
        return GateVerdict.OVER_BUDGET, f"Head does not hold: {head}."
    return GateVerdict.REGRESSED, f"Head does not hold, and base does: {head}."


def _over_budget(record: GateRecord) -> Said | None:
    over = _broken(record)
    return (GateVerdict.OVER_BUDGET, f"Head is over its budget: {over}.") if over else None


def _broken(record: GateRecord) -> str:
    """What head broke of the absolute budget in more than half of its runs: one slow answer is no verdict."""
    runs = [run.figures for run in record.runs if run.side == HEAD and run.set and not run.figures.unusable]
    broken = [run.over_budget for run in runs if run.over_budget]
    return broken[0] if 2 * len(broken) > len(runs) else ""


def _compared(record: GateRecord, gate: Gate, metrics: Sequence[MetricChange]) -> Said:
    peak, turns = next(metric for metric in metrics if metric.name == PEAK), gate.turns_of(record.runs, FIRST)
    if not gate.is_answered(record.runs):
        why = next((run.figures.unusable for run in record.runs if run.figures.unusable), "it was ended early")
        return GateVerdict.INCONCLUSIVE, f"Nothing can be said after {turns} runs of each side: {why}."
    if not peak.head or (peak.status is MetricStatus.UNMEASURED and record.against is not Against.BUDGET):
        return GateVerdict.INCONCLUSIVE, "Nothing was measured that could be compared."
    if record.against is Against.BUDGET:
        return GateVerdict.PASS, f"Within its budget in {turns} runs: {NAMES[PEAK]} {level(peak, peak.head)}."
    return _regressed(record, gate, metrics, peak) or _not_regressed(record, gate, metrics, peak)


def _regressed(record: GateRecord, gate: Gate, metrics: Sequence[MetricChange], peak: MetricChange) -> Said | None:
    """What is, or may be, a regression."""
    confirmed = [metric for metric in metrics if metric.name in gate.confirmed(record.runs)]
    if confirmed and record.doubt:
        return GateVerdict.INCONCLUSIVE, f"More than in the baseline, but {record.doubt}: {_first(confirmed)}."
    if confirmed:
        return GateVerdict.REGRESSED, f"Memory regressed, confirmed by a second set of runs: {_first(confirmed)}."
    shown = gate.suspects(record.runs)
    if peak.status is MetricStatus.UNCLEAR and not shown and (peak.change or 0) > record.tolerance:
        runs = gate.turns_of(record.runs, FIRST)
        sentence = f"It may have regressed, but {runs} runs of each side do not show it: {_listed([peak])}."
        return GateVerdict.INCONCLUSIVE, sentence
    return None


def _not_regressed(record: GateRecord, gate: Gate, metrics: Sequence[MetricChange], peak: MetricChange) -> Said:
    suspects = gate.suspects(record.runs)
    unclear = [metric for metric in metrics if metric.status is MetricStatus.UNCLEAR]
    doubt = f" Too noisy to tell: {_listed(unclear)}." if unclear and not suspects else ""
    if suspects:
        again = ", ".join(NAMES[name] for name in sorted(suspects))
        doubt = f" A first set of runs said otherwise ({again}), and a second one did not confirm it."
    if improved := [metric for metric in metrics if metric.status is MetricStatus.IMPROVED]:
        return GateVerdict.IMPROVED, f"Memory improved: {_first(improved)}.{doubt}"
    return GateVerdict.PASS, f"No regression: {_listed([peak])}.{doubt}"


def _listed(metrics: Sequence[MetricChange]) -> str:
    return "; ".join(f"{NAMES[metric.name]} {changed(metric)}" for metric in metrics)


def _first(metrics: Sequence[MetricChange]) -> str:
    """The first of them, and how many more there are: the table has them all."""
    rest = len(metrics) - 1
    more = f", and {rest} more metric{'s' if rest > 1 else ''}" if rest else ""
    return _listed(metrics[:1]) + more
