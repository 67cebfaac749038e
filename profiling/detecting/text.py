"""Findings to the text of `oomproof.toml`: every value with the reason why it stands there."""

from __future__ import annotations

from collections.abc import Iterator

from profiling.detecting.findings import Findings, Found
from profiling.detecting.plain import one_line, toml, toml_key

CHECK, FILL_IN = "CHECK", "FILL IN"
_HEAD = """\
# The service of this directory, for `oomproof verify`. Written by `oomproof init`.
# Beside each value stands where it comes from. CHECK marks a guess, FILL IN what is needed and not known.
# `oomproof report --schema config` prints every key with its meaning.
"""
_LOAD = """\
[load]
users = 8                      # at the same time
# duration = "20s"             # the default; 10s for `oomproof gate`, which makes many runs
# rate = 50                    # open loop: requests per second that are due, whatever the answers

# [budget]                     # default: no kill, no crash, no failure, no growth, a warning under 10 % headroom
# min_headroom = "10%"
# max_p95 = "2s"

# [variants.NAME.env]          # what `oomproof compare` compares: one table each, the last one is the candidate
# WEB_CONCURRENCY = "1"
"""
_TABLES = ("target", "target.build_args", "target.env", "request", "request.expect")
_WIDTH = 120


def config_text(findings: Findings) -> str:
    """The whole file. It is valid TOML whatever the findings hold."""
    parts = [
        _HEAD
        + "".join(
            f"#\n# Note: {note}\n" if number == 0 else f"# Note: {note}\n" for number, note in enumerate(findings.notes)
        )
    ]
    for table in _TABLES:
        lines = list(_table(table, findings))
        if lines:
            parts.append("\n".join(lines) + "\n")
    return "\n".join([*parts, _LOAD])


def _table(table: str, findings: Findings) -> Iterator[str]:
    values = [found for found in findings.found if found.key.rpartition(".")[0] == table]
    aside = findings.aside.get(table, ())
    if not values and not aside:
        return
    if not values:
        yield from (f"# [{table}]", *(f"# {line}" for line in aside))
        return
    yield f"[{table}]"
    for found in values:
        yield from _line(found, findings)
    yield from (f"# {line}" for line in aside)
    if table == "target":
        yield '# startup_timeout = "60s"      # until `ready` answers with 2xx'


def _line(found: Found, findings: Findings) -> Iterator[str]:
    """`key = value  # source`, the source on a line of its own where both are too long, and what stands aside below."""
    name = toml_key(found.key.rpartition(".")[2])
    said = f"{name} = {toml(found.value)}"
    missing = any(entry.key == found.key for entry in findings.missing)
    mark = f"{FILL_IN}: " if missing else "" if found.sure else f"{CHECK}: "
    source = one_line(f"{mark}{found.source.removeprefix(f'{FILL_IN} ')}")
    if len(said) + len(source) + 4 <= _WIDTH:
        yield f"{said:<29}  # {source}"
    else:
        yield f"# {source}"
        yield said
    yield from (f"#   {line}" for line in findings.aside.get(found.key, ()))
