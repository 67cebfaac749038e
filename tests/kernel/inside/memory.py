"""Experiments: what our sampler reads against what a service is known to hold; swap; pressure."""

from __future__ import annotations

from pathlib import Path

from profiling.measuring.cgroup import parse_pressure
from tests.kernel.inside.harness import GO, MIB, Curve, Facts, Service, median, sampled, service, wait_until, write_file

BALLAST_MIB = 96


def ballast() -> Facts:
    """Anonymous memory of a known size, touched page by page."""
    code = f"{GO}held = bytearray(b'x') * {BALLAST_MIB * MIB}\n{GO}"
    with service(code, memory_mib=160) as it:
        it.said("up")
        with sampled(it) as curve:
            before = curve.grows_by(40)
            it.go()
            it.said("up\nup")
            curve.grows_by(40)
            after = curve.grows_by(40)
        records = curve.records()
        counters = it.running.counters()
    return {
        "ballast": BALLAST_MIB * MIB,
        "before": {name: median([record[name] for record in before]) for name in before[0]},
        "after": {name: median([record[name] for record in after]) for name in after[0]},
        "sampled_peak": max(record["charged"] for record in records),
        "kernel_peak": counters.peak_charged_bytes,
        "kills": counters.oom_kills,
    }


def shared_and_locked() -> Facts:
    """Shared memory, and a file's pages locked: unreclaimable as well, and counted once."""
    write_file("/data/locked", 16 * MIB)
    code = f"""import mmap, ctypes
{GO}
shared = mmap.mmap(-1, {24 * MIB}); shared.write(b'x' * {24 * MIB})
file = open('/data/locked', 'rb+'); mapped = mmap.mmap(file.fileno(), {16 * MIB})
start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
print(ctypes.CDLL(None).mlock(ctypes.c_void_p(start), ctypes.c_size_t({16 * MIB})), flush=True)
{GO}"""
    with service(code, memory_mib=128) as it:
        it.said("up")
        with sampled(it) as curve:
            before = curve.grows_by(40)[-1]
            it.go()
            it.said("0\nup")
            curve.grows_by(300)  # the kernel moves locked pages and sums its counters up within 2 s
            after = curve.grows_by(10)[-1]
        names = ("anon", "shmem", "file", "unreclaimable", "charged")
        return {"held": 40 * MIB, **{name: after[name] - before[name] for name in names}}


def swap_off() -> Facts:
    """More anonymous memory than the limit, on a machine with swap to spare."""
    with service(f"{GO}held = bytearray(b'x') * {BALLAST_MIB * MIB}") as it:
        it.said("up")
        out_before, swapped = _swapped_out(), 0
        it.go()
        while it.running.exit_status() is None:
            swapped = max(swapped, it.number("memory.swap.current"))
        return {
            "status": it.running.exit_status(),
            "kills": it.kills(),
            "swapped": max(swapped, it.number("memory.swap.current")),
            "pages_out": _swapped_out() - out_before,
            "machine_has": len(Path("/proc/swaps").read_text().splitlines()) - 1,
        }


def swap_on() -> Facts:
    """The control: the same, with what keeps swap off taken away."""
    with service(f"{GO}held = bytearray(b'x') * {BALLAST_MIB * MIB}\n{GO}") as it:
        it.said("up")
        (it.cgroup / "memory.swap.max").write_text("max")
        it.go()
        wait_until(lambda: it.running.exit_status() is not None or "up\nup" in it.log.read_text())
        return {
            "status": it.running.exit_status(),
            "kills": it.kills(),
            "swapped": it.number("memory.swap.current"),
        }


def _swapped_out() -> int:
    rows = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(rows["pswpout"])


def thrashing() -> Facts:
    """Reads, over and over, a file that is larger than what its limit leaves for it."""
    write_file("/data/code", 64 * MIB)
    code = f"""import mmap, random
file = open('/data/code', 'rb'); mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
held = bytearray(b'x') * {12 * MIB}
pages = [random.randrange(0, {64 * MIB}, 4096) for _ in range(4000)]
{GO}
while True:
    for page in pages: mapped[page]
    random.shuffle(pages)
"""
    with service(code, memory_mib=32) as it:
        it.said("up")
        with sampled(it) as curve:
            it.go()
            curve.grows_by(50)
            return _stalls(it, curve)


def idle() -> Facts:
    with service(GO) as it:
        it.said("up")
        with sampled(it) as curve:
            return _stalls(it, curve)


def _stalls(it: Service, curve: Curve) -> Facts:
    before = parse_pressure(it.bytes("memory.pressure")).full.total_us
    records = curve.grows_by(300)
    after = parse_pressure(it.bytes("memory.pressure")).full.total_us
    first, last = records[0], records[-1]
    return {
        "kernel_us": after - before,
        "sampled_us": last["pressure_full_us"] - first["pressure_full_us"],
        "measured": first["pressure_full_us"] >= 0,
        "span_us": (last["t_ns"] - first["t_ns"]) / 1000,
        "refaults": last["refault_file"] - first["refault_file"],
        "kills": it.kills(),
    }


EXPERIMENTS = (ballast, shared_and_locked, swap_off, swap_on, thrashing, idle)
