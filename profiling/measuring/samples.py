"""The sampler's record: fixed width, little endian, append-only. Read with NumPy, written with `struct`."""

from __future__ import annotations

import struct

FIELDS: tuple[tuple[str, str], ...] = tuple(
    (name, "<i8")
    for name in (
        "t_ns",  # CLOCK_MONOTONIC
        "charged",
        "anon",
        "file",
        "shmem",
        "kernel",
        "working_set",
        "unreclaimable",
        "rss",  # summed over the processes, at a lower rate; UNMEASURED before the first reading
        "pss",  # likewise
        "processes",
        "births",  # processes that appeared since the sampling began, cumulative
        "exits",  # processes that went, cumulative
        "oom_kills",  # the kernel's count, cumulative
        "refault_file",  # file pages read again after having been reclaimed, cumulative
        "pressure_full_us",  # µs in which everything that had work waited for memory, cumulative; UNMEASURED on v1
    )
)
"""(name, NumPy format) of each field, in order. Bytes unless said otherwise."""

RECORD = struct.Struct(f"<{len(FIELDS)}q")
UNMEASURED = -1
