"""Holds HOLD_MIB of private memory while it answers, HOLD_MS long, and gives it back to the kernel afterwards."""

import mmap
import os
import time

from serving import serve

SIZE = int(float(os.environ.get("HOLD_MIB", "8")) * 2**20)
HOLD_S = int(os.environ.get("HOLD_MS", "200")) / 1000


def answer(body: dict[str, str]) -> str:
    # A mapping of its own: what malloc keeps for later would count for the next request too.
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        for at in range(0, SIZE, mmap.PAGESIZE):
            held[at] = 1
        time.sleep(HOLD_S)
    return "held"


serve(answer)
