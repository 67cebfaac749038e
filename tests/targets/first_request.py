"""Holds FIRST_MIB from the first request on, as what loads its model lazily does; starting takes none of it."""

import os
import threading

from serving import serve

SIZE = int(os.environ.get("FIRST_MIB", "40")) * 2**20
kept: list[bytes] = []
once = threading.Lock()


def answer(body: dict[str, str]) -> str:
    with once:
        if not kept:
            kept.append(b"f" * SIZE)
    return "kept"


serve(answer)
