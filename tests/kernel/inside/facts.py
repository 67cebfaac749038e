"""The experiments on cgroups of our own."""

from __future__ import annotations

import contextlib

from tests.kernel.inside import limits, memory, snapshots, texts, users, watching
from tests.kernel.inside.harness import CGROUPS, Facts, Report, processes, wait_until


def nothing_left() -> Facts:
    """After all others: cgroups and processes of theirs, once what was told to end has had its time."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not processes(), 10.0)
    return {"cgroups": [str(path) for path in CGROUPS.rglob("*") if path.is_dir()], "processes": processes()}


EXPERIMENTS = (
    *limits.EXPERIMENTS,
    *memory.EXPERIMENTS,
    *snapshots.EXPERIMENTS,
    *texts.EXPERIMENTS,
    *users.EXPERIMENTS,
    *watching.EXPERIMENTS,
    nothing_left,
)


def main() -> None:
    report = Report()
    for experiment in EXPERIMENTS:
        report.add(experiment.__name__, experiment)
    report.write()


if __name__ == "__main__":
    main()
