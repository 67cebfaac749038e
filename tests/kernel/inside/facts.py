"""Runs every experiment, each on its own, and writes what they found as one JSON document to the file that is named."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

from tests.kernel.inside import limits, memory, texts, users
from tests.kernel.inside.harness import CGROUPS, Facts, wait_until


def nothing_left() -> Facts:
    """After all others: cgroups and processes of theirs, once what was told to end has had its time."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not _processes(), 10.0)
    return {"cgroups": [str(path) for path in CGROUPS.rglob("*") if path.is_dir()], "processes": _processes()}


def _processes() -> dict[str, str]:
    """Command lines by process id, but for those of process 1 and our own. A thread of the kernel has none."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
            with contextlib.suppress(OSError):
                if command := Path(entry.path, "cmdline").read_bytes():
                    found[entry.name] = command.decode(errors="replace").replace("\0", " ")
    return found


EXPERIMENTS = (*limits.EXPERIMENTS, *memory.EXPERIMENTS, *texts.EXPERIMENTS, *users.EXPERIMENTS, nothing_left)


def main() -> None:
    facts: dict[str, Facts] = {}
    for experiment in EXPERIMENTS:
        began = time.monotonic()
        try:
            found = experiment()
        except BaseException:
            found = {"error": traceback.format_exc()}
        facts[experiment.__name__] = {**found, "took_s": time.monotonic() - began}
    Path(sys.argv[1]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
