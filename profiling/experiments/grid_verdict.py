"""From the runs of a grid to which settings hold which load in how much memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from profiling.capacities import LimitedBy, LoadTrial
from profiling.experiments.grid import inferred
from profiling.grids import PRELOAD, THREADS, VARIANT, WORKERS, Cell, CellStatus, GridJudgement, GridRecord
from profiling.judgements import Claim
from profiling.units import format_bytes, format_number

_UNITS = {WORKERS: "worker", THREADS: "thread"}
_LIMITS = {
    LimitedBy.OOM: "memory",
    LimitedBy.LATENCY: "too slow",
    LimitedBy.ERRORS: "errors",
    LimitedBy.LOAD_GENERATOR: "load generator",
}
_LISTED = 3
"""So many settings are named in a sentence."""
_LINES = 12
"""So many have a line of their own below it."""


def judge(record: GridRecord, trials: Mapping[int, Sequence[LoadTrial]]) -> GridJudgement:
    """`trials`: the runs of each cell by its number; whatever ended early has fewer than were asked for."""
    known = inferred(record, trials)
    cells = tuple(
        _cell(record, number, trials.get(number, ()), known.get(number)) for number in range(len(record.cells))
    )
    status, sentence = _answer(record, cells)
    return GridJudgement(
        status=status,
        sentence=sentence,
        evidence=_evidence(record, cells),
        name=record.name,
        rate=record.rate,
        axes=record.axes,
        repeats=record.repeats,
        cells=cells,
    )


def _cell(record: GridRecord, number: int, runs: Sequence[LoadTrial], source: int | None) -> Cell:
    place = record.cells[number]
    telling = min(runs, key=lambda run: ("fail", "inconclusive", "pass").index(run.status), default=None)
    status = CellStatus.NOT_MEASURED if source is None else CellStatus.INFERRED
    why = "" if source is None else f"it can only be worse than {words_of(record, number=source)}"
    if telling is not None:
        why = telling.why
        short = len(runs) < record.repeats and telling.status == "pass"
        status = {"fail": CellStatus.FAILS, "pass": CellStatus.HOLDS}.get(telling.status, CellStatus.INCONCLUSIVE)
        if short:
            status, why = CellStatus.INCONCLUSIVE, f"{len(runs)} of {record.repeats} runs were made"
    return Cell(
        settings=place.settings,
        users=place.users,
        memory_limit_bytes=place.memory_bytes,
        status=status,
        run=None if telling is None else telling.run_dir,
        outcome=None if telling is None else telling.outcome,
        limited_by=telling.limited_by if telling is not None else None if source is None else LimitedBy.OOM,
        why=why,
        inferred_from=None if runs else source,
        passed=sum(run.status == "pass" for run in runs),
        made=len(runs),
        oom_kills=sum(run.oom_kills or 0 for run in runs),
        peak_unreclaimable_bytes=max(
            (run.peak_unreclaimable_bytes for run in runs if run.peak_unreclaimable_bytes is not None), default=None
        ),
        p95_ms=max((run.p95_ms for run in runs if run.p95_ms is not None), default=None),
        throughput=None if telling is None else telling.throughput,
    )


def claim(found: GridJudgement) -> Claim:
    """The answer in the words of a comparison: proved is that a setting is OOM-killed where another one holds."""
    if found.status != "pass":
        return Claim.CANDIDATE_FAILED if found.status == "fail" else Claim.INCONCLUSIVE
    return Claim.PROVED if any(cell.oom_kills for cell in found.cells) else Claim.BASELINE_SURVIVED


def shown(found: GridJudgement) -> tuple[int, ...]:
    """Numbers of the cells whose runs a page shows: one that holds the most in the least memory, and one that fails beside it."""
    best = _best(found.cells)
    if best is None:
        failed = [number for number, cell in enumerate(found.cells) if cell.run is not None]
        return tuple(failed[:1])
    beside = _beside(found.cells, found.cells[best])
    return (best,) if beside is None else (best, beside)


def _answer(record: GridRecord, cells: Sequence[Cell]) -> tuple[str, str]:
    missing = sum(cell.status is CellStatus.NOT_MEASURED for cell in cells)
    unsure = [cell for cell in cells if cell.status is CellStatus.INCONCLUSIVE]
    said = _headline(record, cells)
    if missing or unsure:
        silent = f"{missing + len(unsure)} of {len(cells)} cells"
        why = unsure[0].why if unsure else "it was ended early"
        return "inconclusive", f"Nothing can be said of {silent}: {why}.{f' So far: {said}' if said else ''}"
    if _best(cells) is None:
        reasons = ", ".join(dict.fromkeys(cell_word(cell) for cell in cells if cell.made))
        return "fail", f"None of {_cells(len(cells))} holds ({reasons})."
    return "pass", said


def _best(cells: Sequence[Cell]) -> int | None:
    """Number of the cell that holds the most users, of these the one in the least memory; None: none holds."""
    holding = [number for number, cell in enumerate(cells) if cell.status is CellStatus.HOLDS]
    return min(holding, key=lambda number: (-cells[number].users, cells[number].memory_limit_bytes), default=None)


def _beside(cells: Sequence[Cell], best: Cell) -> int | None:
    """Number of the failing cell that was run and differs least from `best`: other settings, then less memory, then more users."""

    def distance(number: int) -> tuple[bool, bool, int, int]:
        cell = cells[number]
        return (
            cell.users != best.users,
            cell.memory_limit_bytes != best.memory_limit_bytes,
            abs(cell.users - best.users),
            abs(cell.memory_limit_bytes - best.memory_limit_bytes),
        )

    failing = [number for number, cell in enumerate(cells) if cell.status is CellStatus.FAILS]
    return min(failing, key=distance, default=None)


def _headline(record: GridRecord, cells: Sequence[Cell]) -> str:
    """Which settings hold the most, in the least memory; empty where none holds anything."""
    number = _best(cells)
    if number is None:
        return ""
    best = cells[number]
    here = [c for c in cells if (c.users, c.memory_limit_bytes) == (best.users, best.memory_limit_bytes)]
    holding = [words(cell.configuration) or record.name for cell in here if cell.status is CellStatus.HOLDS]
    what = f"{load_words(record.rate, best.users)} in {format_bytes(best.memory_limit_bytes)}"
    if all(cell.status is CellStatus.HOLDS for cell in cells):
        return f"All {_cells(len(cells))} hold: {_subject(holding, here)} {_verb(holding)} {what}."
    failing = [cell for cell in here if cell.fails]
    if failing:
        reasons = ", ".join(dict.fromkeys(cell_word(cell) for cell in failing))
        others = [words(cell.configuration) or record.name for cell in failing]
        not_ = f"; {_subject(others, here)} {_verb(others, negated=True)} ({reasons})"
    else:
        beside = _beside(cells, best)
        not_ = "" if beside is None else f"; {_not_beside(record, cells[beside], best)}"
    return f"{_subject(holding, here)} {_verb(holding)} {what}{not_}."


def _not_beside(record: GridRecord, cell: Cell, best: Cell) -> str:
    what = words(cell.configuration)
    whose = f"{what}: " if what and cell.configuration != best.configuration else ""
    load = f"{load_words(record.rate, cell.users)} " if cell.users != best.users else ""
    memory = (
        f"in {format_bytes(cell.memory_limit_bytes)} " if cell.memory_limit_bytes != best.memory_limit_bytes else ""
    )
    return f"{whose}not {load}{memory}({cell_word(cell)})"


def _subject(names: Sequence[str], of: Sequence[Cell]) -> str:
    if len(names) > _LISTED:
        return f"{len(names)} of {len(of)} settings" if len(names) < len(of) else f"each of {len(names)} settings"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _verb(names: Sequence[str], *, negated: bool = False) -> str:
    several = 1 < len(names) <= _LISTED or (len(names) == 1 and _is_plural(names[0])) or len(names) > _LISTED
    if negated:
        return "do not" if several else "does not"
    return "hold" if several else "holds"


def _is_plural(name: str) -> bool:
    return name[0].isdigit() and not name.startswith("1 ")


def _evidence(record: GridRecord, cells: Sequence[Cell]) -> tuple[str, ...]:
    """For each configuration, how many users it holds in how much memory."""
    configurations = list(dict.fromkeys(cell.configuration for cell in cells))
    lines = [
        f"{words(each) or record.name}: {_held(record, [cell for cell in cells if cell.configuration == each])}"
        for each in configurations[:_LINES]
    ]
    rest = len(configurations) - _LINES
    return (*lines, f"and {rest} more below") if rest > 0 else tuple(lines)


def _held(record: GridRecord, cells: Sequence[Cell]) -> str:
    parts = []
    for memory in sorted({cell.memory_limit_bytes for cell in cells}):
        row = sorted((cell for cell in cells if cell.memory_limit_bytes == memory), key=lambda cell: cell.users)
        held = 0
        for cell in row:
            if cell.status is not CellStatus.HOLDS:
                break
            held = cell.users
        if held:
            parts.append(f"{load_words(record.rate, held)} in {format_bytes(memory)}")
        elif row[0].fails:
            parts.append(f"not {load_words(record.rate, row[0].users)} in {format_bytes(memory)}")
        else:
            parts.append(f"nothing is known in {format_bytes(memory)}")
    return ", ".join(parts)


def words(configuration: Sequence[tuple[str, str]]) -> str:
    """Settings as people say them: `2 workers, 4 threads, preload on, MALLOC_ARENA_MAX=2`."""
    return ", ".join(_setting(key, value) for key, value in configuration)


def _setting(key: str, value: str) -> str:
    if key in _UNITS:
        return f"{value} {_UNITS[key]}{'' if value == '1' else 's'}"
    if key == PRELOAD:
        return f"preload {value}"
    return value if key == VARIANT else f"{key}={value}"


def words_of(record: GridRecord, number: int) -> str:
    """A cell in words: its settings, load and limit."""
    cell = record.cells[number]
    load = f"{load_words(record.rate, cell.users)} in {format_bytes(cell.memory_bytes)}"
    return ", ".join(filter(None, (words(cell.configuration), load)))


def load_words(rate: float | None, users: int) -> str:
    """`64 users`, or `5 requests/s`."""
    if rate is not None:
        return f"{format_number(rate)} requests/s"
    return f"{users:,} user{'' if users == 1 else 's'}"


def cell_word(cell: Cell) -> str:
    """What came of a cell, in a word or two."""
    if cell.status is CellStatus.HOLDS:
        return "holds"
    if cell.status is CellStatus.NOT_MEASURED:
        return "not measured"
    if cell.status is CellStatus.INFERRED:
        return "inferred"
    if cell.oom_kills and cell.limited_by is LimitedBy.OOM:
        return "OOM-killed"
    reason = "" if cell.limited_by is None else _LIMITS[cell.limited_by]
    if cell.status is CellStatus.INCONCLUSIVE:
        return reason or "says nothing"
    return reason or "fails"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
