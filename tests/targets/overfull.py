"""Plants PLANTED_MIB at the first request, then fills up what is left in small pieces until the kernel kills it."""

import os
import threading

from serving import serve

SIZE = int(os.environ.get("PLANTED_MIB", "40")) * 2**20
kept: list[bytes] = []
once = threading.Lock()


def plant() -> None:
    kept.append(b"p" * SIZE)  # planted here


def fill() -> None:
    while True:
        kept.append(b"f" * 2**18)


def answer(body: dict[str, str]) -> str:
    if once.acquire(blocking=False):
        plant()
    fill()
    return "never"


serve(answer)
