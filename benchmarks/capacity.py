"""Whether what `capacity` says holds: `python -m benchmarks.capacity` prints a Markdown table; twenty minutes or so.

Two services of tests/targets whose capacity is known by construction are searched several times each, with the memory limit set
half a user above what a known number of users needs, and with a service time that bounds the rate.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from profiling.units import MIB

_ROOT = Path(__file__).parents[1]
_TARGETS = _ROOT / "tests" / "targets"
_HOLD_MIB = 8
_USERS = 13
_WORK_MS = 50
_PAGE = 4096
_ENTRY = 8
"""Bytes of a page table for each page."""
_NARROW, _TOO_MUCH = 0.10, 0.05
"""How far apart both ends may stay; by how much more than it can do a service may be offered in a short load unnoticed."""

_OFF = 0.01
"""By what share the memory per user may be wrong."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=5, metavar="N", help="of each service (5)")
    parser.add_argument("--only", choices=("users", "rate"), help="one of the two")
    options = parser.parse_args()
    print("| | known | found, each search | |\n| --- | ---: | --- | --- |")
    reached = True
    with tempfile.TemporaryDirectory(prefix="oomproof-bench-") as scratch:
        if options.only != "rate":
            reached &= by_users(Path(scratch), options.searches)
        if options.only != "users":
            reached &= by_rate(Path(scratch), options.searches)
    return 0 if reached else 1


def by_users(scratch: Path, searches: int) -> bool:
    """What holds 8 MiB for each user, under a limit that is enough for 13 and a half."""
    # What a user costs a service that holds nothing (a thread, a connection) is its own to tell, by as many users.
    bare = _holding(scratch, 0.0039, 512 * MIB, "--max-users", str(_USERS + 1))["memory"]
    planted = _HOLD_MIB * MIB * (1 + _ENTRY / _PAGE) - _PAGE  # which that one holds
    each = bare["bytes_per"] + planted
    limit = round(bare["start_bytes"] + (_USERS + 0.5) * each)
    found = [_holding(scratch, _HOLD_MIB, limit, "--max-users", "64") for _ in range(searches)]
    ends = [(search["max_users"], search["first_failing"]) for search in found]
    held = sum(most == _USERS for most, _ in ends)
    next_to = sum(most is not None and abs(most - _USERS) <= math.ceil(_NARROW * _USERS) for most, _ in ends)
    _row(
        f"`holding.py`, {_HOLD_MIB} MiB a user: most users at {limit / MIB:.1f} MiB",
        str(_USERS),
        "; ".join(f"{_text(most)}, fails at {_text(failing)}" for most, failing in ends),
        f"right {held} of {searches}, within a tenth {next_to} of {searches} {_sign(next_to == searches)}",
    )
    by_memory = sum(search["limited_by"] == "oom" for search in found)
    _row("what limits it", "oom", ", ".join(str(s["limited_by"]) for s in found), _sign(by_memory == searches))
    lines = [search["memory"] for search in found if search["memory"] is not None]
    covered = sum(line["low"] <= each <= line["high"] for line in lines)
    off: float = max((abs(line["bytes_per"] / each - 1) for line in lines), default=1.0)
    _row(
        "memory per user, 95 % interval",
        f"{each / MIB:.3f} MiB",
        "; ".join(
            f"{line['bytes_per'] / MIB:.3f} ({line['low'] / MIB:.3f} to {line['high'] / MIB:.3f})" for line in lines
        ),
        f"covered {covered} of {searches}; at most {off:.2%} off {_sign(off <= _OFF)}",
    )
    return bool(next_to == by_memory == searches and off <= _OFF)


def by_rate(scratch: Path, searches: int) -> bool:
    """What works 50 ms on each request, one after the other, answers no more than 20 a second."""
    known = 1000 / _WORK_MS
    found = [
        _search(scratch, "one_by_one", {"WORK_MS": str(_WORK_MS)}, 128 * MIB, "--rate", "8", "--duration", "6s")
        for _ in range(searches)
    ]
    ends = [(search["max_rate"], search["first_failing"]) for search in found]
    good = sum(_brackets(most, failing, known) for most, failing in ends)
    _row(
        f"`one_by_one.py`, {_WORK_MS} ms a request: highest rate",
        f"{known:g}/s",
        "; ".join(f"{_text(most)}, fails at {_text(failing)}" for most, failing in ends),
        f"{good} of {searches} within the tenth of the search and the {_TOO_MUCH:.0%} of a short load {_sign(good == searches)}",
    )
    by_latency = sum(search["limited_by"] == "latency" for search in found)
    _row("what limits it", "latency", ", ".join(str(s["limited_by"]) for s in found), _sign(by_latency == searches))
    return bool(good == by_latency == searches)


def _brackets(most: float | None, failing: float | None, known: float) -> bool:
    if most is None or failing is None:
        return False
    return known * (1 - _NARROW) <= most <= known * (1 + _TOO_MUCH) and failing >= known * (1 - _TOO_MUCH)


def _holding(scratch: Path, mib: float, limit: int, *words: str) -> dict[str, Any]:
    """Requests that take 0.8 s, so that nearly all users are served at once all the time."""
    return _search(scratch, "holding", {"HOLD_MIB": str(mib), "HOLD_MS": "800"}, limit, "--duration", "4s", *words)


def _search(scratch: Path, script: str, env: dict[str, str], limit: int, *words: str) -> dict[str, Any]:
    """One search, with its JSON document."""
    variables = "".join(f"{key} = '{value}'\n" for key, value in env.items())
    (scratch / "oomproof.toml").write_text(
        f"[target]\nname = '{script}'\ncommand = [{json.dumps(sys.executable)}, '{script}.py']\n"
        f"directory = '{_TARGETS}'\nready = '/'\n[target.env]\n{variables}"
    )
    done = subprocess.run(
        [
            sys.executable,
            str(_ROOT / "cli.py"),
            "capacity",
            "--sandbox",
            "cgroup",
            "--json",
            "--memory",
            str(limit),
            *words,
        ],
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    if "error" in document:
        raise SystemExit(f"{document['error']['message']}\n{document['error']['hint']}")
    print(f"{script}: {document['sentence']}", file=sys.stderr, flush=True)
    return document


def _text(load: float | None) -> str:
    return "nothing" if load is None else f"{load:g}"


def _sign(good: bool) -> str:
    return "✓" if good else "✗"


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
