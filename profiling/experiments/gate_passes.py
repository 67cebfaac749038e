"""The memray passes of a gate: whether they are worth their time, and which lines of the repository they show. Pure, but for
a look at which files there are."""

from __future__ import annotations

from pathlib import Path

import msgspec

from profiling.differences import Difference, Row
from profiling.experiments.gate_verdict import judge, of_side, policy_of
from profiling.judging.regression import GROWTH, REST
from profiling.regressions import BASE, HEAD, Against, GateRecord, GateVerdict, GrownLine
from profiling.stacks import END

PASS_S = 4.0
"""Of load: what a line holds, and what it leaves behind, shows in the first few hundred answers."""
_STAYING = frozenset({REST, GROWTH})
_LINES = 20
_LEAST_SHARE = 0.01
_LEAST_BYTES = 16 * 1024
"""A line that grew by less is no news."""


def asks_for_passes(record: GateRecord, asked: bool | None) -> bool:
    """Whether both sides are to be run under memray. `asked`: what --profile or --no-profile said; None: neither, then
    they are where memory regressed, since only then somebody looks for a line."""
    if asked is False or record.against is not Against.BASE:
        return False
    failed = {side: any(run.failure for run in of_side(record, side)) for side in (BASE, HEAD)}
    killed = any(run.oom_kills for run in of_side(record, HEAD))
    if failed[BASE] or (failed[HEAD] and not killed) or not (of_side(record, BASE) and of_side(record, HEAD)):
        return False  # the one that does not run would show as a difference of all that it lacks
    if asked:
        return True
    regressed = judge(record).verdict is GateVerdict.REGRESSED
    return regressed and (killed or bool(policy_of(record).confirmed(record.runs)))


def moment_of(record: GateRecord) -> str | None:
    """Which memory shows what regressed: the end of the process where only what stays did. None: as `diff` chooses."""
    confirmed = policy_of(record).confirmed(record.runs)
    return END if confirmed and confirmed <= _STAYING else None


def grown_lines(found: Difference, directory: Path, root: Path) -> tuple[GrownLine, ...]:
    """The lines that hold more in head, most first, each with where the repository has it. `directory`: head's own, `root`:
    the repository's."""
    grown = [row for row in found.lines if row.change_bytes > 0]
    least = max(_LEAST_BYTES, _LEAST_SHARE * max((row.change_bytes for row in grown), default=0))
    return tuple(
        GrownLine(path=_in_repository(row, directory, root), **msgspec.structs.asdict(row))
        for row in grown[:_LINES]
        if row.change_bytes >= least
    )


def _in_repository(row: Row, directory: Path, root: Path) -> str | None:
    """Where the line's file is, relative to the root: where it is not in the service's own directory, anywhere below."""
    if not row.file or not row.line:
        return None
    for file in (directory / row.file, root / row.file):  # an absolute path is what it is
        if file.is_file() and file.resolve().is_relative_to(root.resolve()):
            return file.resolve().relative_to(root.resolve()).as_posix()
    return None
