"""The parent answers; a child that it forks at the first request grows until the kernel kills it."""

import os

from serving import serve

started = False


def answer(body: dict[str, str]) -> str:
    global started
    if not started:
        started = True
        if os.fork() == 0:
            hoard = []
            while True:
                hoard.append(b"x" * 2**20)
    return "fine"


serve(answer)
