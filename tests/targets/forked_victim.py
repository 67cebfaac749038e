"""The parent answers; a child that it forks at the first request grows until the kernel kills it."""

import os

from serving import serve

children: list[int] = []


def answer(body: dict[str, str]) -> str:
    if not children:
        children.append(os.fork())
        if children == [0]:
            hoard = []
            while True:
                hoard.append(b"x" * 2**20)
    return "fine"


serve(answer)
