"""What is said of imports, in whichever form."""

from __future__ import annotations

import shlex

from profiling.import_costs import ImportCosts, ImportsRun, LazyLine, ModuleCost
from profiling.units import format_bytes, format_seconds
from reports.words import BAD, GOOD, UNSURE, Sign, short_path

_SIGNS = {
    "pass": Sign("imports recorded", "✓", GOOD),
    "fail": Sign("imports failed", "✗", BAD),
    "skipped": Sign("nothing recorded", "?", UNSURE),
}


LAZY_WORDS = (
    "Measured: by how much less was imported in a start in which that statement was put off to the first use of what it"
    " binds. Computed: what nothing else that ran would have loaded. They overlap and do not add up."
)


def sign_of(costs: ImportCosts) -> Sign:
    return _SIGNS[costs.status]


def summary(run: ImportsRun, costs: ImportCosts) -> list[str]:
    """The result in a sentence, and what should be known of it."""
    if not costs.modules:
        return [f"{costs.name}: {costs.problem}"]
    what = f"The imports of {costs.name} hold {format_bytes(costs.total_anon_bytes)} of anonymous memory"
    lines = [f"{what} and {format_bytes(costs.total_file_bytes)} of files."]
    if costs.problem:
        lines.append(costs.problem)
    times = f"{format_seconds(round(costs.time_s, 2))} on a warm page cache"
    if costs.cold_time_s is not None:
        files = format_bytes(costs.cold_file_bytes)
        times += f", {format_seconds(round(costs.cold_time_s, 2))} on a cold one (then {files} of files)"
    lines.append(f"{len(costs.modules):,} modules, {times}")
    if costs.starts > 1:
        spread = f"{format_bytes(costs.total_low_bytes)} to {format_bytes(costs.total_high_bytes)}"
        lines.append(f"medians of {costs.starts} warm starts; anonymous memory in all starts: {spread}")
    lines.append(
        f"Python {costs.python} itself holds {format_bytes(costs.interpreter_anon_bytes)} before, which is not in this"
    )
    return [*lines, *costs.notes]


def where(run: ImportsRun) -> list[tuple[str, str]]:
    """What was run, and within what."""
    limit = f"limit {format_bytes(run.limit_bytes)}, so that nothing can take the machine"
    return [("program", shlex.join(run.command)), ("sandbox", f"{run.sandbox} ({run.sandbox_reason}); {limit}")]


def module_words(module: ModuleCost) -> str:
    """Where a module is asked for, and how its import ended if not well."""
    parts = []
    if module.error:
        parts.append(module.error)
    if module.statement:
        file, _, line = module.statement.rpartition(":")
        parts.append(f"{short_path(file, ())}:{line}")
    return ", ".join(parts)


def imported(line: LazyLine) -> str:
    """What a statement imports, in a few words."""
    first, *more = line.imports
    return f"{first} and {len(more)} more" if more else first


def modules(count: int) -> str:
    return f"{count:,} module{'s' if count != 1 else ''}"
