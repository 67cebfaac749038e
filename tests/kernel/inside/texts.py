"""The files of a cgroup in a known state, as text: for the parsers' golden files. Runs on v1 as well."""

from __future__ import annotations

import contextlib

from profiling.measuring.cgroup import parse_keyed
from tests.kernel.inside.harness import MIB, Facts, Service, service, wait_until, write_file

ANON_MIB, SHARED_MIB, LOCKED_MIB = 8, 4, 3
NAMES = {
    1: (
        "cgroup.procs", "memory.kmem.tcp.usage_in_bytes", "memory.kmem.usage_in_bytes", "memory.limit_in_bytes",
        "memory.max_usage_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control", "memory.stat",
        "memory.usage_in_bytes",
    ),
    2: (
        "cgroup.procs", "memory.current", "memory.events", "memory.max", "memory.peak", "memory.pressure", "memory.stat",
        "memory.swap.max",
    ),
}  # fmt: skip


def held(directory: str) -> dict[str, str]:
    """The texts by file name. The service holds anonymous, shared and locked memory, and a child of its was OOM-killed."""
    write_file(f"{directory}/locked", LOCKED_MIB * MIB)
    code = f"""import ctypes, mmap, os
anon = bytearray(b'x') * {ANON_MIB * MIB}
shared = mmap.mmap(-1, {SHARED_MIB * MIB}); shared.write(b'x' * {SHARED_MIB * MIB})
file = open('{directory}/locked', 'rb+'); mapped = mmap.mmap(file.fileno(), 0)
start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
assert not ctypes.CDLL(None).mlock(ctypes.c_void_p(start), ctypes.c_size_t({LOCKED_MIB * MIB}))
if os.fork() == 0: bytearray({256 * MIB})
os.wait(); print('up', flush=True); signal.pause()"""
    with service(code) as it:
        it.said("up")
        # The kernel sums its counters up within 2 s.
        wait_until(lambda: _row(it, b"shmem") >= SHARED_MIB * MIB and _row(it, b"unevictable") >= LOCKED_MIB * MIB)
        found = {}
        for name in NAMES[it.running.source.version]:
            with contextlib.suppress(FileNotFoundError):
                found[name] = it.bytes(name).decode()
        return found


def _row(it: Service, name: bytes) -> int:
    return parse_keyed(it.bytes("memory.stat")).get(name, 0)


def texts() -> Facts:
    return {"texts": held("/data")}


EXPERIMENTS = (texts,)
