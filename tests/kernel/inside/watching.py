"""Experiments: watching what others started, in a cgroup with another below it."""

from __future__ import annotations

from pathlib import Path

from profiling.measuring.sampler import PROCESSES, CgroupReader, SamplerProcess
from profiling.measuring.sandboxes.placement import memory_cgroup_of
from profiling.measuring.watching.cgroups import open_cgroup
from profiling.measuring.watching.processes import open_process
from tests.kernel.inside.harness import CGROUPS, GO, MIB, Curve, Facts, service, wait_until


def watched() -> Facts:
    """A service's cgroup by its path and by its process, before and after a kill in it."""
    code = f"""{GO}
import os
child = os.fork()
if not child:
    hoard = [bytearray(b'x') * {MIB} for _ in range(200)]
os.waitpid(child, 0)
print('killed', flush=True)
{GO}"""
    with service(code, memory_mib=64) as it:
        it.said("up")
        pid = it.pids()[0]
        by_path = open_cgroup(f"/{it.cgroup.relative_to(CGROUPS)}")
        by_process = open_process(pid)
        before = by_path.counters().oom_kills
        it.go()
        it.said("killed")
        return {
            "limit": by_path.nature.limit_bytes,
            "swap": by_path.nature.swap,
            "same": memory_cgroup_of(pid) == (2, it.cgroup) and by_process.nature.sandbox == "cgroup-v2",
            "before": before,
            "after": by_path.counters().oom_kills,
            "gone": by_path.gone(),
        }


def watched_below() -> Facts:
    """The processes of a cgroup that has them in one below it, as systemd's services with delegation do."""
    with service(GO) as it:
        it.said("up")
        below = it.cgroup / "below"
        below.mkdir()
        for pid in it.pids():
            (below / "cgroup.procs").write_text(str(pid))
        found = CgroupReader(2, str(it.cgroup)).pids()
        direct = it.read("cgroup.procs")
        for pid in found:
            (it.cgroup / "cgroup.procs").write_text(str(pid))
        below.rmdir()
        return {"found": len(found), "direct": direct}


def watched_tree() -> Facts:
    """A process by /proc, as where it shares its cgroup: shares, so that what parent and child share counts once."""
    code = f"import os\nheld = bytearray(b'x') * {40 * MIB}\nos.fork()\n{GO}"
    with service(code, memory_mib=128) as it:
        it.said("up\nup")
        path = Path("/tmp/tree.bin")
        sampler = SamplerProcess(PROCESSES, str(min(it.pids())), path, 10.0)
        curve = Curve(path)
        wait_until(lambda: curve.records() and curve.records()[-1]["processes"] == 2)
        last = curve.grows_by(2)[-1]
        sampler.stop(30.0)
        return {"held": 40 * MIB, "cgroup_anon": it.row("memory.stat", "anon"), **last}


EXPERIMENTS = (watched, watched_below, watched_tree)
