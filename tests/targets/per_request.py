"""Takes PER_REQUEST_MIB for each request and keeps it: dies at the limit."""

import os

from serving import serve

kept: list[bytes] = []
SIZE = int(os.environ.get("PER_REQUEST_MIB", "8")) * 2**20


def answer(body: dict[str, str]) -> str:
    kept.append(b"x" * SIZE)
    return "kept"


serve(answer)
