"""Experiments: what the ledger is made of, on cgroup v2."""

from __future__ import annotations

from profiling.measuring.snapshots import CgroupLooker
from tests.kernel.inside.harness import GO, MIB, Facts, service


def snapshot() -> Facts:
    """Two processes that share 40 MiB, as the kernel's memory maps and as its counters have it."""
    code = f"import os\nheld = bytearray(b'x') * {40 * MIB}\nos.fork()\n{GO}"
    with service(code, memory_mib=128) as it:
        it.said("up\nup")
        taken = CgroupLooker(2, str(it.cgroup)).take()
        document = taken.document
        mapped = [mapping for process in document["processes"] for mapping in process["mappings"] if mapping["rss"]]
        return {
            "held": 40 * MIB,
            "whole": taken.whole,
            "processes": len(document["processes"]),
            "looked_through": all("pages" in mapping for mapping in mapped if mapping["anonymous"]),
            "anon": sum(mapping["anonymous"] * mapping["pss"] / mapping["rss"] for mapping in mapped),
            "cgroup_anon": document["after"]["anon"],
            "rows": [
                name for name in ("pagetables", "kernel_stack", "sock", "file_mapped") if name in document["stat"]
            ],
        }


EXPERIMENTS = (snapshot,)
