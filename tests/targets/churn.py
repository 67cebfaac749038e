"""Allocates and frees as fast as it can until CHURN_FILE is CHURN_UNTIL bytes large, then hoards until the kernel kills it.

For captures of a given size: beside what it frees at once it keeps CHURN_LIVE small pieces alive, and the stacks are many.
"""

import os
import threading

from serving import serve

FILE, UNTIL = os.environ["CHURN_FILE"], int(os.environ["CHURN_UNTIL"])
LIVE = int(os.environ.get("CHURN_LIVE", "100000"))
_PIECE = 1000
_DEPTH = 12


def churn() -> None:
    live: list[bytearray] = []
    number = 0
    while not os.path.exists(FILE) or os.stat(FILE).st_size < UNTIL:
        left(_DEPTH, number)
        number += 1
        if len(live) < LIVE:
            live += [bytearray(_PIECE) for _ in range(20)]
    hoard()


def left(depth: int, number: int) -> None:
    """One of 2**_DEPTH ways down, by the bits of `number`."""
    if depth == 0:
        for _ in range(200):
            bytearray(600 + number % 7 * 16)
    elif number >> depth & 1:
        right(depth - 1, number)
    else:
        left(depth - 1, number)


def right(depth: int, number: int) -> None:
    left(depth, number)


def hoard() -> None:
    hoarded = []
    while True:
        hoarded.append(b"x" * 2**20)


threading.Thread(target=churn, daemon=True).start()
serve(lambda body: "busy")
