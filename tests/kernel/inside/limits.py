"""Experiments: do the limits hold, and does the kernel count what we read?"""

from __future__ import annotations

import time

from tests.kernel.inside.harness import GO, MIB, Facts, sampled, service, wait_until, write_file

_HUNGRY = f"held = bytearray({256 * MIB})"
_PAUSE = "signal.pause()"


def limit() -> Facts:
    with service(GO) as it:
        it.said("up")
        return {
            "limit": it.number("memory.max"),
            "swap_limit": it.number("memory.swap.max"),
            "version": it.running.source.version,
            "inside": len(it.pids()),
        }


def kill() -> Facts:
    with service(_HUNGRY) as it:
        status = it.end()
        counters = it.running.counters()
    return {
        "status": status,
        "kills": counters.oom_kills,
        "peak": counters.peak_charged_bytes,
        "kept_after_close": it.running.counters().oom_kills,
    }


def kill_of_a_child() -> Facts:
    with service(
        f"import os\nif os.fork() == 0:\n    {_HUNGRY}\nos.wait(); print('bereaved', flush=True)\n{_PAUSE}"
    ) as it:
        it.said("bereaved")
        return {"kills": it.kills(), "parent": it.running.exit_status(), "left": len(it.pids())}


def fits() -> Facts:
    with service(f"held = bytearray({32 * MIB})") as it:
        return {"status": it.end(), "kills": it.kills()}


def cpus() -> Facts:
    busy = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n"
    began = time.monotonic()
    with service(busy, cpus=0.2) as it:
        cap = it.read("cpu.max")
        it.end()
        return {
            "cap": cap,
            "used_s": it.row("cpu.stat", "usage_usec") / 1e6,
            "span_s": time.monotonic() - began,
            "throttled": it.row("cpu.stat", "nr_throttled"),
        }


def processes() -> Facts:
    forks = "import os\ntry:\n    for _ in range(9):\n        if os.fork() == 0: signal.pause()\n"
    with service(f"{forks}except BlockingIOError:\n    print('refused', flush=True)\n{_PAUSE}", pids=4) as it:
        it.said("refused")
        return {"cap": it.number("pids.max"), "there": len(it.pids())}


def page_cache() -> Facts:
    """Reads four times as much as its limit, and holds none of it."""
    write_file("/data/long", 128 * MIB)
    with service(
        f"{GO}file = open('/data/long', 'rb', buffering=0)\nwhile file.read({MIB}): pass\n{GO}", memory_mib=32
    ) as it:
        it.said("up")
        with sampled(it) as curve:
            it.go()
            it.said("up\nup")
            curve.grows_by(30)
        records = curve.records()
        return {
            "kills": it.kills(),
            "limit": it.number("memory.max"),
            "reached_limit": it.row("memory.events", "max"),
            "charged": max(record["charged"] for record in records),
            "unreclaimable": max(record["unreclaimable"] for record in records),
            "working_set": max(record["working_set"] for record in records),
        }


def whole_group(together: bool) -> Facts:
    """A parent with two children, of which one takes too much: who dies?"""
    code = f"""import os
{GO}
if os.fork() == 0: signal.pause()
if os.fork() == 0: {_HUNGRY}
os.wait(); print('bereaved', flush=True); signal.pause()"""
    with service(code, oom_group=together) as it:
        it.said("up")
        asked = it.number("memory.oom.group")
        it.go()
        wait_until(lambda: it.running.exit_status() is not None or "bereaved" in it.log.read_text())
        if together:
            wait_until(lambda: not it.pids())  # the kernel has signalled all at once; each dies in its own time
        return {
            "asked": asked,
            "parent": it.running.exit_status(),
            "left": len(it.pids()),
            "kills": it.kills(),
            "group_kills": it.row("memory.events", "oom_group_kill"),
        }


def one_of_a_group() -> Facts:
    return whole_group(together=False)


def all_of_a_group() -> Facts:
    return whole_group(together=True)


EXPERIMENTS = (limit, kill, kill_of_a_child, fits, one_of_a_group, all_of_a_group, cpus, processes, page_cache)
